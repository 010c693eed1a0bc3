/** PALs in an application that Vite or Rollup bundles: `import counter from './counter.pal.ts'`. */
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { buildPalModule, fileOfImport, PAL_IMPORT, type PalPluginOptions } from './plugin/pal-module.js';

export type { ImportedPal, PalPluginOptions } from './plugin/pal-module.js';

/** A place in a source, as Rollup has it: the line from 1, the column from 0. */
export interface RollupPlace {
  /** What is wrong there. */
  readonly message: string;
  /** The file. */
  readonly id: string;
  /** Where. */
  readonly loc?: { readonly file: string; readonly line: number; readonly column: number };
}

/** The part of Rollup's context of a plugin that is used here. */
export interface RollupContext {
  /** In watch mode, builds anew when the file changes. */
  addWatchFile(file: string): void;
  /** Says what is odd. */
  warn(warning: RollupPlace): void;
  /** Says what is wrong, and ends the build. */
  error(error: RollupPlace): never;
}

/** A plugin for Vite and Rollup. */
export interface RollupPlugin {
  /** `casemate-pal`. */
  readonly name: string;
  /** Before the plugins of Vite that compile TypeScript. */
  readonly enforce: 'pre';
  /** Called by Vite: which directory is the project. */
  configResolved(config: { readonly root: string }): void;
  /** Says where an import leads. */
  resolveId(source: string, importer: string | undefined): string | undefined;
  /** Gives the content of a module. */
  load(this: RollupContext, id: string): Promise<string | undefined>;
}

/** As `\0` says, no other plugin has to do with these. */
const PREFIX = '\0casemate-pal:';

/** The same as `palPlugin` of `@casemate/pal-linker/esbuild`, for Vite and Rollup. */
export function palPlugin(options: PalPluginOptions = {}): RollupPlugin {
  let root = process.cwd();
  return {
    name: 'casemate-pal',
    enforce: 'pre',
    configResolved(config) {
      root = config.root;
    },
    resolveId(source, importer) {
      if (!PAL_IMPORT.test(source)) return undefined;
      const file = fileOfImport(source);
      const from = importer === undefined ? root : dirname(importer);
      return PREFIX + (isAbsolute(file) ? file : join(from, file));
    },
    async load(id) {
      return id.startsWith(PREFIX) ? await load(this, id.slice(PREFIX.length), root, options) : undefined;
    },
  };
}

async function load(context: RollupContext, file: string, root: string, options: PalPluginOptions): Promise<string> {
  const { code, problem = '', errors, warnings, dependencies } = await buildPalModule(file, root, options);
  for (const dependency of dependencies) context.addWatchFile(dependency);
  const [first] = errors;
  for (const warning of warnings) context.warn(placeOf(warning, root));
  if (code !== undefined) return code;
  return context.error(first ? { ...placeOf(first, root), message: problem } : { message: problem, id: file });
}

function placeOf(
  diagnostic: { file: string; line: number; column: number; message: string },
  root: string,
): RollupPlace {
  const file = resolve(root, diagnostic.file);
  return { message: diagnostic.message, id: file, loc: { file, line: diagnostic.line, column: diagnostic.column - 1 } };
}
