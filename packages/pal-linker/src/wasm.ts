/** Linking relocatable WebAssembly objects, of clang and rustc, into PALs. */
export {
  type LinkedWasmModule,
  type LinkedWasmPal,
  type LinkWasmObjectsOptions,
  type LinkWasmPalOptions,
  linkWasmObjects,
  linkWasmPal,
} from './wasm/link.js';
