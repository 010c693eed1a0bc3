/** The permanent state as one file in a directory: atomic and durable writes, and a lock that dies with its process. */
import { closeSync, fdatasyncSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { mkdir, open, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UtpmError } from './error.js';
import type { UtpmState, VolatileStore } from './state.js';
import { nextRecord, readLog, type StateLog, startLog } from './state-log.js';
import { volatileFile } from './volatile-file.js';

const FILE = 'utpm.state';
const LOCK = /^utpm\.lock\.(\d+)\.(\d+)\.([0-9a-f-]+)\.(\d+)$/;

/**
 * What a write that was answered survives: `power-failure`, the disk having been told to keep it; or `process-crash`, the end of the
 * process at any moment, but not that of the machine, whose memory still holds what the disk may lack. The second is what swtpm gives.
 */
export type Durability = 'power-failure' | 'process-crash';

/** Options of `directoryState`. */
export interface DirectoryStateOptions {
  /** `power-failure` unless given. */
  readonly durability?: Durability;
}

/**
 * Keeps the state in `path`, which is created with mode 0700 where it is missing.
 *
 * The file holds the state and, behind it, what has changed since: a change is one write and one flush. When there is no room left, and
 * first of all after `load`, a new file is written, flushed and renamed over the old one, and the directory flushed. On a crash at any
 * moment the file holds the state before or after the write, whole.
 * `load` throws `UtpmError` `state-locked` where a living process has the directory open, and `state-damaged` or `state-version`.
 */
export function directoryState(path: string, options: DirectoryStateOptions = {}): UtpmState & VolatileStore {
  const isFlushed = (options.durability ?? 'power-failure') === 'power-failure';
  let held: Held | undefined;
  const hold = async (): Promise<Held> => {
    held ??= { lock: await acquire(path), writer: new StateWriter(path, isFlushed) };
    return held;
  };
  return {
    ...volatileFile(path),
    async load() {
      await hold();
      return read(join(path, FILE));
    },
    async save(state) {
      const { writer } = held ?? (await hold());
      writer.write(state);
    },
    async close() {
      if (held === undefined) return;
      const { lock, writer } = held;
      held = undefined;
      writer.close();
      await rm(join(path, lock), { force: true });
    },
  };
}

/** What an open store holds: its lock file, and the open file. */
interface Held {
  readonly lock: string;
  readonly writer: StateWriter;
}

async function read(file: string): Promise<Uint8Array | undefined> {
  try {
    return readLog(new Uint8Array(await readFile(file)));
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return undefined;
    if (cause instanceof UtpmError) throw cause;
    throw new UtpmError('state-failed', `read ${file}: expected the state of a TPM, got ${String(cause)}`, { cause });
  }
}

// Owns the open file. Synchronous: each of its calls takes less time than it takes to hand it to the thread pool and back.
class StateWriter {
  readonly #file: string;
  readonly #isFlushed: boolean;
  readonly #directory: number;
  #open: { readonly fd: number; readonly log: StateLog } | undefined;

  constructor(path: string, isFlushed: boolean) {
    this.#file = join(path, FILE);
    this.#isFlushed = isFlushed;
    this.#directory = openSync(path, 'r');
  }

  write(state: Uint8Array): void {
    try {
      if (!this.#append(state)) this.#replace(state);
    } catch (cause) {
      // How much of a record was written is not known: the next write starts a new file.
      this.#forget();
      throw new UtpmError('state-failed', `write ${this.#file}: expected it to be written, got ${String(cause)}`, {
        cause,
      });
    }
  }

  close(): void {
    this.#forget();
    closeSync(this.#directory);
  }

  #append(state: Uint8Array): boolean {
    const next = this.#open && nextRecord(this.#open.log, state);
    if (this.#open === undefined || next === undefined) return false;
    const { fd, log } = this.#open;
    writeAll(fd, next.record, log.end);
    if (this.#isFlushed) fdatasyncSync(fd);
    next.record.fill(0);
    log.state.fill(0);
    this.#open = { fd, log: next.log };
    return true;
  }

  #replace(state: Uint8Array): void {
    const { file, log } = startLog(state);
    const fd = openSync(`${this.#file}.new`, 'w', 0o600);
    try {
      writeAll(fd, file, 0);
      file.fill(0);
      if (this.#isFlushed) fsyncSync(fd);
      renameSync(`${this.#file}.new`, this.#file);
      if (this.#isFlushed) fsyncSync(this.#directory);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#forget();
    this.#open = { fd, log };
  }

  #forget(): void {
    if (this.#open === undefined) return;
    this.#open.log.state.fill(0);
    closeSync(this.#open.fd);
    this.#open = undefined;
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
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
