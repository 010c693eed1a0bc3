/** Reading and writing the control files of a cgroup directory, with errors that name them. */
import { accessSync, closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { CgroupError } from './error.js';

/** Writes `value` in one write(2), as cgroupfs demands; never creates a file. Throws {@link CgroupError} `io`. */
export async function writeControl(path: string, value: string): Promise<void> {
  try {
    const file = await open(path, 'r+').catch((error) =>
      codeOf(error) === 'EACCES' ? open(path, 'w') : Promise.reject(error),
    );
    await using _ = { [Symbol.asyncDispose]: () => file.close() };
    await file.write(value);
  } catch (cause) {
    throw notWritten(path, value, cause);
  }
}

/**
 * The same, at once: for a cgroup without members, where the kernel has nothing to reclaim or to stop. Each step of the other form waits
 * for a thread, which takes many times as long as the write. Throws {@link CgroupError} `io`.
 */
export function writeControlNow(path: string, value: string): void {
  try {
    const fd = openForWriting(path);
    try {
      writeSync(fd, value);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw notWritten(path, value, cause);
  }
}

function openForWriting(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw error;
    return openSync(path, 'w');
  }
}

function notWritten(path: string, value: string, cause: unknown): CgroupError {
  const message = `write cgroup file ${path}: expected it to take "${value}", got ${codeOf(cause)}`;
  return new CgroupError('io', message, { cause });
}

/** The text of a control file without the last newline; undefined if there is none or it may not be read. Read at once: the kernel has it. */
export async function readControl(path: string): Promise<string | undefined> {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch {
    return undefined;
  }
}

/** The errno name of a failed system call (`ENOENT` …), or the error as text. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** Whether there is something at `path`. */
export async function exists(path: string): Promise<boolean> {
  return allows(path, constants.F_OK);
}

/** Whether this process may write at `path`. */
export async function isWritable(path: string): Promise<boolean> {
  return allows(path, constants.W_OK);
}

function allows(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** The number after `key` in a file of lines `KEY NUMBER`. */
export function flatValue(text: string | undefined, key: string): bigint | undefined {
  const line = text?.split('\n').find((l) => l.startsWith(`${key} `));
  const value = line?.slice(key.length + 1) ?? '';
  return /^\d+$/.test(value) ? BigInt(value) : undefined;
}

/** Resolves after `milliseconds`. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Resolves with true after `milliseconds`, or with false once `signal` is aborted. */
export function pauseOrAbort(milliseconds: number, signal: AbortSignal | undefined): Promise<boolean> {
  if (signal?.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const stop = (): void => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve(true);
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
