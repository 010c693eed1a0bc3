/** A lock file that names its holder, so that what a killed process left behind is told from a lock that is held. */
import { link, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
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
    // A link is made whole or not at all; another attempt follows the removal of a dead holder's lock.
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (await tryLink(own, path)) return { [Symbol.asyncDispose]: () => release(path, identity) };
      await assertDead(path);
      if (!(await removeDead(path, own))) await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
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

async function assertDead(path: string): Promise<void> {
  const holder = await readText(path);
  if (holder === undefined || !(await isAlive(holder))) return;
  const pid = holder.split(' ')[0];
  throw new PkiError('locked', `lock store: expected ${path} to be free, got it held by process ${pid}`);
}

/**
 * Removes a dead holder's lock; false where another process may be about to do so. Each says in a file of its own that it removes, and only
 * then looks for others: of two at the same moment the one that looks last sees the other's file. So nobody removes a lock that was taken
 * since it was found dead.
 */
async function removeDead(path: string, own: string): Promise<boolean> {
  const removing = `${own}.removing`;
  await link(own, removing);
  try {
    if (await hasRival(path, removing)) return false;
    const holder = await readText(path);
    if (holder !== undefined && !(await isAlive(holder))) await unlink(path);
    return true;
  } finally {
    await unlink(removing);
  }
}

/** Whether a running process other than this one removes; what killed processes left is removed on the way. */
async function hasRival(path: string, own: string): Promise<boolean> {
  const directory = dirname(path);
  for (const name of await readdir(directory)) {
    const file = join(directory, name);
    if (!file.startsWith(`${path}.`) || !LEFT.test(name) || file === own) continue;
    const maker = await readText(file);
    if (!maker?.endsWith('\n')) continue; // it is gone, or about to be written
    if (!(await isAlive(maker))) await removeFile(file);
    else if (name.endsWith('.removing')) return true;
  }
  return false;
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
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

const MAX_ATTEMPTS = 100;
/** What a process that was killed while it took a lock leaves beside it. */
const LEFT = /\.\d+\.[0-9a-f-]{36}(\.removing|\.dead)?$/;
