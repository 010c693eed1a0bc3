/** Building a PAL: sources in, an image out, for the processor or for WebAssembly. */
export { type BuildPalOptions, type BuiltPal, buildPal, type PalEngine } from './build/build-pal.js';
