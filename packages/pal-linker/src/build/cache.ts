/** What a build keeps for the next one: the C library, compiled. An entry is found by a digest of all that went into it, or not at all. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { C_OPTIONS, type CInput } from './c.js';
import { run } from './tools.js';

/** What is compiled, and the directories that everything it includes lies below. */
export interface CacheInput {
  readonly input: Omit<CInput, 'temporary'>;
  readonly directories: readonly string[];
}

/** How many entries stay, the newest. */
const ENTRIES = 32;

/**
 * The directory for `project`: below XDG_CACHE_HOME, or in the nearest `node_modules/.cache`. `undefined` without either, and where the
 * environment names directories of headers, for what they hold is not known.
 */
export function cacheDirectory(project: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (UNKNOWN_HEADERS.some((name) => env[name])) return undefined;
  const home = env.XDG_CACHE_HOME;
  if (home && isAbsolute(home)) return join(home, 'casemate', 'pal-linker');
  for (let at = project; ; at = dirname(at)) {
    if (existsSync(join(at, 'node_modules'))) return join(at, 'node_modules', '.cache', 'casemate-pal-linker');
    if (at === dirname(at)) return undefined;
  }
}

const UNKNOWN_HEADERS = ['CPATH', 'C_INCLUDE_PATH', 'CPLUS_INCLUDE_PATH', 'GCC_EXEC_PREFIX', 'COMPILER_PATH'];

/** The name of an entry: SHA-256 over the compiler, how it is called, and the bytes of all sources and headers. */
export async function cacheKey({ input, directories }: CacheInput): Promise<string> {
  const { signal: _signal, onSource: _onSource, ...how } = input;
  const cwd = input.baseDirectory;
  const [version, headers] = await Promise.all([
    run(input.compiler, ['--version'], { cwd, signal: input.signal }),
    run(input.compiler, ['-print-file-name=include'], { cwd, signal: input.signal }),
  ]);
  const hash = createHash('sha256');
  const epoch = process.env.SOURCE_DATE_EPOCH ?? '0';
  hash.update(JSON.stringify([FORMAT, how, C_OPTIONS, epoch, version.stdout, headers.stdout]));
  for (const directory of [...new Set(directories)].sort()) {
    for (const file of await filesBelow(directory)) {
      const content = await readFile(join(directory, file));
      hash.update(`\0${directory}\0${file}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest('hex');
}

const FORMAT = 'casemate compiled C library 2';

async function filesBelow(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  return files.map((entry) => relative(directory, join(entry.parentPath, entry.name))).sort();
}

/**
 * The entry `key` of `directory`, or what `make` makes, which is then kept. Entries that were cut off or changed count as missing, and a
 * directory that cannot be written keeps nothing: builds never fail for the cache.
 */
export async function throughCache(
  directory: string,
  key: string,
  make: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const path = join(directory, key);
  const kept = await readEntry(path);
  if (kept) return kept;
  const content = await make();
  await writeEntry(directory, path, content).catch(() => undefined);
  return content;
}

async function readEntry(path: string): Promise<Uint8Array | undefined> {
  const entry = await readFile(path).catch(() => undefined);
  const content = entry && new Uint8Array(entry.subarray(DIGEST));
  return content && digestOf(content).equals(entry.subarray(0, DIGEST)) ? content : undefined;
}

const DIGEST = 32;

function digestOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}

/** Under a name of its own first: of two builds at once each finds nothing or a whole entry. */
async function writeEntry(directory: string, path: string, content: Uint8Array): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const unfinished = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  try {
    await writeFile(unfinished, Buffer.concat([digestOf(content), content]), { mode: 0o600, flag: 'wx' });
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
  await dropOldest(directory);
}

async function dropOldest(directory: string): Promise<void> {
  const names = await readdir(directory);
  if (names.length <= ENTRIES) return;
  const paths = names.map((name) => join(directory, name));
  const dated = await Promise.all(paths.map(async (path) => ({ path, time: (await stat(path)).mtimeMs })));
  const oldest = dated.sort((a, b) => b.time - a.time).slice(ENTRIES);
  await Promise.all(oldest.map(({ path }) => rm(path, { force: true })));
}
