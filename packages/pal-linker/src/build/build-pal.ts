/** From sources to an image: what is compiled by whom, and what is linked with what. */
import { readFile } from 'node:fs/promises';
import { basename, extname, relative, resolve } from 'node:path';
import { linkElfPal } from '../elf/link.js';
import type { MapEntry } from '../elf/map.js';
import { type PalDiagnostic, PalLinkerError } from '../error.js';
import { linkPal } from '../link.js';
import type { PalLimitOptions } from '../parameters.js';
import { type AssemblyScriptRuntime, compileAssemblyScript } from './assemblyscript.js';
import { type CompiledObjects, compileC } from './c.js';
import { findHeaders } from './sdk.js';
import { inTemporaryDirectory } from './tools.js';
import { linkWasmFiles } from './wasm-ld.js';
import { translateWasm } from './wasm2c.js';

/** Where a PAL runs: in a virtual machine (`linkElfPal`), or as WebAssembly (`linkPal`). */
export type PalEngine = 'kvm' | 'wasm';

/** What {@link buildPal} builds. */
export interface BuildPalOptions extends PalLimitOptions {
  /**
   * Files: one of AssemblyScript (`.ts`) or of finished WebAssembly (`.wasm`), or any number of C (`.c`), C++ (`.cc`, `.cpp`, `.cxx`),
   * assembler (`.s`, `.S`), objects (`.o`) and archives (`.a`).
   */
  readonly sources: readonly string[];
  /** Which engine the image is for. */
  readonly engine: PalEngine;
  /** The PAL's name. */
  readonly name: string;
  /** The PAL's version. */
  readonly version: string;
  /** What paths are relative to, and where packages are looked for; the working directory unless given. */
  readonly baseDirectory?: string;
  /** The function or export that is the entry; `pal` unless given. */
  readonly entry?: string;
  /** Code that runs in the entry's place and calls it; kvm and C alone. */
  readonly start?: string;
  /** Bytes of stack on kvm; 65,536 unless given, 1 MiB for translated WebAssembly. */
  readonly stackBytes?: number;
  /** Bytes between `__pal_heap_start` and `__pal_heap_end`; kvm and C alone. */
  readonly heapBytes?: number;
  /** How far WebAssembly's memory may grow, in pages of 64 KiB. */
  readonly memoryPages?: number;
  /** `refuse` is the rule for a replay-protected PAL; WebAssembly alone. */
  readonly floatingPoint?: 'allow' | 'refuse';
  /** The C compiler; `gcc` for kvm and `clang` for wasm unless given. */
  readonly compiler?: string;
  /** Directories of headers. */
  readonly includes?: readonly string[];
  /** Macros, `NAME` or `NAME=VALUE`. */
  readonly defines?: readonly string[];
  /** `0` to `3`, `s` or `z`; `2` unless given. */
  readonly optimize?: string;
  /** More options of the C compiler, or of asc. */
  readonly compilerOptions?: readonly string[];
  /** The directory of the C library for PALs; that of the installed package `@casemate/tz` unless given; `false` for none. */
  readonly sdk?: string | false;
  /** AssemblyScript's memory manager; `incremental` unless given, `stub` for a replay-protected PAL, whose memory lasts one call. */
  readonly runtime?: AssemblyScriptRuntime;
  /** The program wasm2c, which makes WebAssembly run on kvm; that of the package `wabt` unless given, or else of the system. */
  readonly wasm2c?: string;
  /** Bytes of memory that may be lent to translated WebAssembly in one call; 1 MiB unless given. */
  readonly lentBytes?: number;
  /** Ends the compilers. */
  readonly signal?: AbortSignal;
  /** Told of each step before it begins. */
  readonly onStep?: (step: string) => void;
}

/** An image and how it came about. */
export interface BuiltPal {
  /** The image. */
  readonly image: Uint8Array;
  /** What went where, for an image for kvm. */
  readonly map: readonly MapEntry[];
  /** Every file that it was made from, absolute: when one changes, so may the image. */
  readonly dependencies: readonly string[];
  /** What compilers warned of. */
  readonly warnings: readonly PalDiagnostic[];
}

/**
 * Compiles and links. The same sources and the same compilers give the same bytes, wherever they lie. Throws
 * {@link PalLinkerError}: `compile` with what the compiler said, `tool` where a program is missing, and the linker's own.
 */
export async function buildPal(options: BuildPalOptions): Promise<BuiltPal> {
  const base = resolve(options.baseDirectory ?? '.');
  const job: Job = { ...options, base, plan: planSources(options.sources.map((path) => resolve(base, path))) };
  return await inTemporaryDirectory(async (temporary) => {
    if (job.plan.kind === 'module') return await buildFromModule(job, job.plan.path, temporary);
    return await buildFromObjects(job, job.plan, temporary);
  });
}

interface Job extends BuildPalOptions {
  readonly base: string;
  readonly plan: SourcePlan;
}

type SourcePlan =
  | { readonly kind: 'module'; readonly path: string }
  | { readonly kind: 'objects'; readonly compiled: readonly string[]; readonly linked: readonly string[] };

const COMPILED = ['.c', '.cc', '.cpp', '.cxx', '.s', '.S'];
const LINKED = ['.o', '.a'];
const MODULES = ['.ts', '.wasm'];

function planSources(sources: readonly string[]): SourcePlan {
  const odd = sources.find((path) => ![...COMPILED, ...LINKED, ...MODULES].includes(extname(path)));
  if (odd !== undefined)
    refuse(`a source that ends in ${[...COMPILED, ...LINKED, ...MODULES].join(' ')}`, basename(odd));
  const [module] = sources.filter((path) => MODULES.includes(extname(path)));
  if (module !== undefined && sources.length > 1) {
    refuse('one file of TypeScript or WebAssembly alone', `${sources.length} files with ${basename(module)}`);
  }
  if (module !== undefined) return { kind: 'module', path: module };
  if (sources.length === 0) refuse('at least one source', 'none');
  const of = (endings: readonly string[]) => sources.filter((path) => endings.includes(extname(path)));
  return { kind: 'objects', compiled: of(COMPILED), linked: of(LINKED) };
}

function refuse(expected: string, got: string): never {
  throw new PalLinkerError('input', `build PAL: expected ${expected}, got ${got}`);
}

async function buildFromModule(job: Job, path: string, temporary: string): Promise<BuiltPal> {
  const compiled = extname(path) === '.ts' ? await compileModule(job, path) : await readModule(path);
  const { module, dependencies, diagnostics } = compiled;
  const image = linkPal({ ...limitsOf(job), ...given(job, ['entry', 'memoryPages', 'floatingPoint']), module });
  const made = { dependencies, warnings: diagnostics };
  if (job.engine === 'wasm') return { image, map: [], ...made };
  job.onStep?.('translate to C');
  const { compiler = 'gcc', optimize = '2', lentBytes = 1024 * 1024, wasm2c, signal } = job;
  const how = { compiler, wasm2c, optimize, lentBytes, signal };
  const objects = await translateWasm({ image, project: job.base, temporary, ...how });
  job.onStep?.('link');
  return { ...linkElfPal({ ...limitsOf(job), stackBytes: job.stackBytes ?? 1024 * 1024, objects }), ...made };
}

async function compileModule(job: Job, source: string) {
  job.onStep?.(`compile ${relative(job.base, source)}`);
  const { base, optimize = '2', compilerOptions = [], replayProtected = false } = job;
  const runtime = job.runtime ?? (replayProtected ? 'stub' : 'incremental');
  return await compileAssemblyScript({ source, baseDirectory: base, runtime, optimize, options: compilerOptions });
}

async function readModule(path: string) {
  return { module: await readInput(path), dependencies: [path], diagnostics: [] };
}

async function buildFromObjects(
  job: Job,
  plan: SourcePlan & { kind: 'objects' },
  temporary: string,
): Promise<BuiltPal> {
  const { objects, dependencies, diagnostics } = await compileSources(job, plan.compiled, temporary);
  const read = plan.linked.map(async (path) => ({ name: relative(job.base, path), content: await readInput(path) }));
  const all = [...objects, ...(await Promise.all(read))];
  const made = { dependencies: [...dependencies, ...plan.linked], warnings: diagnostics };
  job.onStep?.('link');
  if (job.engine === 'kvm') {
    const more = given(job, ['entry', 'start', 'stackBytes', 'heapBytes']);
    return { ...linkElfPal({ ...limitsOf(job), ...more, objects: all }), ...made };
  }
  const module = await linkWasmFiles(all, {
    temporary,
    signal: job.signal,
    stackBytes: job.stackBytes,
    entry: job.entry,
  });
  return {
    image: linkPal({ ...limitsOf(job), ...given(job, ['entry', 'memoryPages', 'floatingPoint']), module }),
    map: [],
    ...made,
  };
}

async function compileSources(job: Job, sources: readonly string[], temporary: string): Promise<CompiledObjects> {
  if (sources.length === 0) return { objects: [], dependencies: [], diagnostics: [] };
  const target = job.engine === 'kvm' ? 'x86-64' : 'wasm32';
  const headers = await findHeaders(job.base, job.sdk);
  return await compileC({
    ...{ sources, target, temporary, baseDirectory: job.base },
    compiler: job.compiler ?? (target === 'x86-64' ? 'gcc' : 'clang'),
    includes: [...(job.includes ?? []).map((path) => resolve(job.base, path)), ...headers.includes],
    systemIncludes: headers.library,
    defines: job.defines ?? [],
    optimize: job.optimize ?? '2',
    options: job.compilerOptions ?? [],
    signal: job.signal,
    onSource: (source) => job.onStep?.(`compile ${relative(job.base, source)}`),
  });
}

function limitsOf(job: Job) {
  const { name, version } = job;
  return { name, version, ...given(job, ['replayProtected', 'inputCapacity', 'outputCapacity', 'parameters']) };
}

/** The options of these names that are given; `undefined` is as good as none. */
function given<K extends keyof Job>(job: Job, names: readonly K[]): { [N in K]?: Exclude<Job[N], undefined> } {
  const entries = names.map((name) => [name, job[name]] as const).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [N in K]?: Exclude<Job[N], undefined> }; // the names are K, the values not undefined
}

async function readInput(path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new PalLinkerError('input', `build PAL: ${problem}`, {}, { cause: error });
  }
}
