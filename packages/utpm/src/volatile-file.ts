/** Volatile state as a file beside the permanent state, written when a run is to go on in another process. */
import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UtpmError } from './error.js';
import type { VolatileStore } from './state.js';

/** Keeps volatile state in `utpm.volatile` of the directory `path`, which another writer must not have open. */
export function volatileFile(path: string): VolatileStore {
  const file = join(path, 'utpm.volatile');
  return {
    async loadVolatile() {
      try {
        return new Uint8Array(await readFile(file));
      } catch (cause) {
        if (isMissing(cause)) return undefined;
        throw failed('read', file, cause);
      }
    },
    async saveVolatile(state) {
      try {
        if (state === undefined) await rm(file, { force: true });
        else await replace(file, state);
      } catch (cause) {
        throw failed('write', file, cause);
      }
    },
  };
}

async function replace(file: string, state: Uint8Array): Promise<void> {
  const fresh = await open(`${file}.new`, 'w', 0o600);
  try {
    await fresh.writeFile(state);
    await fresh.sync();
  } finally {
    await fresh.close();
  }
  await rename(`${file}.new`, file);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function failed(verb: string, file: string, cause: unknown): UtpmError {
  return new UtpmError('state-failed', `${verb} ${file}: expected the volatile state, got ${String(cause)}`, { cause });
}
