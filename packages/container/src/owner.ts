/** Names of files and directories that say which process made them, so that those of a killed program can be found and removed. */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from './remove-tree.js';

/** `PREFIX.BOOT.NAMESPACE.PID.START.RANDOM`: this process and this boot. */
export async function ownedName(prefix: string): Promise<string> {
  const start = await startTimeOf(process.pid);
  const random = randomBytes(6).toString('hex');
  return [prefix, await bootId(), await pidNamespace(), process.pid, start ?? '0', random].join('.');
}

/** Removes everything in `directory` that {@link ownedName} named with `prefix` and whose maker is gone; returns the names. */
export async function removeOrphans(directory: string, prefix: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  const removed: string[] = [];
  for (const name of names) {
    if (!name.startsWith(`${prefix}.`) || !(await isOrphan(name.slice(prefix.length + 1)))) continue;
    await removeTree(join(directory, name));
    removed.push(name);
  }
  return removed;
}

async function isOrphan(rest: string): Promise<boolean> {
  const match = /^([0-9a-f-]{36})\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]{12}$/.exec(rest);
  if (!match) return false;
  const [, boot, space, pid, start] = match;
  if (boot !== (await bootId())) return true;
  // A process id says nothing in another pid namespace; what was made there is left alone.
  if (space !== (await pidNamespace())) return false;
  return (await startTimeOf(Number(pid))) !== start;
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

async function pidNamespace(): Promise<string> {
  return /\d+/.exec(await readlink('/proc/self/ns/pid'))?.[0] ?? '0';
}

// proc(5): field 22 of /proc/PID/stat; the command in parentheses may hold anything, so count from the last ')'
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === undefined || 'ZX'.includes(fields[0]) ? undefined : fields[19];
}
