/** Untrusted storage: named blobs that the application keeps for the isolate. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '@casemate/files';
import { TrustvisorError } from './error.js';

/**
 * Where sealed state lies. Nothing in it is trusted: the isolate seals what it puts and checks what it gets, also that
 * it is the latest. `put` must be atomic and durable: after it returned, `get` gives the new bytes, and after a crash
 * inside it the old or the new ones.
 */
export interface BlobStore {
  /** The blob, or `undefined` where there is none. */
  get(name: string): Promise<Uint8Array | undefined>;
  /** Replaces the blob. */
  put(name: string, content: Uint8Array): Promise<void>;
  /** Removes the blob; does nothing where there is none. */
  delete(name: string): Promise<void>;
}

/** The names that the isolate uses: lower-case letters, digits, `.` and `-`, at most 128, so that each is a file name. */
const BLOB_NAME = /^[a-z0-9][a-z0-9.-]{0,127}$/;

/** Throws {@link TrustvisorError} with code `input` unless `name` is a blob name. */
export function assertBlobName(name: string): void {
  if (!BLOB_NAME.test(name)) throw new TrustvisorError('input', `name blob: expected ${BLOB_NAME}, got ${name}`);
}

/** A store in memory, for tests and for state that need not outlive the program. */
export function memoryStore(): BlobStore {
  const blobs = new Map<string, Uint8Array>();
  return {
    get: async (name) => blobs.get(name)?.slice(),
    put: async (name, content) => {
      assertBlobName(name);
      blobs.set(name, content.slice());
    },
    delete: async (name) => {
      blobs.delete(name);
    },
  };
}

/**
 * A store in a directory of its own, one file a blob, mode 600, each replaced atomically and synced. The directory is
 * made where it is missing. Throws {@link TrustvisorError} with code `input` for a name that is no blob name.
 */
export function directoryStore(path: string): BlobStore {
  const file = (name: string): string => {
    assertBlobName(name);
    return join(path, name);
  };
  return {
    get: (name) => readIfThere(file(name)),
    put: async (name, content) => {
      const target = file(name);
      await mkdir(path, { recursive: true, mode: 0o700 });
      await replaceFile(target, content, { mode: 0o600 });
    },
    delete: (name) => rm(file(name), { force: true }),
  };
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
