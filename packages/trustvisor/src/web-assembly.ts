/** The part of the WebAssembly JavaScript API that the engine uses; no type library of Node's declares it. */

/** Linear memory. */
interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** What the linker leaves exported. */
export interface PalExports {
  readonly memory: WasmMemory;
  readonly pal: (...parameters: readonly (number | bigint)[]) => number | undefined;
}

/** A compiled module. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: 'WebAssembly.Module';
}

interface Api {
  readonly Module: new (code: Uint8Array) => WasmModule;
  readonly Instance: new (
    module: WasmModule,
    imports: Readonly<Record<string, Readonly<Record<string, (...parameters: number[]) => number>>>>,
  ) => { readonly exports: object };
  readonly CompileError: new () => Error;
  readonly RuntimeError: new () => Error;
}

/** `globalThis.WebAssembly`, which every Node has. */
export const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: Api };

/** The exports of a PAL, checked to be what the linker leaves. */
export function palExports(exports: object): PalExports | undefined {
  if (!('memory' in exports && 'pal' in exports)) return undefined;
  if (typeof exports.pal !== 'function' || typeof exports.memory !== 'object') return undefined;
  return exports as PalExports; // both were just looked at; the linker fixed the entry's type
}
