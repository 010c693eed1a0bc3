/** The same inputs give the same bytes: whatever the files are called, wherever the linker runs, whatever language it speaks. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { randomProgram, seeded } from './elf-programs.js';
import { archive, compile, compileParts, has, workplace } from './native.js';
import { randomWasmProgram } from './wasm-programs.js';

const isReady = ['gcc', 'ar', 'clang', 'llvm-ar'].every(has);
if (!isReady && process.env.MUST_RUN === '1') throw new Error('gcc, binutils, clang or llvm is missing');
const why = isReady ? '' : ' (skipped: gcc, binutils, clang or llvm is missing)';

/** `node child.mjs ELF-FILES -- WASM-FILES` prints the digests of an image, an object of the classic way with its script, and a wasm image. */
const CHILD = `
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { classicScript, linkClassic } from '../src/classic.js';
import { linkElfPal } from '../src/index.js';
import { linkWasmPal } from '../src/wasm.js';
const read = (names: string[]) => names.map((name) => ({ name, content: new Uint8Array(readFileSync(name)) }));
const all = process.argv.slice(2);
const [elf, wasm] = [read(all.slice(0, all.indexOf('--'))), read(all.slice(all.indexOf('--') + 1))];
const about = { name: 'istanbul', version: '1.0.0-I' };
const classic = linkClassic({ objects: elf, name: 'istanbul', keepLocalSymbols: true });
const results = [linkElfPal({ objects: elf, ...about }).image, classic.object, classicScript([classic]), linkWasmPal({ objects: wasm, ...about }).image];
for (const result of results) console.log(createHash('sha256').update(result).digest('hex'));
`;

describe.skipIf(!isReady)(`images${why}`, () => {
  it('are the same from other paths, in another directory, time zone and language', { timeout: 120_000 }, async () => {
    using place = workplace();
    const child = join(place.path, 'child.mjs');
    await build({
      stdin: { contents: CHILD, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'ts' },
      outfile: child,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
    });
    const { objects, libraries } = compileParts(place.path, randomProgram(seeded(5)), 'gcc');
    const elf = [...objects, ...libraries].map(({ name }) => name);
    const wasm = wasmFiles(place.path);
    const first = digests(child, place.path, [...elf, '--', ...wasm], {});
    expect(new Set(first).size).toBe(4);
    const other = join(place.path, 'Zweites Verzeichnis, ÄİI');
    mkdirSync(other);
    const moved = (names: readonly string[]) =>
      names.map((name, i) => moveTo(place.path, other, name, names.length - i));
    const variables = { LC_ALL: 'tr_TR.UTF-8', LANG: 'tr_TR.UTF-8', TZ: 'Asia/Kathmandu' };
    expect(digests(child, '/', [...moved(elf), '--', ...moved(wasm)], variables)).toEqual(first);
    // What the test could miss: another order of two objects is another input.
    const turned = digests(child, place.path, [...elf].reverse().concat('--', wasm), {});
    expect(turned[0]).not.toBe(first[0]);
    expect(turned[3]).toBe(first[3]);
  });
});

function wasmFiles(directory: string): readonly string[] {
  const parts = randomWasmProgram(seeded(5));
  const made = parts.map(({ name, source, flags }) => {
    const file = `wasm-${basename(name)}`;
    return compile(directory, file, source, ['--target=wasm32', '-ffreestanding', ...flags], 'clang').name;
  });
  const [entry = '', ...members] = [...made].reverse();
  return [entry, archive(directory, 'libwasm.a', members, 'rcs', 'llvm-ar').name];
}

/** The same bytes under a name that sorts elsewhere. */
function moveTo(from: string, to: string, name: string, number: number): string {
  const path = join(to, `${number} ${name.replace('part', 'ıI')}`);
  writeFileSync(path, readFileSync(join(from, name)));
  return path;
}

function digests(
  child: string,
  cwd: string,
  files: readonly string[],
  variables: NodeJS.ProcessEnv,
): readonly string[] {
  const env = { ...process.env, ...variables };
  return execFileSync(process.execPath, [child, ...files], { cwd, env, encoding: 'utf8' })
    .trim()
    .split('\n');
}
