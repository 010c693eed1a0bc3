/**
 * Types for imports of PALs through the plugins of @casemate/pal-linker. Add to one of your files:
 *
 *     /// <reference types="@casemate/pal-linker/pal-modules" />
 *
 * TypeScript takes `./counter.pal.ts` for a module of its own, so write `./counter.pal.ts?pal`, and leave `*.pal.ts` out of `include`.
 */
declare module '*?pal' {
  const pal: import('./dist/esbuild.js').ImportedPal;
  // biome-ignore lint/style/noDefaultExport: what this describes is a default export
  export default pal;
}

declare module '*.pal.c' {
  const pal: import('./dist/esbuild.js').ImportedPal;
  // biome-ignore lint/style/noDefaultExport: what this describes is a default export
  export default pal;
}

declare module '*.pal.wasm' {
  const pal: import('./dist/esbuild.js').ImportedPal;
  // biome-ignore lint/style/noDefaultExport: what this describes is a default export
  export default pal;
}
