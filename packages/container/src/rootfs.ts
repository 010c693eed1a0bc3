/** Where an image comes from: a directory or a tar archive, brought into the one order and form that images have. */

import { ContainerError } from './error.js';
import type { ImageEntry } from './tar-writer.js';

/** An entry of an image with the way to its data. */
export interface RootfsEntry extends ImageEntry {
  /** The bytes of a file: exactly `size` of them. */
  open(): AsyncIterable<Uint8Array>;
}

/** What was found, in the order of an image, and what is left out. */
export interface Rootfs {
  /** Parents before what is in them, siblings by the bytes of their names. */
  readonly entries: readonly RootfsEntry[];
  /** Paths that an image does not hold: devices, pipes, sockets and what is of unknown type. */
  readonly skipped: readonly string[];
  /** Lets go of what the entries read from. */
  close(): Promise<void>;
}

/** Which owners and times an image gets. */
export interface RootfsOptions {
  /** Owners as in the source, or all root. */
  readonly owners: 'keep' | 'root';
  /** Times as in the source, or all the start of 1970, so that the same content makes the same image. */
  readonly times: 'keep' | 'epoch';
}

/** What a source says of an entry before it is brought into form. */
export interface Found extends Omit<ImageEntry, 'path'> {
  readonly path: string;
  open(): AsyncIterable<Uint8Array>;
}

/**
 * Checks and sorts what a source holds: clean paths, one entry each (the last counts), each inside a directory (made where it is
 * missing), hard links to files. Throws {@link ContainerError} `archive`.
 */
export function arrange(found: readonly Found[], options: RootfsOptions): readonly RootfsEntry[] {
  const byPath = new Map<string, RootfsEntry>();
  for (const entry of found) {
    const path = cleanPath(entry.path);
    if (path !== '') byPath.set(path, normalise(entry, path, options));
  }
  for (const path of [...byPath.keys()]) addParents(byPath, path);
  const sorted = [...byPath.values()].sort((a, b) => compareBytes(sortKey(a.path), sortKey(b.path)));
  return orderLinks(sorted, byPath);
}

/** A relative path without `.` and doubled slashes; empty for the root itself. Throws {@link ContainerError} `archive` for `..`. */
export function cleanPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const bad = parts.find((part) => part === '..' || part.includes('\0') || new TextEncoder().encode(part).length > 255);
  if (bad === undefined && parts.length <= MAX_DEPTH) return parts.join('/');
  throw new ContainerError(
    'archive',
    `read root filesystem: expected a path below the root, got ${JSON.stringify(path.slice(0, 200))}`,
  );
}

function normalise(entry: Found, path: string, { owners, times }: RootfsOptions): RootfsEntry {
  const own = owners === 'root' ? { uid: 0, gid: 0 } : { uid: entry.uid, gid: entry.gid };
  const linkPath = entry.type === 'hard-link' ? cleanPath(entry.linkPath) : entry.linkPath;
  // What a symbolic link's mode says differs between systems and has no effect on Linux.
  const mode = entry.type === 'symlink' ? 0o777 : entry.mode & 0o7777;
  return { ...entry, ...own, path, linkPath, mode, mtime: times === 'epoch' ? 0 : entry.mtime };
}

function addParents(byPath: Map<string, RootfsEntry>, path: string): void {
  const end = path.lastIndexOf('/');
  if (end < 0) return;
  const parent = path.slice(0, end);
  const there = byPath.get(parent);
  if (there?.type === 'directory') return;
  if (there) {
    throw new ContainerError('archive', `read root filesystem: expected a directory at ${parent}, got a ${there.type}`);
  }
  byPath.set(parent, { ...PARENT, path: parent });
  addParents(byPath, parent);
}

/** A hard link whose file comes later in the order changes places with it. */
function orderLinks(sorted: readonly RootfsEntry[], byPath: ReadonlyMap<string, RootfsEntry>): readonly RootfsEntry[] {
  const first = new Map<string, string>();
  return sorted.map((entry) => {
    if (entry.type !== 'file' && entry.type !== 'hard-link') return entry;
    const file = entry.type === 'file' ? entry : fileBehind(entry, byPath);
    const earlier = first.get(file.path);
    if (earlier !== undefined) return { ...file, path: entry.path, type: 'hard-link', size: 0, linkPath: earlier };
    first.set(file.path, entry.path);
    return { ...file, path: entry.path };
  });
}

function fileBehind(link: RootfsEntry, byPath: ReadonlyMap<string, RootfsEntry>): RootfsEntry {
  let target: RootfsEntry | undefined = link;
  for (let hops = 0; hops < 16 && target?.type === 'hard-link'; hops++) target = byPath.get(target.linkPath);
  if (target?.type === 'file') return target;
  throw new ContainerError(
    'archive',
    `read root filesystem: expected ${link.path} to link to a file, got ${link.linkPath}`,
  );
}

/** With the slash as the smallest byte, whatever is in a directory follows it directly. */
function sortKey(path: string): Uint8Array {
  return new TextEncoder().encode(path.replaceAll('/', '\0'));
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

async function* nothing(): AsyncIterable<Uint8Array> {}

const MAX_DEPTH = 512;
const PARENT: Omit<RootfsEntry, 'path'> = {
  type: 'directory',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: 0,
  size: 0,
  linkPath: '',
  open: nothing,
};
