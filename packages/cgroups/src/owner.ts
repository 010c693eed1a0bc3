/**
 * Who made something, and whether that program is gone: proc_pid_stat(5), pid_namespaces(7), time_namespaces(7). What is made is named
 * after its maker, each kind in a format of its own; who finds it later tells by the name whether it is an orphan.
 */
import { readFileSync, readlinkSync } from 'node:fs';

/** One run of one program, told from every other. */
export interface Owner {
  /** Its process id. */
  readonly pid: number;
  /** When it started, in clock ticks since boot: with it a process id is not mistaken for its next bearer. */
  readonly startTime: string;
  /** Digits that name the pid and time namespaces in which `pid` and `startTime` count. */
  readonly namespaces: string;
  /** The kernel's boot id; left out for what no boot outlives. */
  readonly boot?: string | undefined;
}

/**
 * What is known of an owner.
 *
 * - `running`: it is there
 * - `zombie`: it has ended, and its parent has not asked how
 * - `gone`: there is no such process any more
 * - `unknown`: it counts in other namespaces, or cannot be seen from here; what it made is not to be touched
 */
export type OwnerState = 'running' | 'zombie' | 'gone' | 'unknown';

/**
 * This process as an owner, with the boot id for what may outlive a boot (`withBoot`). Undefined where /proc does not tell when it
 * started; `boot` is where /proc does not tell that.
 */
export function currentOwner({ withBoot = false }: { readonly withBoot?: boolean } = {}): Owner | undefined {
  const startTime = readStat('self')?.startTime;
  if (startTime === undefined) return undefined;
  const owner = { pid: process.pid, startTime, namespaces: readNamespaces() };
  return withBoot ? { ...owner, boot: readText('/proc/sys/kernel/random/boot_id')?.trim() } : owner;
}

/** What `self`, which is {@link currentOwner}, can tell of `owner`. Boots are compared where both are known. */
export function ownerState(owner: Owner, self: Owner | undefined): OwnerState {
  if (self === undefined) return 'unknown';
  if (owner.boot !== undefined && self.boot !== undefined && owner.boot !== self.boot) return 'gone';
  if (owner.namespaces !== self.namespaces) return 'unknown';
  // With the /proc of another pid namespace this is the only process that can be told of.
  if (owner.pid === self.pid) return owner.startTime === self.startTime ? 'running' : 'gone';
  const stat = readStat(owner.pid);
  // Nothing to read may also be said to who has no descriptor left, or may not look.
  if (stat === undefined) return isThere(owner.pid) ? 'unknown' : 'gone';
  if (stat.startTime !== owner.startTime) return 'gone';
  return stat.state === 'Z' || stat.state === 'X' ? 'zombie' : 'running';
}

// Start times have the offset of the time namespace of who reads them. Where /proc is that of another pid namespace, what it says of a
// process id is about another process: then nobody but this very process can judge.
function readNamespaces(): string {
  const numbers = ['pid', 'time'].map((kind) => /\d+/.exec(readLink(`/proc/self/ns/${kind}`))?.[0] ?? '0');
  return [...numbers, ...(readLink('/proc/self') === String(process.pid) ? [] : [process.pid])].join('');
}

// Fields 3 and 22; the command in parentheses may hold anything, so they are counted from the last ')'.
function readStat(pid: number | 'self'): { readonly state: string; readonly startTime: string } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  const [state, startTime] = [fields[0], fields[19]];
  return state === undefined || startTime === undefined ? undefined : { state, startTime };
}

function isThere(pid: number): boolean {
  if (pid < 1 || pid > MAX_PID) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

// At once, as all of /proc: waiting for a thread would take longer.
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // a kernel without that kind of namespaces
  }
}

/** The most that /proc/sys/kernel/pid_max can be: proc_sys_kernel(5). */
const MAX_PID = 2 ** 22;
