/** Which sources go together, by their endings. */
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { PalLinkerError } from '../error.js';

/** One module, or objects and what becomes objects; paths are absolute. */
export type SourcePlan =
  | { readonly kind: 'module'; readonly path: string }
  | { readonly kind: 'objects'; readonly compiled: readonly string[]; readonly linked: readonly string[] };

const COMPILED = ['.c', '.cc', '.cpp', '.cxx', '.s', '.S'];
const LINKED = ['.o', '.a'];
const MODULES = ['.ts', '.wasm'];

/** Sorts them. Throws {@link PalLinkerError} with code `input`. */
export function planSources(sources: readonly string[]): SourcePlan {
  const endings = [...MODULES, ...COMPILED, ...LINKED];
  const odd = sources.find((path) => !endings.includes(extname(path)));
  if (odd !== undefined) refuse(`a source that ends in ${endings.join(' ')}`, basename(odd));
  const [module] = sources.filter((path) => MODULES.includes(extname(path)));
  if (module !== undefined && sources.length > 1) {
    refuse('one file of TypeScript or WebAssembly alone', `${sources.length} files with ${basename(module)}`);
  }
  if (module !== undefined) return { kind: 'module', path: module };
  if (sources.length === 0) refuse('at least one source', 'none');
  const of = (wanted: readonly string[]) => sources.filter((path) => wanted.includes(extname(path)));
  return { kind: 'objects', compiled: of(COMPILED), linked: of(LINKED) };
}

function refuse(expected: string, got: string): never {
  throw new PalLinkerError('input', `build PAL: expected ${expected}, got ${got}`);
}

/** Reads one. Throws {@link PalLinkerError} with code `input`. */
export async function readSource(path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new PalLinkerError('input', `build PAL: ${problem}`, {}, { cause });
  }
}
