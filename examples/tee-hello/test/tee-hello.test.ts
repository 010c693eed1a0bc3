/** The example on both engines, by the library and by make; and the TEE-SDK's own sources where TEE_SDK_DIR says where its examples are. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildHello, sayHello } from '../src/hello.js';

const tools = ['gcc', 'clang', 'make', 'pkg-config', 'objcopy'];
const missing = tools.filter((program) => spawnSync(program, ['--version']).error !== undefined);
const require = createRequire(import.meta.url);
const sdk = join(dirname(require.resolve('@casemate/tz/package.json')), 'sdk');
const pal = join(dirname(require.resolve('@casemate/pal-linker/package.json')), 'dist', 'cli.js');
const isolate = join(dirname(require.resolve('@casemate/trustvisor/package.json')), 'dist', 'isolate.js');
const unbuilt = [pal, isolate].filter((file) => !existsSync(file));
const reason =
  missing.length > 0 ? `${missing.join(' and ')} missing` : unbuilt.length > 0 ? `${unbuilt[0]} is not built` : '';
if (reason !== '' && process.env.MUST_RUN === '1') throw new Error(reason);
const noKvm = !existsSync('/dev/kvm');
const original = process.env.TEE_SDK_DIR;

async function hear(image: Uint8Array, engine: 'kvm' | 'wasm', texts: readonly string[]): Promise<string> {
  let heard = '';
  await sayHello(image, texts, { engine }, (text) => {
    heard += text;
  });
  return heard;
}

const HEARD =
  /^hello from the PAL, call 1, after 0\.0 ms\nhello from the PAL, call 2, after \d+\.\d ms\nsorted {2}\|brown fox quick the\|\n$/;

describe.skipIf(reason !== '')(`hello${reason === '' ? '' : ` (${reason})`}`, () => {
  for (const engine of ['kvm', 'wasm'] as const) {
    it.skipIf(engine === 'kvm' && noKvm)(`is said from a PAL of two objects on ${engine}`, async () => {
      const image = await buildHello({ engine });
      expect(await hear(image, engine, ['the quick brown  fox'])).toMatch(HEARD);
    });
  }

  describe('by make', () => {
    let place: string;
    const make = (...args: string[]) => {
      const env = { ...process.env, PKG_CONFIG_PATH: join(place, 'lib', 'pkgconfig') };
      const done = spawnSync('make', ['-s', ...args], { encoding: 'utf8', cwd: join(place, 'pal'), env });
      if (done.status !== 0) throw new Error(`make ${args.join(' ')}: ${done.stdout}${done.stderr}`);
    };
    beforeAll(() => {
      place = mkdtempSync(join(tmpdir(), 'tee-hello-'));
      cpSync(fileURLToPath(new URL('../pal', import.meta.url)), join(place, 'pal'), { recursive: true });
      make('-j2', '-C', sdk, 'install', `PREFIX=${place}`, `BUILD=${join(place, 'build')}`);
    }, 120_000);
    afterAll(() => rmSync(place, { recursive: true, force: true }));

    it.skipIf(noKvm)('ends in an image that says the same', async () => {
      make(`PAL=${process.execPath} ${pal}`);
      const image = new Uint8Array(readFileSync(join(place, 'pal', 'hellopal.pal')));
      expect(await hear(image, 'kvm', ['the quick brown fox'])).toMatch(HEARD);
    });

    it('ends, the classic way, in an object that shows its entry alone, and the script that places it', () => {
      make('hellopal.pal.o', 'hellopal.pal.ld');
      const names = spawnSync('nm', ['-g', join(place, 'pal', 'hellopal.pal.o')], { encoding: 'utf8' }).stdout;
      expect(names).toMatch(/^[0-9a-f]+ T hellopal\n$/);
      expect(readFileSync(join(place, 'pal', 'hellopal.pal.ld'), 'utf8')).toContain('*hellopal.pal.o(.text');
    });
  });

  if (original !== undefined) {
    it("is said by the TEE-SDK's own sources, on kvm", async () => {
      const image = await buildHello({ engine: 'kvm', sources: join(original, 'newlib') });
      expect(await hear(image, 'kvm', [])).toBe('test, 5\n');
    });
  }
});
