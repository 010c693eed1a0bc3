/** Files of the program: read with a clear word where that fails, written whole or not at all. */
import { randomUUID } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EXIT, Failure } from './failure.js';
import type { Surroundings } from './terminal.js';

/** Reads a file, or standard input for `-`. */
export async function readInputFile(path: string, surroundings: Surroundings): Promise<Uint8Array> {
  if (path === '-') return await surroundings.readInput();
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    throw new Failure(EXIT.FAILED, `cannot read ${path}: ${reasonOf(cause)}`, undefined, cause);
  }
}

/** Writes a file under another name first, so that nobody sees half of it. `secret` leaves it readable by its owner alone. */
export async function writeOutputFile(
  path: string,
  data: string | Uint8Array,
  options: { readonly secret?: boolean } = {},
): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.${randomUUID()}`);
  try {
    const file = await open(draft, 'wx', options.secret ? 0o600 : 0o666);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (cause) {
    await rm(draft, { force: true });
    throw new Failure(EXIT.FAILED, `cannot write ${path}: ${reasonOf(cause)}`, undefined, cause);
  }
}

/** Why the system refused, in a few words. */
function reasonOf(cause: unknown): string {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
  return REASONS[code] ?? (cause instanceof Error ? cause.message : String(cause));
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is no directory',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
};
