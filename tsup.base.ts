import { defineConfig, type Options } from 'tsup';

/** One ESM build for every package: the entry points named by its `exports`, with declarations. */
export function library(entry: string[], more: Options = {}) {
  return defineConfig({
    entry,
    format: 'esm',
    target: 'node20',
    platform: 'node',
    // `node:` specifiers are part of the public promise: the pure packages must have none.
    removeNodeProtocol: false,
    // Dependencies of a package are read from their built declarations, as a user of the package reads them.
    dts: { compilerOptions: { baseUrl: '.', paths: {}, noEmit: false } },
    clean: true,
    sourcemap: false,
    treeshake: true,
    splitting: true,
    // Private, so it travels inside of what uses it.
    noExternal: ['@casemate/command-line', '@casemate/files'],
    ...more,
  });
}
