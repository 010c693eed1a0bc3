/** A lock file that names its holder, so that what a killed process left behind is told from a lock that is held. */
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { PkiError } from './error.js';

/**
 * Takes the lock at `path`; disposing of the result releases it. A lock whose process is gone is taken over.
 * Throws {@link PkiError} `locked` where a running process holds it.
 */
export async function takeLock(path: string): Promise<AsyncDisposable> {
  const own = `${path}.${process.pid}.${crypto.randomUUID()}`;
  const identity = `${process.pid} ${await startOf(process.pid)}\n`;
  await writeFile(own, identity, { mode: 0o600, flag: 'wx' });
  try {
    // A link is made whole or not at all; a second attempt follows the removal of a dead holder's lock.
    for (let attempt = 0; attempt < 3; attempt++) {
      if (await tryLink(own, path)) return { [Symbol.asyncDispose]: () => release(path, identity) };
      await removeDead(path, `${own}.dead`);
    }
    throw new PkiError('locked', `lock store: expected ${path} to be free, got it taken again and again`);
  } finally {
    await unlink(own);
  }
}

async function tryLink(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Moves a dead holder's lock away. Throws `locked` for one that is alive. */
async function removeDead(path: string, grave: string): Promise<void> {
  const holder = await readText(path);
  if (holder === undefined) return;
  if (await isAlive(holder)) {
    throw new PkiError(
      'locked',
      `lock store: expected ${path} to be free, got it held by process ${holder.split(' ')[0]}`,
    );
  }
  try {
    await rename(path, grave);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return;
    throw error;
  }
  // Another process may have taken the lock between the look and the move; then it gets its lock back.
  if ((await readText(grave)) !== holder) await tryLink(grave, path);
  await unlink(grave);
}

async function release(path: string, identity: string): Promise<void> {
  if ((await readText(path)) === identity) await unlink(path);
}

async function isAlive(holder: string): Promise<boolean> {
  const [pid = '', start = ''] = holder.trim().split(' ');
  return start !== '' && (await startOf(Number(pid))) === start;
}

/** When a process started, in ticks since boot, with the boot's identity: process numbers come back, this pair does not. */
async function startOf(pid: number): Promise<string> {
  const stat = await readText(`/proc/${pid}/stat`);
  const boot = (await readText('/proc/sys/kernel/random/boot_id')) ?? '';
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  const [state] = fields;
  const ticks = fields[19];
  // A process that was killed but not yet waited for is a zombie.
  return ticks === undefined || state === 'Z' || state === 'X' ? '' : `${boot.trim()}:${ticks}`;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ESRCH')) return undefined;
    throw error;
  }
}

/** Whether `error` is the system's error with this code. */
export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
