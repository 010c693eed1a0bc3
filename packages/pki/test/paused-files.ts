/** node:fs/promises for a process that is stopped before each operation until its parent lets it go on. What is in /proc is free. */
import * as files from 'node:fs/promises';

/** Tells the parent where this process is, and waits for its word. */
export async function pauseAt(place: string): Promise<void> {
  const word = new Promise((resolve) => process.once('message', resolve));
  process.send?.(place);
  await word;
}

function paused<A extends readonly unknown[], R>(operation: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
  return async (...args) => {
    if (!String(args[0]).startsWith('/proc/')) await pauseAt(operation.name);
    return operation(...args);
  };
}

export const link = paused(files.link);
export const readdir = paused((path: string) => files.readdir(path));
export const readFile = paused((path: string, encoding: 'utf8') => files.readFile(path, encoding));
export const unlink = paused(files.unlink);
export const writeFile = paused(files.writeFile);
