/** A directory as the root filesystem of an image. */
import type { Stats } from 'node:fs';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerError } from './error.js';
import { arrange, type Found, type Rootfs, type RootfsOptions } from './rootfs.js';

/**
 * Walks `directory` without following links and without leaving its file system. Whoever can write there while it is read decides
 * what is in the image; so it should be nobody else. Throws {@link ContainerError} `archive` and `bad-input`.
 */
export async function openDirectory(directory: string, options: RootfsOptions): Promise<Rootfs> {
  const root = await lstat(directory);
  if (!root.isDirectory())
    throw new ContainerError('bad-input', `read root filesystem: expected a directory at ${directory}`);
  const walk = new Walk(directory, root.dev);
  await walk.into('');
  return { entries: arrange(walk.found, options), skipped: walk.skipped.sort(), close: async () => undefined };
}

class Walk {
  readonly found: Found[] = [];
  readonly skipped: string[] = [];
  readonly #links = new Map<string, string>();
  readonly #directory: string;
  readonly #device: number;

  constructor(directory: string, device: number) {
    this.#directory = directory;
    this.#device = device;
  }

  async into(path: string): Promise<void> {
    for (const name of await namesIn(join(this.#directory, path))) {
      const child = path === '' ? name : `${path}/${name}`;
      const stats = await lstat(join(this.#directory, child));
      await this.#add(child, stats);
      if (stats.isDirectory() && stats.dev === this.#device) await this.into(child);
    }
  }

  async #add(path: string, stats: Stats): Promise<void> {
    const from = join(this.#directory, path);
    const common = {
      path,
      mode: stats.mode & 0o7777,
      uid: stats.uid,
      gid: stats.gid,
      mtime: Math.max(0, Math.floor(stats.mtimeMs / 1000)),
      size: 0,
      linkPath: '',
      open: () => readExactly(from, stats.size),
    };
    if (stats.isDirectory()) this.found.push({ ...common, type: 'directory' });
    else if (stats.isSymbolicLink()) this.found.push({ ...common, type: 'symlink', linkPath: await readlink(from) });
    else if (!stats.isFile()) this.skipped.push(path);
    else this.found.push({ ...common, ...this.#fileOrLink(path, stats) });
  }

  #fileOrLink(path: string, stats: Stats): Pick<Found, 'type' | 'size' | 'linkPath'> {
    const inode = `${stats.dev}:${stats.ino}`;
    const first = stats.nlink > 1 ? this.#links.get(inode) : undefined;
    if (first !== undefined) return { type: 'hard-link', size: 0, linkPath: first };
    this.#links.set(inode, path);
    return { type: 'file', size: stats.size, linkPath: '' };
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory, { encoding: 'buffer' });
  return names.map((name) => {
    const text = name.toString('utf8');
    if (Buffer.from(text).equals(name)) return text;
    throw new ContainerError('archive', `read root filesystem: expected names in UTF-8, got ${text} in ${directory}`);
  });
}

/** The file's bytes; a file that has changed its size in the meantime would not fit its header. */
async function* readExactly(path: string, size: number): AsyncIterable<Uint8Array> {
  let read = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    read += chunk.length;
    if (read > size) break;
    yield chunk;
  }
  if (read !== size)
    throw new ContainerError('archive', `read ${path}: expected ${size} bytes, got ${read}; it is being changed`);
}
