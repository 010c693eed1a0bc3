/** Names of cgroups that say who made them, so that those of a killed program can be told from those in use. */
import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { readControl } from './control-file.js';
import { CgroupError } from './error.js';

/** Who made a cgroup. */
export interface Owner {
  /** Digits that name the namespaces in which `pid` and `startTime` count. */
  readonly namespaces: string;
  /** Process id of the maker. */
  readonly pid: number;
  /** Start time of the maker in clock ticks since boot: with it a process id is not mistaken for its next bearer. */
  readonly startTime: string;
}

/** This process as an owner. */
export async function currentOwner(): Promise<Owner> {
  const startTime = await startTimeOf('self');
  if (startTime === undefined) throw new CgroupError('io', 'read /proc/self/stat: expected this process, got none');
  return { namespaces: readNamespaces(), pid: process.pid, startTime };
}

/** `LABEL.NAMESPACES.PID.START.RANDOM`; the label is cut to what a file name may hold. */
export function buildName(label: string, owner: Owner): string {
  const clean = label.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64) || 'cgroup';
  return [clean, owner.namespaces, owner.pid, owner.startTime, randomBytes(6).toString('hex')].join('.');
}

/** The owner that a name tells of; undefined for a name that {@link buildName} did not make. */
export function parseName(name: string): Owner | undefined {
  const match = /^[A-Za-z0-9_-]{1,64}\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]{12}$/.exec(name);
  if (!match) return undefined;
  const [, space, pid, startTime] = match;
  if (space === undefined || pid === undefined || startTime === undefined) return undefined;
  return { namespaces: space, pid: Number(pid), startTime };
}

/** The label in a name that {@link buildName} made. */
export function labelOf(name: string): string {
  return name.slice(0, name.indexOf('.'));
}

/** Whether the owner is known to be gone; an owner whose process id or clock counts in other namespaces is never judged. */
export async function isGone(owner: Owner): Promise<boolean> {
  if (owner.namespaces !== readNamespaces()) return false;
  return (await startTimeOf(owner.pid === process.pid ? 'self' : owner.pid)) !== owner.startTime;
}

// Start times have the offset of the time namespace of who reads them. Where /proc is that of another pid namespace, what it says of a
// process id is about another process: then nobody but this very process can judge.
function readNamespaces(): string {
  const numbers = ['pid', 'time'].map((kind) => /\d+/.exec(readLink(`/proc/self/ns/${kind}`))?.[0] ?? '0');
  return [...numbers, ...(readLink('/proc/self') === String(process.pid) ? [] : [process.pid])].join('');
}

// At once, as all of /proc: waiting for a thread would take longer.
function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // a kernel without that kind of namespaces
  }
}

// proc(5): field 22 of /proc/PID/stat; the command in parentheses may hold anything, so count from the last ')'
async function startTimeOf(pid: number | 'self'): Promise<string | undefined> {
  const stat = await readControl(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields ?? [];
  return state === undefined || state === 'Z' || state === 'X' ? undefined : fields?.[19];
}
