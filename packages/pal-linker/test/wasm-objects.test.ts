/** The linker for WebAssembly objects, against wasm-ld, wasm-validate and Node. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PAL_SECTION, parsePalImage } from '../src/image.js';
import type { ObjectFile } from '../src/index.js';
import { linkWasmPal } from '../src/wasm.js';
import { seeded } from './elf-programs.js';
import { WebAssembly } from './modules.js';
import { archive, compile, has, run, workplace } from './native.js';
import { randomWasmProgram } from './wasm-programs.js';

const isReady = ['clang', 'wasm-ld', 'llvm-ar', 'wasm-validate'].every(has);
if (!isReady && process.env.MUST_RUN === '1') throw new Error('clang, lld or wabt is missing');
const why = isReady ? '' : ' (skipped: clang, lld or wabt is missing)';
const WASM_CFLAGS = ['--target=wasm32', '-ffreestanding', '-nostdlib'];

describe.skipIf(!isReady)(`linking WebAssembly objects${why}`, () => {
  it('gives programs made at random the results that wasm-ld gives them', { timeout: 1_800_000 }, () => {
    const count = Math.ceil(Number(process.env.LINK_WASM_PROGRAMS ?? 100) / 2);
    const first = Number(process.env.LINK_SEED ?? 1);
    for (let seed = first; seed < first + count; seed++) compareWithLld(seed);
  });
});

/** One program in two arrangements: as its parts say, and with all but the entry in an archive that stands first. */
function compareWithLld(seed: number): void {
  using place = workplace();
  const parts = randomWasmProgram(seeded(seed));
  const objects = parts.map(({ name, source, flags }) => {
    return compile(place.path, name, source, [...WASM_CFLAGS, ...flags], 'clang');
  });
  const pack = (name: string, members: readonly ObjectFile[]) => {
    const names = members.map((member) => member.name);
    return names.length === 0 ? [] : [archive(place.path, name, names, 'rcs', 'llvm-ar')];
  };
  const archived = objects.filter((_, i) => parts[i]?.isArchived === true);
  const loose = objects.filter((_, i) => parts[i]?.isArchived !== true);
  const others = objects.slice(0, -1).reverse();
  for (const files of [
    [...loose, ...pack('libparts.a', archived)],
    [...pack('libothers.a', others), ...objects.slice(-1)],
  ]) {
    const { image } = linkWasmPal({ objects: files, name: 'random', version: '1' });
    const ours = moduleOf(image);
    writeFileSync(join(place.path, 'ours.wasm'), ours);
    run('wasm-validate', ['ours.wasm'], place.path);
    const theirs = linkWithLld(place.path, files);
    for (const command of [0, 7])
      expect(`seed ${seed}: ${call(ours, command)}`).toBe(`seed ${seed}: ${call(theirs, command)}`);
  }
}

function linkWithLld(directory: string, files: readonly ObjectFile[]): Uint8Array {
  const names = files.map(({ name }) => name);
  run(
    'wasm-ld',
    ['--no-entry', '--export=pal', '--export=__wasm_call_ctors', ...names, '-o', 'theirs.wasm'],
    directory,
  );
  return new Uint8Array(readFileSync(join(directory, 'theirs.wasm')));
}

/** The module in an image. */
function moduleOf(image: Uint8Array): Uint8Array {
  return parsePalImage(image).sections.find(({ type }) => type === PAL_SECTION.CODE)?.content ?? new Uint8Array(0);
}

interface PalExports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  /** Of a module of wasm-ld, which leaves the call to its user. */
  __wasm_call_ctors?(): void;
  pal(command: number, input: number, output: number, rv: number): void;
}

/** Calls the entry twice with buffers in the last page of the memory; gives the return codes and outputs. */
function call(module: Uint8Array, command: number): string {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), {}) as { readonly exports: unknown };
  const { memory, pal, __wasm_call_ctors: callConstructors } = exports as PalExports;
  callConstructors?.();
  let page = memory.buffer.byteLength - 65536;
  try {
    page = memory.grow(1) * 65536; // a PAL of ours has its room for parameters already
  } catch {}
  return [0, 1]
    .map(() => {
      const [input, output, rv] = [page, page + 16384, page + 61440];
      pal(command, input, output, rv);
      const view = new DataView(memory.buffer);
      const length = view.getUint32(output + 8, true);
      return `${view.getUint32(rv, true)} ${Buffer.from(memory.buffer, output + 16, length).toString('hex')}`;
    })
    .join(' ');
}
