/** Building PALs: sources in; an image for the processor or for WebAssembly, or an object for an application's own ELF, out. */
export { type BuildClassicOptions, type BuiltClassicPal, buildClassicPal } from './build/build-classic.js';
export { type BuildPalOptions, type BuiltPal, buildPal, type PalEngine } from './build/build-pal.js';
export type { ObjectOptions } from './build/objects.js';
