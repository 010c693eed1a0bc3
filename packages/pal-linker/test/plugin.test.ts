/** Which files a bundler has to watch for a PAL: all that it is made from, and all that a failed build had come to. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPalModule, type PalPluginOptions } from '../src/plugin/pal-module.js';

const isReady = spawnSync('gcc', ['--version']).status === 0;
if (!isReady && process.env.MUST_RUN === '1') throw new Error('gcc is missing');
const why = isReady ? '' : ' (skipped: gcc is missing)';

const place = mkdtempSync(join(tmpdir(), 'casemate-plugin-'));
afterAll(() => rmSync(place, { recursive: true, force: true }));

function put(name: string, content: string): string {
  const path = join(place, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** What became of a build, and the project's own files that it depends on. */
async function build(file: string, options: PalPluginOptions) {
  const { code, problem, dependencies } = await buildPalModule(file, place, options);
  const own = dependencies.map((path) => relative(place, path)).filter((path) => !path.startsWith('..'));
  return { isBuilt: code !== undefined, version: /version = "(.*)"/.exec(code ?? '')?.[1], problem, files: own.sort() };
}

const KVM: PalPluginOptions = { engine: 'kvm', options: () => ({ sdk: false }) };
const ENTRY = 'void pal(unsigned command, void *in, void *out, unsigned *rv) { *rv = ANSWER; }';

describe.skipIf(!isReady)(`a PAL of C in an application${why}`, () => {
  const file = join(place, 'src/one.pal.c');
  beforeAll(() => {
    put('package.json', '{ "version": "1.2.3" }');
    put('src/one.pal.c', `#include "one.h"\n${ENTRY}\n`);
  });
  const files = ['package.json', 'src/one.h', 'src/one.pal.c'];

  it('depends on headers, and on the package.json that has its version', async () => {
    put('src/one.h', '#define ANSWER 42\n');
    put('src/package.json', '{ "private": true }');
    expect(await build(file, KVM)).toMatchObject({
      ...{ isBuilt: true, version: '1.2.3', files: ['package.json', 'src/one.h', 'src/one.pal.c', 'src/package.json'] },
    });
    rmSync(join(place, 'src/package.json'));
    expect(await build(file, { ...KVM, version: '2.0.0' })).toMatchObject({ version: '2.0.0', files: files.slice(1) });
  });

  it('is not left unsigned where it is said how it is to be signed', async () => {
    put('src/one.h', '#define ANSWER 42\n');
    expect(await build(file, { ...KVM, securityVersion: 3 })).toMatchObject({
      ...{ isBuilt: false, problem: expect.stringContaining('expected a signer') },
    });
  });

  it('depends on the header in which a compiler finds an error, and on those of code that cannot be linked', async () => {
    put('src/one.h', '#error not yet\n');
    expect(await build(file, KVM)).toMatchObject({ isBuilt: false, files });
    put('src/one.h', 'int gone(void);\n#define ANSWER gone()\n');
    expect(await build(file, KVM)).toMatchObject({ isBuilt: false, problem: expect.stringContaining('gone'), files });
  });
});

describe('a PAL of AssemblyScript in an application', () => {
  it('depends on what it imports, also where that is what cannot be compiled or linked', async () => {
    const file = put(
      'src/two.pal.ts',
      "import { f } from './more';\nexport function pal(c: u32, i: u32, o: u32, r: u32): void { store<u32>(r, f(c)); }\n",
    );
    const files = ['src/more.ts', 'src/two.pal.ts'];
    const options: PalPluginOptions = { version: '1', options: () => ({ replayProtected: true, optimize: '0' }) };
    put('src/more.ts', 'export function f(x: u32): u32 { return nothing; }\n');
    expect(await build(file, options)).toMatchObject({ isBuilt: false, files });
    put('src/more.ts', 'export function f(x: u32): u32 { return u32(f64(x) * 1.5); }\n');
    expect(await build(file, options)).toMatchObject({
      isBuilt: false,
      problem: expect.stringContaining('floating'),
      files,
    });
  });
});
