/** The few parts of the WebAssembly JavaScript API that are used here; the library types of this project leave the browser's out. */

/** Bytes in a page of memory. */
export const WASM_PAGE = 65_536;

/** Linear memory. */
export interface WasmMemory {
  /** The memory; another one after it has grown. */
  readonly buffer: ArrayBuffer;
  /** Grows by `pages`; throws RangeError at the limit. */
  grow(pages: number): number;
}

/** An instance: what it exports, by name. */
export interface WasmInstance {
  /** Functions, and a memory as an object with a `buffer`. */
  readonly exports: Readonly<Record<string, unknown>>;
}

/** A compiled module. */
export interface WasmModule {
  readonly [moduleBrand]: true;
}
declare const moduleBrand: unique symbol;

interface WebAssemblyApi {
  compile(bytes: Uint8Array): Promise<WasmModule>;
  readonly Instance: new (
    module: WasmModule,
    imports: Readonly<Record<string, Readonly<Record<string, (...parameters: number[]) => number>>>>,
  ) => WasmInstance;
  readonly Memory: new (limits: { readonly initial: number }) => WasmMemory;
}

/** `globalThis.WebAssembly`, which every supported Node has. */
export const webAssembly = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;
