/** Removing a tree that holds directories without write permission, as an ordinary user too. */
import { chmod, lstat, readdir, rm, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from './error.js';

/** Removes `path` and everything below it; links are removed, not followed. Does nothing where there is nothing. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!isErrno(error, 'EACCES') && !isErrno(error, 'EPERM') && !isErrno(error, 'ENOTEMPTY')) throw error;
    await removeByHand(path);
  }
}

async function removeByHand(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats) return;
  if (!stats.isDirectory()) return unlink(path);
  await chmod(path, 0o700);
  for (const name of await readdir(path)) await removeByHand(join(path, name));
  await rmdir(path);
}
