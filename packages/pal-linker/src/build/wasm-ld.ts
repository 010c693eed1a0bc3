/** Relocatable WebAssembly, by the linker of LLVM. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectFile } from '../elf/symbols.js';
import { PalLinkerError } from '../error.js';
import { run } from './tools.js';

/** How to link. */
interface WasmLinkOptions {
  readonly temporary: string;
  readonly signal: AbortSignal | undefined;
  readonly stackBytes: number | undefined;
  readonly entry: string | undefined;
}

/** Links objects and archives into a finished module. Throws {@link PalLinkerError} with code `tool` or `object`. */
export async function linkWasmFiles(objects: readonly ObjectFile[], options: WasmLinkOptions): Promise<Uint8Array> {
  const { temporary, signal, stackBytes = 65536, entry = 'pal' } = options;
  const names = await Promise.all(objects.map((object, i) => writeObject(object, i, temporary)));
  const how = [
    '--no-entry',
    `--export=${entry}`,
    '--gc-sections',
    '--strip-all',
    '--stack-first',
    '-z',
    `stack-size=${stackBytes}`,
  ];
  const { status, stderr } = await run('wasm-ld', [...how, ...names, '-o', 'linked.wasm'], { cwd: temporary, signal });
  if (status !== 0) throw new PalLinkerError('object', `link PAL: ${stderr.trim()}`);
  return new Uint8Array(await readFile(join(temporary, 'linked.wasm')));
}

async function writeObject({ name, content }: ObjectFile, index: number, temporary: string): Promise<string> {
  const file = `link-${index}-${name.replace(/[^A-Za-z0-9.]/g, '_')}`;
  await writeFile(join(temporary, file), content);
  return file;
}
