/** TypeScript as AssemblyScript compiles it: one entry file in, a finished WebAssembly module out. */
import { readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type PalDiagnostic, PalLinkerError } from '../error.js';
import { diagnosticsOfAssemblyScript, readBy, refused } from './diagnostics.js';
import { asArgument, findInPackage } from './tools.js';

/** The memory managers of AssemblyScript that a PAL may have. */
export type AssemblyScriptRuntime = 'incremental' | 'minimal' | 'stub';

/** What {@link compileAssemblyScript} compiles. */
export interface AssemblyScriptInput {
  readonly source: string;
  readonly baseDirectory: string;
  readonly runtime: AssemblyScriptRuntime;
  /** `0` to `3`, `s` or `z`. */
  readonly optimize: string;
  readonly options: readonly string[];
}

/** A module, and what it was made from. */
export interface CompiledModule {
  readonly module: Uint8Array;
  readonly dependencies: readonly string[];
  readonly diagnostics: readonly PalDiagnostic[];
}

/** The part of asc's interface that is used here. */
interface Compiler {
  readonly main: (
    args: readonly string[],
    options: {
      readonly readFile: (name: string, base: string) => string | null;
      readonly writeFile: (name: string, content: string | Uint8Array, base: string) => void;
    },
  ) => Promise<{ readonly error: Error | null; readonly stderr: { toString(): string } }>;
}

/** Compiles. Throws {@link PalLinkerError} with code `tool` without a compiler, `compile` for sources that it refuses. */
export async function compileAssemblyScript(input: AssemblyScriptInput): Promise<CompiledModule> {
  const compiler = await loadCompiler(input.baseDirectory);
  const dependencies = new Set<string>();
  const output: { module?: Uint8Array } = {};
  const { error, stderr } = await compiler.main(argumentsFor(input), {
    readFile: (name, base) => readSource(resolve(base, name), dependencies),
    writeFile: (name, content) => {
      if (name === 'pal.wasm' && typeof content !== 'string') output.module = content;
    },
  });
  const said = stderr.toString();
  const diagnostics = diagnosticsOfAssemblyScript(said);
  const what = relative(input.baseDirectory, input.source);
  const files = [...dependencies].sort();
  if (error) throw readBy(files, refused(what, said || error.message, diagnostics));
  if (!output.module) throw readBy(files, refused(what, 'expected a module, got nothing', diagnostics));
  return { module: output.module, dependencies: files, diagnostics };
}

function argumentsFor({ source, baseDirectory, runtime, optimize, options }: AssemblyScriptInput): readonly string[] {
  const level = /^[sz]$/.test(optimize) ? ['--optimizeLevel', '2', '--shrinkLevel', optimize === 's' ? '1' : '2'] : [];
  return [
    ...[asArgument(relative(baseDirectory, source)), '--baseDir', baseDirectory, '--outFile', 'pal.wasm', '--noColors'],
    ...(level.length > 0 ? level : ['--optimizeLevel', optimize, '--shrinkLevel', '0']),
    // An assertion that fails traps: there is nobody to tell, and no import to tell it by.
    ...['--runtime', runtime, '--use', 'abort='],
    ...options,
  ];
}

function readSource(path: string, dependencies: Set<string>): string | null {
  try {
    const text = readFileSync(path, 'utf8');
    dependencies.add(path);
    return text;
  } catch {
    return null; // asc looks for a file in several places
  }
}

/** The compiler of the project, so that the project's lock file says which it is. */
async function loadCompiler(project: string): Promise<Compiler> {
  const directory = findInPackage('assemblyscript', project);
  if (directory === undefined) {
    const problem = 'it is not installed in this project (npm install --save-dev assemblyscript)';
    throw new PalLinkerError('tool', `load assemblyscript: ${problem}`);
  }
  const loaded: unknown = await import(pathToFileURL(join(directory, 'dist', 'asc.js')).href);
  if (isCompiler(loaded)) return loaded;
  throw new PalLinkerError(
    'tool',
    `load assemblyscript: expected the function main in ${directory}/dist/asc.js, got none`,
  );
}

function isCompiler(loaded: unknown): loaded is Compiler {
  return typeof loaded === 'object' && loaded !== null && 'main' in loaded && typeof loaded.main === 'function';
}
