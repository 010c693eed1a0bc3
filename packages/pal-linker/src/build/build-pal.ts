/** From sources to an image: what is compiled by whom, and what is linked with what. */
import { extname, relative, resolve } from 'node:path';
import { type LinkedElfPal, linkElfPal } from '../elf/link.js';
import type { MapEntry } from '../elf/map.js';
import type { ObjectFile } from '../elf/symbols.js';
import { type PalDiagnostic, PalLinkerError } from '../error.js';
import { linkPal } from '../link.js';
import type { PalLimitOptions } from '../parameters.js';
import { linkWasmPal } from '../wasm/link.js';
import { type AssemblyScriptRuntime, type CompiledModule, compileAssemblyScript } from './assemblyscript.js';
import { readBy } from './diagnostics.js';
import { type CollectedObjects, type CompiledStart, collectObjects, type ObjectOptions } from './objects.js';
import { planSources, readSource, type SourcePlan } from './sources.js';
import { inTemporaryDirectory } from './tools.js';
import { translateWasm } from './wasm2c.js';

/** Where a PAL runs: in a virtual machine (`linkElfPal`), or as WebAssembly (`linkPal`). */
export type PalEngine = 'kvm' | 'wasm';

/** What {@link buildPal} builds. */
export interface BuildPalOptions extends PalLimitOptions, ObjectOptions {
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
  /** AssemblyScript's memory manager; `incremental` unless given, `stub` for a replay-protected PAL, whose memory lasts one call. */
  readonly runtime?: AssemblyScriptRuntime;
  /** The program wasm2c, which makes WebAssembly run on kvm; that of the package `wabt` unless given, or else of the system. */
  readonly wasm2c?: string;
  /** Bytes of memory that may be lent to translated WebAssembly in one call; 1 MiB unless given. */
  readonly lentBytes?: number;
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

async function buildFromModule(job: Job, path: string, temporary: string): Promise<BuiltPal> {
  const compiled = extname(path) === '.ts' ? await compileModule(job, path) : await readModule(path);
  const { dependencies, diagnostics } = compiled;
  try {
    return { ...(await linkModule(job, compiled, temporary)), dependencies, warnings: diagnostics };
  } catch (error) {
    throw readBy(dependencies, error);
  }
}

async function linkModule(job: Job, { module }: CompiledModule, temporary: string): Promise<LinkedElfPal> {
  const image = linkPal({ ...limitsOf(job), ...given(job, ['entry', 'memoryPages', 'floatingPoint']), module });
  if (job.engine === 'wasm') return { image, map: [] };
  job.onStep?.('translate to C');
  const { compiler = 'gcc', optimize = '2', lentBytes = 1024 * 1024, wasm2c, signal } = job;
  const how = { compiler, wasm2c, optimize, lentBytes, signal };
  const objects = await translateWasm({ image, project: job.base, temporary, ...how });
  job.onStep?.('link');
  return linkElfPal({ ...limitsOf(job), stackBytes: job.stackBytes ?? 1024 * 1024, objects });
}

async function compileModule(job: Job, source: string) {
  job.onStep?.(`compile ${relative(job.base, source)}`);
  const { base, optimize = '2', compilerOptions = [], replayProtected = false } = job;
  const runtime = job.runtime ?? (replayProtected ? 'stub' : 'incremental');
  return await compileAssemblyScript({ source, baseDirectory: base, runtime, optimize, options: compilerOptions });
}

async function readModule(path: string) {
  return { module: await readSource(path), dependencies: [path], diagnostics: [] };
}

async function buildFromObjects(
  job: Job,
  plan: SourcePlan & { kind: 'objects' },
  temporary: string,
): Promise<BuiltPal> {
  const objects = await collectObjects({ ...job, target: job.engine === 'kvm' ? 'x86-64' : 'wasm32', temporary }, plan);
  const { dependencies, diagnostics } = objects;
  try {
    return { ...(await linkWithLibrary(job, objects)), dependencies, warnings: diagnostics };
  } catch (error) {
    throw readBy(dependencies, error);
  }
}

/** Links without the C library first: a PAL that needs nothing of it is not to wait for it. */
async function linkWithLibrary(job: Job, { objects, library, start }: CollectedObjects) {
  job.onStep?.('link');
  try {
    return linkObjects(job, objects, undefined);
  } catch (error) {
    if (!(error instanceof PalLinkerError) || !['undefined-symbol', 'constructor'].includes(error.code)) throw error;
    const started = job.start === undefined ? await start() : undefined;
    const more = [...objects, ...(started ? [started.object] : []), ...(await library())];
    job.onStep?.('link');
    return linkObjects(job, more, started);
  }
}

function linkObjects(job: Job, objects: readonly ObjectFile[], started: CompiledStart | undefined) {
  if (job.engine === 'kvm') {
    const fromStart = started && { start: started.code.symbol, heapBytes: started.code.heapBytes };
    const more = { ...fromStart, ...given(job, ['entry', 'start', 'stackBytes', 'heapBytes']) };
    return linkElfPal({ ...limitsOf(job), ...more, objects });
  }
  const fromStart = started && { entry: started.code.symbol };
  const more = given(job, ['entry', 'stackBytes', 'heapBytes', 'memoryPages', 'floatingPoint']);
  return linkWasmPal({ ...limitsOf(job), ...more, ...fromStart, objects });
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
