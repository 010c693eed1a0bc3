/** Numbers that belong to one process at a time, across processes and whatever is killed: each lease is one file whose name says whose. */
import { randomInt } from 'node:crypto';
import { lstat, mkdir, open, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { NamespaceError } from './error.js';

/** A number that nobody else has until it is released, or this process ends. */
export interface Lease {
  /** The number. */
  readonly index: number;
  /** Gives it back; doing so twice does nothing. */
  release(): Promise<void>;
}

/** What to take a number of. */
export interface LeaseRequest {
  /** What the numbers count, such as `ids`: letters, digits and hyphens. */
  readonly kind: string;
  /** Numbers run from 0 to one below this. */
  readonly count: number;
  /** Numbers that are not to be had for other reasons. */
  readonly isUsable?: (index: number) => boolean | Promise<boolean>;
}

/** Where leases lie unless a pool is told otherwise: in memory, so that they end with the machine's run. */
export function leaseDirectory(): string {
  const uid = process.geteuid?.() ?? 0;
  if (uid === 0) return '/run/casemate/leases';
  const runtime = process.env.XDG_RUNTIME_DIR;
  return runtime?.startsWith('/') ? `${runtime}/casemate/leases` : join(tmpdir(), `casemate-${uid}`, 'leases');
}

/**
 * Takes a number. Throws {@link NamespaceError} `used-up` if there is none, and `bad-spec` if the directory cannot be used.
 *
 * Each taker creates a file of its own and only then looks for others with the same number. Of two at the same moment the one that
 * looks last sees the other's file, so never do both succeed. A file whose process is dead can be removed by anyone, since no later
 * process ever has the same name.
 */
export async function takeLease(directory: string, request: LeaseRequest): Promise<Lease> {
  await prepare(directory);
  const self = await readSelf();
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const taken = await takenNumbers(directory, request.kind, self);
    const index = await pick(request, taken);
    if (index === undefined) {
      throw new NamespaceError(
        'used-up',
        `lease ${request.kind}: expected one of ${request.count} to be free, got none`,
      );
    }
    const lease = await claim(directory, request.kind, index, self);
    if (lease) return lease;
    await new Promise((resolve) => setTimeout(resolve, randomInt(1, 10)));
  }
  throw new NamespaceError(
    'used-up',
    `lease ${request.kind}: expected to win a number within ${MAX_TRIES} tries, got none`,
  );
}

async function prepare(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const path of [directory, dirname(directory)]) await checkOurs(path);
  } catch (cause) {
    if (cause instanceof NamespaceError) throw cause;
    throw unusable(directory, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

// In a directory that others write, they could take our numbers away or give them out twice.
async function checkOurs(path: string): Promise<void> {
  const info = await lstat(path);
  const isOurs = info.uid === process.geteuid?.() || info.uid === 0;
  const isOpen = (info.mode & 0o022) !== 0 && (info.mode & 0o1000) === 0;
  if (!info.isDirectory() || !isOurs || isOpen)
    throw unusable(path, `owner ${info.uid}, mode ${info.mode.toString(8)}`);
}

function unusable(path: string, got: string, cause?: unknown): NamespaceError {
  const message = `open leases: expected a directory at ${path} that only this user writes, got ${got}`;
  return new NamespaceError('bad-spec', message, { cause, remedy: 'give the pool another directory' });
}

async function takenNumbers(directory: string, kind: string, self: Owner): Promise<ReadonlySet<number>> {
  const taken = new Set<number>();
  for (const claimed of await claims(directory, kind)) {
    if (await isAlive(claimed, self)) taken.add(claimed.index);
    else await rm(join(directory, claimed.name), { force: true });
  }
  return taken;
}

// From a place of chance on, so that many takers at once seldom want the same.
async function pick({ count, isUsable }: LeaseRequest, taken: ReadonlySet<number>): Promise<number | undefined> {
  const start = randomInt(count);
  for (let i = 0; i < count; i++) {
    const index = (start + i) % count;
    if (!taken.has(index) && (await (isUsable?.(index) ?? true))) return index;
  }
  return undefined;
}

async function claim(directory: string, kind: string, index: number, self: Owner): Promise<Lease | undefined> {
  const name = `${kind}.${index}.${self.pid}.${self.start}.${self.boot}.${self.namespace}`;
  const path = join(directory, name);
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (cause) {
    if (isErrno(cause, 'EEXIST')) return undefined; // another taker of this very process
    throw unusable(directory, cause instanceof Error ? cause.message : String(cause), cause);
  }
  const release = (): Promise<void> => rm(path, { force: true });
  const rivals = (await claims(directory, kind)).filter((other) => other.index === index && other.name !== name);
  for (const rival of rivals) {
    if (!(await isAlive(rival, self))) continue;
    await release();
    return undefined;
  }
  return { index, release };
}

/** What tells one run of one process from every other: its id, its start time, the boot, and the namespaces in which both count. */
interface Owner {
  readonly pid: number;
  readonly start: string;
  readonly boot: string;
  readonly namespace: string;
}

interface Claim extends Owner {
  readonly name: string;
  readonly index: number;
}

async function claims(directory: string, kind: string): Promise<readonly Claim[]> {
  const names = await readdir(directory);
  return names.flatMap((name) => {
    const [, of, index, pid, start, boot, namespace] = CLAIM.exec(name) ?? [];
    if (of !== kind || !start || !boot || !namespace) return [];
    return [{ name, index: Number(index), pid: Number(pid), start, boot, namespace }];
  });
}

async function isAlive(owner: Owner, self: Owner): Promise<boolean> {
  if (owner.boot !== self.boot) return false;
  // What counts in other namespaces says nothing here; taking it for alive is the safe answer.
  if (owner.namespace !== self.namespace) return true;
  if (owner.pid === self.pid) return owner.start === self.start;
  return (await startOf(owner.pid)) === owner.start;
}

async function readSelf(): Promise<Owner> {
  const [start, boot, namespace] = await Promise.all([
    startOf('self'),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '0'),
    readNamespaces(),
  ]);
  return { pid: process.pid, start, boot: boot.trim(), namespace };
}

// Start times have the offset of the time namespace of who reads them. Where /proc is that of another PID namespace, what it says of a
// process id is about another process: then nobody but this very process can judge.
async function readNamespaces(): Promise<string> {
  const read = (path: string): Promise<string> => readlink(path).catch(() => '0');
  const [pids, clocks, shown] = await Promise.all(['/proc/self/ns/pid', '/proc/self/ns/time', '/proc/self'].map(read));
  const numbers = [pids, clocks].map((link) => /\d+/.exec(link ?? '')?.[0] ?? '0');
  return [...numbers, ...(shown === String(process.pid) ? [] : [process.pid])].join('');
}

// proc_pid_stat(5): field 22; fields are counted after the name, which may hold spaces and parentheses.
async function startOf(pid: number | 'self'): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'none';
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

const MAX_TRIES = 200;
const CLAIM = /^([a-z0-9-]+)\.(\d+)\.(\d+)\.(\d+)\.([0-9a-f-]+)\.(\d+)$/;
