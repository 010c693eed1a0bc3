/** Unpacking an image into an empty directory that nobody else can write to. */
import { constants } from 'node:fs';
import { chmod, lchown, link, lutimes, mkdir, open, readFile, symlink } from 'node:fs/promises';
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
  const extraction = new Extraction(root, keptOwners);
  await mkdir(root, { mode: 0o755 });
  await readArchive(chunks, (entry, data) => extraction.take(entry, data));
  await extraction.finish();
  return { entries: extraction.count, keptOwners };
}

class Extraction {
  count = 0;
  readonly #root: string;
  readonly #keepOwners: boolean;
  /** Directories with what they are given at the end: until then they must be writable. */
  readonly #directories = new Map<string, ArchiveEntry | undefined>([['', undefined]]);
  readonly #files = new Set<string>();
  readonly #others = new Set<string>();

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
  async finish(): Promise<void> {
    for (const [path, entry] of [...this.#directories].reverse()) {
      if (!entry) continue;
      const target = join(this.#root, path);
      await this.#own(target, entry);
      await chmod(target, entry.mode);
      await lutimes(target, entry.mtime, entry.mtime);
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
        await mkdir(target, { mode: 0o700 });
        this.#directories.set(path, entry);
        return;
      case 'file':
        await this.#file(entry, target, data);
        this.#files.add(path);
        return;
      case 'hard-link':
        if (!this.#files.has(entry.linkPath)) throw refuse(entry, `expected the file ${entry.linkPath} before it`);
        await link(join(this.#root, entry.linkPath), target);
        this.#files.add(path);
        return;
      case 'symlink':
        await symlink(entry.linkPath, target);
        this.#others.add(path);
        await this.#own(target, entry);
        return lutimes(target, entry.mtime, entry.mtime);
      default:
        throw refuse(entry, `expected a file, directory or link, got a ${entry.type}`);
    }
  }

  async #file(entry: ArchiveEntry, target: string, data: AsyncIterable<Uint8Array>): Promise<void> {
    const file = await open(
      target,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      for await (const chunk of data) await file.writeFile(chunk);
      if (this.#keepOwners) await file.chown(entry.uid, entry.gid);
      // After the owner: a change of owner clears the set-id bits.
      await file.chmod(entry.mode);
      await file.utimes(entry.mtime, entry.mtime);
    } finally {
      await file.close();
    }
  }

  async #own(target: string, entry: ArchiveEntry): Promise<void> {
    if (this.#keepOwners) await lchown(target, entry.uid, entry.gid);
  }
}

/** Root may, unless it is root only of a user namespace that lacks ids. */
async function mayGiveAnyOwner(): Promise<boolean> {
  if (process.geteuid?.() !== 0) return false;
  return /^\s*0\s+0\s+4294967295\s*$/.test(await readFile('/proc/self/uid_map', 'utf8'));
}

function refuse(entry: ArchiveEntry, problem: string): ContainerError {
  return new ContainerError('archive', `unpack ${JSON.stringify(entry.path.slice(0, 200))}: ${problem}`);
}
