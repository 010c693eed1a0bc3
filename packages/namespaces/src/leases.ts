/** Numbers that belong to one process at a time, across processes and whatever is killed: each lease is one file whose name says whose. */
import { randomInt } from 'node:crypto';
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { currentOwner, type Owner, ownerState } from '@casemate/cgroups/owner';
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
  const self = readSelf();
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
    if (isAlive(claimed, self)) taken.add(claimed.index);
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
  const name = `${kind}.${index}.${self.pid}.${self.startTime}.${self.boot ?? NO_BOOT}.${self.namespaces}`;
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
    if (!isAlive(rival, self)) continue;
    await release();
    return undefined;
  }
  return { index, release };
}

interface Claim extends Owner {
  readonly name: string;
  readonly index: number;
}

async function claims(directory: string, kind: string): Promise<readonly Claim[]> {
  const names = await readdir(directory);
  return names.flatMap((name) => {
    const [, of, index, pid, startTime, boot, namespaces] = CLAIM.exec(name) ?? [];
    if (of !== kind || !startTime || !boot || !namespaces) return [];
    const owner = { pid: Number(pid), startTime, namespaces, boot: boot === NO_BOOT ? undefined : boot };
    return [{ ...owner, name, index: Number(index) }];
  });
}

function readSelf(): Owner {
  const self = currentOwner({ withBoot: true });
  if (self) return self;
  throw new NamespaceError('bad-spec', 'open leases: expected /proc to tell of this process, got nothing');
}

// Who cannot be seen from here, and a process that nobody has waited for, has its numbers still.
function isAlive(owner: Owner, self: Owner): boolean {
  return ownerState(owner, self) !== 'gone';
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

const MAX_TRIES = 200;
/** Stands for a boot id where /proc does not tell it. */
const NO_BOOT = '0';
const CLAIM = /^([a-z0-9-]+)\.(\d+)\.(\d+)\.(\d+)\.([0-9a-f-]+)\.(\d+)$/;
