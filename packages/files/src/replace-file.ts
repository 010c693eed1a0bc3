/** Replaces a file as a whole: whoever reads it, also after a crash, a kill or a full disk, finds the old content or the new. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

/**
 * Replaces the file at `path`, or makes it; text is written as UTF-8. After it returned, the new content outlasts a power cut. Of several
 * calls for one file at a time, in this process, the last wins. A symbolic link stays one: the file that it names is replaced. `mode` counts
 * whatever the umask is, and a file that is replaced keeps its owner, as far as this process may give it away.
 * Throws what the file system says (`ENOSPC`, `EACCES`, …); the old content is then still there, unless only the last step failed, which
 * makes the new durable. A process that is killed may leave `.NAME.RANDOM.new` beside the file; a later one removes it.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  options: { readonly mode: number },
): Promise<void> {
  const key = resolve(path);
  const before = underWay.get(key);
  const now = (before ?? Promise.resolve()).then(() => replace(key, content, options.mode));
  // The next one waits for this one's end, whatever that is.
  const ended = now.catch(() => {});
  underWay.set(key, ended);
  try {
    await now;
  } finally {
    if (underWay.get(key) === ended) underWay.delete(key);
  }
}

async function replace(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const directory = dirname(target);
  await removeLeftOvers(directory);
  const draft = join(directory, `.${basename(target)}.${randomBytes(6).toString('hex')}.new`);
  try {
    const file = await open(draft, 'wx', mode);
    try {
      await keepOwner(file, target);
      await file.chmod(mode);
      // It goes on after a short write, until all is written or the system says why not.
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncDirectory(directory);
}

async function keepOwner(file: FileHandle, target: string): Promise<void> {
  const earlier = await stat(target).catch(() => undefined);
  if (earlier === undefined) return;
  const { uid, gid } = await file.stat();
  if (earlier.uid === uid && earlier.gid === gid) return;
  await file.chown(earlier.uid, earlier.gid).catch((error: unknown) => {
    if (process.getuid?.() === 0) throw error;
  });
}

/** Once for each directory. One of a slow writer that is removed costs it its rename, which then fails: never the content of a file. */
async function removeLeftOvers(directory: string): Promise<void> {
  if (cleaned.has(directory)) return;
  cleaned.add(directory);
  for (const name of await readdir(directory)) {
    if (!DRAFT.test(name)) continue;
    const draft = join(directory, name);
    const { mtimeMs } = await stat(draft).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > OLD) await rm(draft, { force: true });
  }
}

/** Makes what was made, renamed and removed in a directory outlast a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

const underWay = new Map<string, Promise<void>>();
const cleaned = new Set<string>();
const DRAFT = /^\..+\.[0-9a-f]{12}\.new$/;
/** No write takes as long, in milliseconds. */
const OLD = 10 * 60_000;
