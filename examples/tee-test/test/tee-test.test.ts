/** The example on both engines, twice over one state; and with the TEE-SDK's own source where TEE_SDK_DIR says where its examples are. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHECKS } from '../src/checks.js';
import { buildService, withService } from '../src/service.js';

const missing = ['gcc', 'clang'].filter((program) => spawnSync(program, ['--version']).error !== undefined);
const isolate = new URL('../../../packages/trustvisor/dist/isolate.js', import.meta.url);
const reason =
  missing.length > 0 ? `${missing.join(' and ')} missing` : existsSync(isolate) ? '' : 'the isolate is not built';
if (reason !== '' && process.env.MUST_RUN === '1') throw new Error(reason);
const original = process.env.TEE_SDK_DIR;

describe.skipIf(reason !== '')(`the TEE-SDK's test${reason === '' ? '' : ` (${reason})`}`, () => {
  for (const engine of ['kvm', 'wasm'] as const) {
    describe.skipIf(engine === 'kvm' && !existsSync('/dev/kvm'))(`on ${engine}`, () => checks(engine, undefined));
  }
  if (original !== undefined) describe("the TEE-SDK's own pals.c, on kvm", () => checks('kvm', join(original, 'test')));
});

function checks(engine: 'kvm' | 'wasm', sources: string | undefined): void {
  let state: string;
  let image: Uint8Array;
  beforeAll(async () => {
    state = mkdtempSync(join(tmpdir(), 'tee-test-'));
    image = await buildService({ engine, sources });
  }, 120_000);
  afterAll(() => rmSync(state, { recursive: true, force: true }));

  const runAll = () =>
    withService(image, { engine, state }, async (session) => {
      const seen: Record<string, string> = {};
      for (const { name, run } of CHECKS) seen[name] = await run({ session, state });
      return seen;
    });

  it('passes, and again after a restart, which unseals what was sealed before and finds what was kept', async () => {
    expect(await runAll()).toMatchObject({
      'SEAL for the next run': 'sealed; the next run unseals it',
      NV_ROLLBACK: 'written; the next run reads it',
    });
    expect(await runAll()).toMatchObject({
      'SEAL for the next run': 'unsealed what an earlier run had sealed',
      NV_ROLLBACK: 'holds what the last run wrote',
    });
  });

  it('leaves to another PAL nothing of what this one sealed', async () => {
    const another = image.slice();
    const version = Buffer.from(another.buffer, another.byteOffset).indexOf('1.0.0');
    another[version] = '2'.charCodeAt(0);
    const check = CHECKS.find(({ name }) => name === 'SEAL for the next run');
    await withService(another, { engine, state }, async (session) => {
      await expect(check?.run({ session, state })).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE' });
    });
  });
}
