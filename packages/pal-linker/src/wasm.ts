/** Linking relocatable WebAssembly objects, of clang and rustc, into PALs. */
export type { MapEntry } from './elf/map.js';
export type { ObjectFile } from './elf/symbols.js';
export {
  type LinkedWasmModule,
  type LinkedWasmPal,
  type LinkWasmObjectsOptions,
  type LinkWasmPalOptions,
  linkWasmObjects,
  linkWasmPal,
} from './wasm/link.js';
