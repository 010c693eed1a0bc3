/** The objects that a PAL is linked from: its sources compiled, those that are given, and what it needs of the C library. */
import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { ObjectFile } from '../elf/symbols.js';
import { archiveOf } from './archive.js';
import { type CInput, type CompiledObjects, type CTarget, compileC } from './c.js';
import { cacheDirectory, cacheKey, throughCache } from './cache.js';
import { findLibrary, type PalLibrary, type StartCode } from './sdk.js';
import { readSource, type SourcePlan } from './sources.js';
import { run } from './tools.js';

/** How C, C++ and assembler are compiled. */
export interface ObjectOptions {
  /** What paths are relative to, and where packages are looked for; the working directory unless given. */
  readonly baseDirectory?: string;
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
  /**
   * The directory of the C library for PALs, with its `sdk.json`; that of the installed package `@casemate/tz` unless given; `false` for
   * none. It is compiled and linked where a PAL needs something of it, and its start code then runs in the entry's place.
   */
  readonly sdk?: string | false;
  /**
   * Where that library is kept compiled, for the next build; below XDG_CACHE_HOME or in the nearest `node_modules/.cache` unless given;
   * `false` compiles it anew. The PAL's bytes are the same either way.
   */
  readonly cache?: string | false;
  /** Ends the compilers. */
  readonly signal?: AbortSignal;
  /** Told of each step before it begins. */
  readonly onStep?: (step: string) => void;
}

/** What is needed to make objects. */
export interface ObjectJob extends ObjectOptions {
  readonly base: string;
  readonly target: CTarget;
  readonly temporary: string;
  /** Whether they are for a program whose addresses are not known. */
  readonly isMovable?: boolean;
  readonly entry?: string;
}

/** Start code, compiled. */
export interface CompiledStart {
  readonly code: StartCode;
  readonly object: ObjectFile;
}

/** Objects, and more on demand. */
export interface CollectedObjects extends CompiledObjects {
  /** Compiles the C library into an archive; with it comes that of the compiler. */
  readonly library: () => Promise<readonly ObjectFile[]>;
  /** Compiles its start code, where it has some. */
  readonly start: () => Promise<CompiledStart | undefined>;
}

/** Compiles and reads. Throws {@link PalLinkerError} with code `tool`, `compile` or `input`. */
export async function collectObjects(
  job: ObjectJob,
  plan: SourcePlan & { readonly kind: 'objects' },
): Promise<CollectedObjects> {
  const { base } = job;
  const library = findLibrary(base, job.sdk);
  const input = inputFor(job, library);
  const compiled = plan.compiled.length === 0 ? NOTHING : await compileC({ ...input, sources: plan.compiled });
  const read = plan.linked.map(async (path) => ({ name: relative(base, path), content: await readSource(path) }));
  return {
    objects: [...compiled.objects, ...(await Promise.all(read))],
    dependencies: [...compiled.dependencies, ...plan.linked],
    diagnostics: compiled.diagnostics,
    library: () => compileLibrary(job, library, input),
    start: () => compileStart(job, library, input),
  };
}

const NOTHING: CompiledObjects = { objects: [], dependencies: [], diagnostics: [] };

function inputFor(job: ObjectJob, { includes, systemIncludes }: PalLibrary): Omit<CInput, 'sources'> {
  const { base, target, temporary, signal, isMovable = false } = job;
  return {
    ...{ target, temporary, signal, isMovable, systemIncludes, baseDirectory: base },
    compiler: job.compiler ?? (target === 'x86-64' ? 'gcc' : 'clang'),
    includes: [...(job.includes ?? []).map((path) => resolve(base, path)), ...includes],
    defines: job.defines ?? [],
    optimize: job.optimize ?? '2',
    options: job.compilerOptions ?? [],
    onSource: (source) => job.onStep?.(`compile ${relative(base, source)}`),
  };
}

async function compileLibrary(job: ObjectJob, library: PalLibrary, input: Omit<CInput, 'sources'>) {
  const how = { ...input, ...ofLibrary(job, library), sources: library.sources };
  const name = 'library.a';
  const content = await keptOrMade(job, library, how, async (temporary) => {
    job.onStep?.('compile the C library');
    return archiveOf(name, (await compileC({ ...how, temporary })).objects).content;
  });
  return [{ name, content }, ...(await compilerLibrary(input))];
}

/** Its own headers, and the PAL's only where the services' may be among them: nothing is kept then. */
function ofLibrary(job: ObjectJob, library: PalLibrary) {
  const includes = [...library.includes, ...foreignIncludes(job, library)];
  return { includes, options: library.options, defines: [], optimize: '2', onSource: undefined };
}

function foreignIncludes({ base, includes = [] }: ObjectJob, library: PalLibrary): readonly string[] {
  const hasServices = library.includes.some((directory) => existsSync(join(directory, 'casemate-pal.h')));
  return hasServices ? [] : includes.map((path) => resolve(base, path));
}

async function keptOrMade(
  job: ObjectJob,
  library: PalLibrary,
  { temporary: _, ...input }: CInput,
  make: (temporary: string) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const { includes, systemIncludes, sources, start } = library;
  const compile = async () => make(await mkdtemp(join(job.temporary, 'library-')));
  const directory = directoryOf(job);
  if (!directory || foreignIncludes(job, library).length > 0) return compile();
  const own = [...sources, ...(start ? [start.source] : [])].map((source) => dirname(source));
  // What cannot be read through, such as a link to a directory, has no digest.
  const key = await cacheKey({ input, directories: [...includes, ...systemIncludes, ...own] }).catch(() => undefined);
  return key === undefined ? compile() : throughCache(directory, key, compile);
}

function directoryOf({ base, cache }: ObjectJob): string | false | undefined {
  return cache === undefined ? cacheDirectory(base) : cache && resolve(base, cache);
}

/** What compilers call for arithmetic that the processor has no instruction for. */
async function compilerLibrary({
  compiler,
  target,
  baseDirectory,
}: Omit<CInput, 'sources'>): Promise<readonly ObjectFile[]> {
  if (target === 'wasm32') return [];
  const { stdout } = await run(compiler, ['-print-libgcc-file-name'], { cwd: baseDirectory });
  const path = stdout.trim();
  return existsSync(path) ? [{ name: basename(path), content: await readSource(path) }] : [];
}

async function compileStart(job: ObjectJob, library: PalLibrary, input: Omit<CInput, 'sources'>) {
  const { start } = library;
  if (start === undefined) return undefined;
  const defines = [...input.defines, `${start.entryMacro}=${job.entry ?? 'pal'}`];
  const how = { ...input, ...ofLibrary(job, library), defines, sources: [start.source] };
  const content = await keptOrMade(job, library, how, async (temporary) => {
    const { objects } = await compileC({ ...how, temporary });
    return objects[0]?.content ?? new Uint8Array(0);
  });
  return { code: start, object: { name: `${basename(start.source)}.o`, content } };
}
