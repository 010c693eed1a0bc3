/** Names of cgroups that say who made them, so that those of a killed program can be told from those in use. */
import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { readControl } from './control-file.js';

/** Who made a cgroup. */
export interface Owner {
  /** Inode of the pid namespace in which `pid` counts. */
  readonly pidNamespace: string;
  /** Process id of the maker. */
  readonly pid: number;
  /** Start time of the maker in clock ticks since boot: with it a process id is not mistaken for its next bearer. */
  readonly startTime: string;
}

/** This process as an owner. */
export async function currentOwner(): Promise<Owner> {
  const startTime = await startTimeOf(process.pid);
  if (startTime === undefined) throw new Error('read /proc/self/stat: expected this process, got none');
  return { pidNamespace: await pidNamespace(), pid: process.pid, startTime };
}

/** `LABEL.NAMESPACE.PID.START.RANDOM`; the label is cut to what a file name may hold. */
export function buildName(label: string, owner: Owner): string {
  const clean = label.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64) || 'cgroup';
  return [clean, owner.pidNamespace, owner.pid, owner.startTime, randomBytes(6).toString('hex')].join('.');
}

/** The owner that a name tells of; undefined for a name that {@link buildName} did not make. */
export function parseName(name: string): Owner | undefined {
  const match = /^[A-Za-z0-9_-]{1,64}\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]{12}$/.exec(name);
  if (!match) return undefined;
  const [, space, pid, startTime] = match;
  if (space === undefined || pid === undefined || startTime === undefined) return undefined;
  return { pidNamespace: space, pid: Number(pid), startTime };
}

/** The label in a name that {@link buildName} made. */
export function labelOf(name: string): string {
  return name.slice(0, name.indexOf('.'));
}

/** Whether the owner is known to be gone; an owner of another pid namespace is never judged. */
export async function isGone(owner: Owner): Promise<boolean> {
  if (owner.pidNamespace !== (await pidNamespace())) return false;
  return (await startTimeOf(owner.pid)) !== owner.startTime;
}

async function pidNamespace(): Promise<string> {
  const link = readlinkSync('/proc/self/ns/pid'); // at once, as all of /proc: waiting for a thread would take longer
  return /\d+/.exec(link)?.[0] ?? '0';
}

// proc(5): field 22 of /proc/PID/stat; the command in parentheses may hold anything, so count from the last ')'
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readControl(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields ?? [];
  return state === undefined || state === 'Z' || state === 'X' ? undefined : fields?.[19];
}
