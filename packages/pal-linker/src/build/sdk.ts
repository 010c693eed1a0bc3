/** What C is built with beside itself: the headers of the services, and the C library for PALs, looked for in the project at run time. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PalLinkerError } from '../error.js';
import { findInPackage, ownDirectory } from './tools.js';

/** Headers, and sources that are compiled where a PAL needs something of them. */
export interface PalLibrary {
  /** Directories of headers. */
  readonly includes: readonly string[];
  /** Directories of headers of a C library, that take the place of the system's. */
  readonly systemIncludes: readonly string[];
  /** Sources; each becomes a member of an archive. */
  readonly sources: readonly string[];
  /** Options that they are compiled with. */
  readonly options: readonly string[];
  /** Code that runs in the entry's place and calls it; the macro tells it how that is called. */
  readonly start: StartCode | undefined;
}

/** Start code. */
export interface StartCode {
  readonly source: string;
  readonly symbol: string;
  readonly entryMacro: string;
  readonly heapBytes: number;
}

/**
 * Finds them: the directory `sdk`, or that of the package `@casemate/tz`, or, for `false` or where there is none, four functions that every
 * compiler calls. Throws {@link PalLinkerError} with code `input` for a directory that is no such library.
 */
export function findLibrary(project: string, sdk: string | false | undefined): PalLibrary {
  const services = findInPackage('@casemate/trustvisor', project);
  const includes = services === undefined ? [] : [join(services, 'include')].filter((path) => existsSync(path));
  const directory = sdk === false ? undefined : (sdk ?? installedSdk(project));
  if (directory === undefined) return { ...BARE, sources: [join(ownDirectory(), 'native', 'memory.c')], includes };
  const library = readLibrary(resolve(project, directory));
  return { ...library, includes: [...library.includes, ...includes] };
}

const BARE = { systemIncludes: [], options: ['-O2', '-ffreestanding'], start: undefined };

function installedSdk(project: string): string | undefined {
  const tz = findInPackage('@casemate/tz', project);
  const directory = tz && join(tz, 'sdk');
  return directory !== undefined && existsSync(join(directory, 'sdk.json')) ? directory : undefined;
}

function readLibrary(directory: string): PalLibrary {
  const file = join(directory, 'sdk.json');
  try {
    return libraryOf(JSON.parse(readFileSync(file, 'utf8')), directory);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new PalLinkerError(
      'input',
      `use C library for PALs: expected ${file} to describe it, got ${problem}`,
      {},
      { cause },
    );
  }
}

function libraryOf(value: unknown, directory: string): PalLibrary {
  const sdk = record(value, 'an object');
  const paths = (list: unknown) => texts(list).map((path) => join(directory, path));
  const start = record(sdk.start, 'start');
  return {
    includes: paths(sdk.include),
    systemIncludes: paths(sdk.libraryInclude),
    sources: Object.values(record(sdk.library, 'library')).flatMap(paths),
    options: texts(sdk.libraryOptions),
    start: {
      source: join(directory, text(start.source)),
      symbol: text(start.symbol),
      entryMacro: text(start.entryMacro),
      heapBytes: Number(start.heapBytes),
    },
  };
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>; // just looked at
  throw new Error(`no ${what}`);
}

function texts(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map(text);
  throw new Error('no list');
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('no text');
}
