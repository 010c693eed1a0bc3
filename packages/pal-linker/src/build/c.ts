/** C, C++ and assembler, as gcc and clang compile them: an object a file. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { ObjectFile } from '../elf/symbols.js';
import type { PalDiagnostic } from '../error.js';
import { diagnosticsOfC, refused } from './diagnostics.js';
import { asArgument, run } from './tools.js';

/** What the objects are for. */
export type CTarget = 'x86-64' | 'wasm32';

/** How to compile; paths are absolute. */
export interface CInput {
  readonly sources: readonly string[];
  readonly target: CTarget;
  readonly compiler: string;
  readonly baseDirectory: string;
  readonly temporary: string;
  readonly includes: readonly string[];
  /** Header directories of a C library for PALs, that take the place of the system's. */
  readonly systemIncludes: readonly string[];
  readonly defines: readonly string[];
  readonly optimize: string;
  readonly options: readonly string[];
  /** Whether the objects are for a program whose addresses are not known. */
  readonly isMovable?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Told of each file before it is compiled. */
  readonly onSource?: ((source: string) => void) | undefined;
}

/** Objects, and what they were made from. */
export interface CompiledObjects {
  readonly objects: readonly ObjectFile[];
  readonly dependencies: readonly string[];
  readonly diagnostics: readonly PalDiagnostic[];
}

/** Compiles. Throws {@link PalLinkerError} with code `tool` without a compiler, `compile` for sources that it refuses. */
export async function compileC(input: CInput): Promise<CompiledObjects> {
  const system = await systemOptions(input);
  const results = await inParallel(input.sources, (source, i) => compileOne(input, system, source, i));
  return {
    objects: results.map(({ object }) => object),
    dependencies: [...new Set(results.flatMap(({ dependencies }) => dependencies))].sort(),
    diagnostics: results.flatMap(({ diagnostics }) => diagnostics),
  };
}

async function compileOne(input: CInput, system: readonly string[], source: string, index: number) {
  const { baseDirectory, temporary, signal } = input;
  input.onSource?.(source);
  const object = join(temporary, `${index}.o`);
  const depends = join(temporary, `${index}.d`);
  const name = nameOf(source, baseDirectory);
  const args = [
    ...[
      ...TARGET[input.target],
      ...(input.isMovable ? ['-fPIE'] : []),
      ...ALWAYS,
      `-O${input.optimize}`,
      `-frandom-seed=${name}`,
    ],
    ...mapOutside(source, input),
    ...[`-ffile-prefix-map=${baseDirectory}=.`, `-ffile-prefix-map=${temporary}=.`],
    ...input.includes.flatMap((directory) => ['-I', directory]),
    ...system,
    ...input.defines.map((definition) => `-D${definition}`),
    ...input.options,
    ...['-MD', '-MF', depends, '-c', name, '-o', object],
  ];
  const { status, stderr } = await run(input.compiler, args, { cwd: baseDirectory, signal });
  const diagnostics = diagnosticsOfC(stderr);
  if (status !== 0) throw refused(name, stderr || `${input.compiler} ended with ${status}`, diagnostics);
  const content = new Uint8Array(await readFile(object));
  const dependencies = parseDependencies(await readFile(depends, 'utf8')).map((path) => resolve(baseDirectory, path));
  return { object: { name: `${basename(name)}.o`, content }, dependencies, diagnostics };
}

/** No path of this machine, no date, no unwinding, no protection that needs a library; a section a function, to drop what is not used. */
const ALWAYS = [
  ...['-g0', '-fno-ident', '-Werror=date-time', '-fno-stack-protector', '-ffunction-sections', '-fdata-sections'],
  ...['-fno-asynchronous-unwind-tables', '-fno-exceptions', '-fdiagnostics-color=never'],
];

const TARGET: Readonly<Record<CTarget, readonly string[]>> = {
  // Probes reach the guard page before a large frame can step over it.
  'x86-64': ['-fno-pic', '-fcf-protection=none', '-fstack-clash-protection', '-mno-avx'],
  wasm32: ['--target=wasm32', '-fvisibility=hidden'],
};

/** Every option that is not in a {@link CInput}. */
export const C_OPTIONS = { ALWAYS, TARGET };

/** With a C library for PALs, its headers and the compiler's own; without one, a freestanding implementation. */
async function systemOptions(input: CInput): Promise<readonly string[]> {
  if (input.systemIncludes.length === 0) return ['-ffreestanding'];
  const target = input.target === 'wasm32' ? ['--target=wasm32'] : [];
  const { stdout } = await run(input.compiler, [...target, '-print-file-name=include'], { cwd: input.baseDirectory });
  const directories = [...input.systemIncludes, stdout.trim()];
  return ['-nostdinc', ...directories.flatMap((directory) => ['-isystem', directory])];
}

/** Relative where it can be, so that messages and `__FILE__` are the same everywhere. */
function nameOf(source: string, base: string): string {
  const path = relative(base, source);
  return isOutside(path) ? source : asArgument(path);
}

function isOutside(path: string): boolean {
  return path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path);
}

/** Directories that the base directory does not hold get in by their last name alone; the last option that fits counts. */
function mapOutside(source: string, { baseDirectory, includes, systemIncludes }: CInput): readonly string[] {
  const directories = new Set([...systemIncludes, ...includes, dirname(source)]);
  const outside = [...directories].filter((directory) => isOutside(relative(baseDirectory, directory)));
  return outside.map((directory) => `-ffile-prefix-map=${directory}=${basename(directory)}`);
}

/** The files of a make rule, `target: file file \` and so on. */
function parseDependencies(rule: string): readonly string[] {
  const files = rule.slice(rule.indexOf(': ') + 2).replaceAll('\\\n', ' ');
  return (files.match(/(?:\\.|[^\s\\])+/g) ?? []).map((path) => path.replace(/\\(.)/g, '$1').replaceAll('$$', '$'));
}

/** In the order of `items`, as many at once as there are processors. After a failure no more are begun, and those that were are waited for. */
async function inParallel<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const failures = new Map<number, unknown>();
  const entries = items.entries();
  const worker = async () => {
    for (const [i, item] of entries) {
      if (failures.size > 0) return;
      try {
        results[i] = await work(item, i);
      } catch (error) {
        failures.set(i, error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), items.length) }, worker));
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
  return results;
}
