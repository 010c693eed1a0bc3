/** The permanent state as one file in a directory: atomic and durable writes, and a lock that dies with its process. */
import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { mkdir, open, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UtpmError } from './error.js';
import type { UtpmState } from './state.js';

const FILE = 'utpm.state';
const LOCK = /^utpm\.lock\.(\d+)\.(\d+)\.([0-9a-f-]+)\.(\d+)$/;

/**
 * Keeps the state in `path`, which is created with mode 0700 where it is missing.
 *
 * Each write goes to a new file that is flushed and renamed over the old one, and the directory is flushed, before `save` resolves.
 * `insecureSkipFlush` leaves the flushes out: then a power failure, though not a crash of the process, can lose the last writes.
 * Throws `UtpmError` `state-locked` where a living process has the directory open.
 */
export function directoryState(path: string, options: { readonly insecureSkipFlush?: boolean } = {}): UtpmState {
  const flush = options.insecureSkipFlush !== true;
  let held: Held | undefined;
  const hold = async (): Promise<Held> => {
    held ??= { lock: await acquire(path), directory: openSync(path, 'r') };
    return held;
  };
  return {
    async load() {
      await hold();
      return read(join(path, FILE));
    },
    async save(state) {
      const { directory } = await hold();
      replace(path, state, flush ? directory : undefined);
    },
    async close() {
      if (held === undefined) return;
      const { lock, directory } = held;
      held = undefined;
      closeSync(directory);
      await rm(join(path, lock), { force: true });
    },
  };
}

/** What an open store holds: its lock file, and the directory to flush. */
interface Held {
  readonly lock: string;
  readonly directory: number;
}

async function read(file: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return undefined;
    throw new UtpmError('state-failed', `read ${file}: expected the state of a TPM, got ${String(cause)}`, { cause });
  }
}

// Synchronous: each of these calls takes less time than it takes to hand it to the thread pool and back (0.4 ms instead of 1.0 ms for
// all, with both flushes, on an SSD).
function replace(path: string, state: Uint8Array, directory: number | undefined): void {
  const file = join(path, FILE);
  try {
    const fresh = openSync(`${file}.new`, 'w', 0o600);
    try {
      for (let at = 0; at < state.length; ) at += writeSync(fresh, state, at);
      if (directory !== undefined) fsyncSync(fresh);
    } finally {
      closeSync(fresh);
    }
    renameSync(`${file}.new`, file);
    if (directory !== undefined) fsyncSync(directory);
  } catch (cause) {
    throw new UtpmError('state-failed', `write ${file}: expected it to be replaced, got ${String(cause)}`, { cause });
  }
}

/** What tells one run of one process from every other: its id, its start time, the boot and the PID namespace. */
interface Owner {
  readonly pid: number;
  readonly start: string;
  readonly boot: string;
  readonly namespace: string;
}

// Each opener creates a lock file of its own name and only then looks for others. Of two openers at the same moment the one that
// looks last sees the other's file, so never do both succeed; and a file whose process is dead can be removed by anyone, since no
// later process ever has the same name.
async function acquire(path: string): Promise<string> {
  const self = await ownerOf(process.pid);
  const name = `utpm.lock.${self.pid}.${self.start}.${self.boot}.${self.namespace}`;
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await (await open(join(path, name), 'wx', 0o600)).close();
  } catch (cause) {
    if (isErrno(cause, 'EEXIST')) throw locked(path, self.pid, cause);
    throw new UtpmError('state-failed', `lock ${path}: expected to create ${name}, got ${String(cause)}`, { cause });
  }
  for (const other of await readdir(path)) {
    const owner = other === name ? undefined : parseLock(other);
    if (owner === undefined) continue;
    if (await isAlive(owner, self)) {
      await rm(join(path, name), { force: true });
      throw locked(path, owner.pid);
    }
    await rm(join(path, other), { force: true });
  }
  return name;
}

function parseLock(name: string): Owner | undefined {
  const [, pid, start, boot, namespace] = LOCK.exec(name) ?? [];
  if (pid === undefined || start === undefined || boot === undefined || namespace === undefined) return undefined;
  return { pid: Number(pid), start, boot, namespace };
}

async function isAlive(owner: Owner, self: Owner): Promise<boolean> {
  if (owner.boot !== self.boot) return false;
  // A process id of another PID namespace says nothing here; refusing is the safe answer.
  if (owner.namespace !== self.namespace) return true;
  return isRunning(owner.pid) && (await ownerOf(owner.pid)).start === owner.start;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}

async function ownerOf(pid: number): Promise<Owner> {
  const [stat, boot, namespace] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '0'),
    readlink('/proc/self/ns/pid').catch(() => '0'),
  ]);
  // proc(5): field 22 is the start time; fields are counted after the name, which may hold spaces and parentheses.
  const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
  return { pid, start, boot: boot.trim(), namespace: /\d+/.exec(namespace)?.[0] ?? '0' };
}

function locked(path: string, pid: number, cause?: unknown): UtpmError {
  return new UtpmError('state-locked', `lock ${path}: expected no other opener, got process ${pid}`, { cause });
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
