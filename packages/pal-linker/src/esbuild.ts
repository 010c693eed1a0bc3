/** PALs in an application that esbuild or tsup bundles: `import counter from './counter.pal.ts'`. */
import { readFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import type { PalDiagnostic } from './error.js';
import { buildPalModule, fileOfImport, PAL_IMPORT, type PalPluginOptions } from './plugin/pal-module.js';

export type { ImportedPal, PalPluginOptions } from './plugin/pal-module.js';

/** A message of esbuild. */
export interface EsbuildMessage {
  /** What is wrong. */
  readonly text: string;
  /** Where; the line from 1, the column from 0. */
  readonly location: {
    readonly file: string;
    readonly line: number;
    readonly column: number;
    readonly lineText: string;
  } | null;
}

/** What esbuild is given for a module. */
export interface EsbuildLoadResult {
  /** JavaScript. */
  readonly contents?: string;
  /** `js`. */
  readonly loader?: 'js';
  /** Where imports in it are looked for. */
  readonly resolveDir?: string;
  /** What is wrong. */
  readonly errors?: EsbuildMessage[];
  /** What is odd. */
  readonly warnings?: EsbuildMessage[];
  /** In watch mode, files whose change builds it anew. */
  readonly watchFiles?: string[];
}

/** The part of esbuild's interface for plugins that is used here. */
export interface EsbuildPluginBuild {
  /** The options of the build. */
  readonly initialOptions: { readonly absWorkingDir?: string | undefined };
  /** Says where an import leads. */
  onResolve(
    options: { readonly filter: RegExp },
    callback: (args: { readonly path: string; readonly resolveDir: string }) => { path: string; namespace: string },
  ): void;
  /** Gives the content of a module. */
  onLoad(
    options: { readonly filter: RegExp; readonly namespace?: string },
    callback: (args: { readonly path: string }) => Promise<EsbuildLoadResult>,
  ): void;
}

/** A plugin for esbuild, and so for tsup (`esbuildPlugins`). */
export interface EsbuildPlugin {
  /** `casemate-pal`. */
  readonly name: string;
  /** Called by esbuild. */
  setup(build: EsbuildPluginBuild): void;
}

/**
 * Makes imports of `*.pal.ts` (AssemblyScript), `*.pal.c` and `*.pal.wasm` into linked, measured PALs: the default export has the fields
 * `name`, `version`, `engine`, `measurement` (hexadecimal) and `image`. What compilers refuse becomes errors at its place; in watch mode
 * every file that a PAL is made from counts.
 */
export function palPlugin(options: PalPluginOptions = {}): EsbuildPlugin {
  return {
    name: 'casemate-pal',
    setup(build) {
      const base = build.initialOptions.absWorkingDir ?? process.cwd();
      build.onResolve({ filter: PAL_IMPORT }, ({ path, resolveDir }) => {
        const file = fileOfImport(path);
        return { path: isAbsolute(file) ? file : join(resolveDir, file), namespace: NAMESPACE };
      });
      build.onLoad({ filter: PAL_IMPORT, namespace: NAMESPACE }, ({ path }) => load(path, base, options));
    },
  };
}

const NAMESPACE = 'casemate-pal';

async function load(file: string, base: string, options: PalPluginOptions): Promise<EsbuildLoadResult> {
  const { code, problem, errors, warnings, dependencies } = await buildPalModule(file, base, options);
  const asMessage = (diagnostic: PalDiagnostic) => messageOf(diagnostic, base);
  const shared = { warnings: warnings.map(asMessage), watchFiles: [...dependencies] };
  if (code !== undefined) return { contents: code, loader: 'js', ...shared };
  const placed = errors.map(asMessage);
  return { errors: placed.length > 0 ? placed : [{ text: problem ?? '', location: null }], ...shared };
}

function messageOf({ file, line, column, message }: PalDiagnostic, base: string): EsbuildMessage {
  return { text: message, location: { file, line, column: column - 1, lineText: lineOf(resolve(base, file), line) } };
}

function lineOf(file: string, line: number): string {
  try {
    return readFileSync(file, 'utf8').split('\n')[line - 1] ?? '';
  } catch {
    return ''; // a header of the compiler's own, or one that is gone
  }
}
