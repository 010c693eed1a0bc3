/** Names of files and directories that say which process made them, so that those of a killed program can be found and removed. */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from './remove-tree.js';

/** `PREFIX.BOOT.NAMESPACES.PID.START.RANDOM`: this process and this boot. */
export async function ownedName(prefix: string): Promise<string> {
  const start = await startTimeOf('self');
  const random = randomBytes(6).toString('hex');
  return [prefix, await bootId(), await namespaces(), process.pid, start ?? '0', random].join('.');
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
  // What was made where process ids or start times count otherwise is left alone.
  if (space !== (await namespaces())) return false;
  return (await startTimeOf(Number(pid) === process.pid ? 'self' : Number(pid))) !== start;
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

// Start times have the offset of their reader's time namespace. Where /proc is that of another pid namespace, what it says of a process
// id is about another process: then nobody but this very process can judge.
async function namespaces(): Promise<string> {
  const links = ['/proc/self/ns/pid', '/proc/self/ns/time', '/proc/self'];
  const [pid, time, self] = await Promise.all(links.map((link) => readlink(link).catch(() => '')));
  const numbers = [pid, time].map((link) => /\d+/.exec(link ?? '')?.[0] ?? '0');
  return [...numbers, ...(self === String(process.pid) ? [] : [process.pid])].join('');
}

// proc(5): field 22 of /proc/PID/stat; the command in parentheses may hold anything, so count from the last ')'
async function startTimeOf(pid: number | 'self'): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === undefined || 'ZX'.includes(fields[0]) ? undefined : fields[19];
}
