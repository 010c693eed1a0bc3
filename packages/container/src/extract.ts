/** Unpacking an image into an empty directory that nobody else can write to. */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { chmod, chown, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerError, messageOf } from './error.js';
import { cleanPath } from './rootfs.js';
import { type ArchiveEntry, readArchive } from './tar-reader.js';

/** What was unpacked. */
export interface Extracted {
  /** Entries made. */
  readonly entries: number;
  /** Whether files have the owners that the image says; otherwise all belong to the caller. */
  readonly keptOwners: boolean;
}

/**
 * Unpacks an image that `buildGuestOs` made into `root`, which is made here. The bytes may turn out not to be the signed ones, so
 * they are taken as hostile: each entry must lie in a directory that this call has made, which is why no path can leave the root and no
 * link can be followed; a hard link leads to a file that this call has made; devices are refused.
 *
 * Throws {@link ContainerError} `archive`, `io`. After an error `root` is to be removed.
 */
export async function extractImage(chunks: AsyncIterable<Uint8Array>, root: string): Promise<Extracted> {
  const keptOwners = await mayGiveAnyOwner();
  await makeRoot(root);
  const extraction = new Extraction(root, keptOwners);
  await readArchive(chunks, (entry, data) => extraction.take(entry, data));
  extraction.finish();
  return { entries: extraction.count, keptOwners };
}

/** Its mode is what the root of the container will have; below a directory with the set-group-id bit it would have inherited that. */
async function makeRoot(root: string): Promise<void> {
  await mkdir(root);
  const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
  if (uid !== undefined && gid !== undefined) await chown(root, uid, gid);
  await chmod(root, 0o755);
}

class Extraction {
  count = 0;
  readonly #root: string;
  readonly #keepOwners: boolean;
  /** Directories with what they are given at the end: until then they must be writable. */
  readonly #directories = new Map<string, ArchiveEntry | undefined>([['', undefined]]);
  readonly #files = new Set<string>();
  readonly #others = new Set<string>();
  readonly #uid = process.geteuid?.();
  readonly #gid = process.getegid?.();
  readonly #umask = process.umask();

  constructor(root: string, keepOwners: boolean) {
    this.#root = root;
    this.#keepOwners = keepOwners;
  }

  async take(entry: ArchiveEntry, data: AsyncIterable<Uint8Array>): Promise<void> {
    const path = this.#newPath(entry);
    const target = join(this.#root, path);
    this.count++;
    try {
      await this.#make(entry, path, target, data);
    } catch (error) {
      if (error instanceof ContainerError) throw error;
      throw new ContainerError('io', `unpack ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Gives directories their owners, modes and times, the innermost first. */
  finish(): void {
    for (const [path, entry] of [...this.#directories].reverse()) {
      if (!entry) continue;
      const target = join(this.#root, path);
      this.#own(target, entry);
      chmodSync(target, entry.mode);
      lutimesSync(target, entry.mtime, entry.mtime);
    }
  }

  #newPath(entry: ArchiveEntry): string {
    const path = cleanPath(entry.path);
    if (path === '' || path !== entry.path) throw refuse(entry, 'expected a clean relative path');
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    if (!this.#directories.has(parent)) throw refuse(entry, `expected its directory before it`);
    if (this.#directories.has(path) || this.#files.has(path) || this.#others.has(path)) {
      throw refuse(entry, 'expected each path once');
    }
    return path;
  }

  async #make(entry: ArchiveEntry, path: string, target: string, data: AsyncIterable<Uint8Array>): Promise<void> {
    switch (entry.type) {
      case 'directory':
        mkdirSync(target, { mode: 0o700 });
        this.#directories.set(path, entry);
        return;
      case 'file':
        await this.#file(entry, target, data);
        this.#files.add(path);
        return;
      case 'hard-link':
        if (!this.#files.has(entry.linkPath)) throw refuse(entry, `expected the file ${entry.linkPath} before it`);
        linkSync(join(this.#root, entry.linkPath), target);
        this.#files.add(path);
        return;
      case 'symlink':
        symlinkSync(entry.linkPath, target);
        this.#others.add(path);
        this.#own(target, entry);
        return lutimesSync(target, entry.mtime, entry.mtime);
      default:
        throw refuse(entry, `expected a file, directory or link, got a ${entry.type}`);
    }
  }

  async #file(entry: ArchiveEntry, target: string, data: AsyncIterable<Uint8Array>): Promise<void> {
    // Not by promises: a root filesystem has thousands of small files, and each hand-over to another thread costs more than the call.
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = openSync(target, flags, entry.mode & 0o777);
    try {
      for await (const chunk of data) writeAll(file, chunk);
      if (this.#changesOwner(entry)) fchownSync(file, entry.uid, entry.gid);
      // After the owner: a change of owner clears the set-id bits.
      if ((entry.mode & ~0o777) !== 0 || (entry.mode & this.#umask) !== 0) fchmodSync(file, entry.mode);
      futimesSync(file, entry.mtime, entry.mtime);
    } finally {
      closeSync(file);
    }
  }

  /** What this process makes belongs to it already; each change is a write to the disk's journal. */
  #changesOwner({ uid, gid }: ArchiveEntry): boolean {
    return this.#keepOwners && (uid !== this.#uid || gid !== this.#gid);
  }

  #own(target: string, entry: ArchiveEntry): void {
    if (this.#changesOwner(entry)) lchownSync(target, entry.uid, entry.gid);
  }
}

function writeAll(file: number, chunk: Uint8Array): void {
  for (let written = 0; written < chunk.length; ) written += writeSync(file, chunk, written);
}

/** Root may, unless it is root only of a user namespace that lacks ids. */
async function mayGiveAnyOwner(): Promise<boolean> {
  if (process.geteuid?.() !== 0) return false;
  return /^\s*0\s+0\s+4294967295\s*$/.test(await readFile('/proc/self/uid_map', 'utf8'));
}

function refuse(entry: ArchiveEntry, problem: string): ContainerError {
  return new ContainerError('archive', `unpack ${JSON.stringify(entry.path.slice(0, 200))}: ${problem}`);
}
