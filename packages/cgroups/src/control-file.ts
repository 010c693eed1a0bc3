/** Reading and writing the control files of a cgroup directory, with errors that name them. */
import { open, readFile } from 'node:fs/promises';
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
    throw new CgroupError('io', `write cgroup file ${path}: expected it to take "${value}", got ${codeOf(cause)}`, {
      cause,
    });
  }
}

/** The text of a control file without the last newline; undefined if there is none or it may not be read. */
export async function readControl(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text?.trimEnd();
}

/** The errno name of a failed system call (`ENOENT` …), or the error as text. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** Resolves after `milliseconds`. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
