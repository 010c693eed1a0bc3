/** The few parts of the WebAssembly JavaScript API that are used here; the library types of this project leave the browser's out. */

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
  readonly Memory: new (limits: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
}

/** `globalThis.WebAssembly`, which every supported Node has. */
export const webAssembly = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;
