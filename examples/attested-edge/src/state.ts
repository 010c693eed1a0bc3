/** The state directory: where each part of the device keeps what outlives the program, and the lock that one program at a time holds. */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { LogStore } from '@casemate/attestation';

/** The places in the state directory. */
export interface State extends AsyncDisposable {
  readonly path: string;
  readonly pki: string;
  readonly guestOses: string;
  readonly containers: string;
  readonly tpm: string;
  readonly pals: string;
  readonly device: string;
  readonly verifier: string;
  /** For what one run needs alone; emptied at each opening, because a killed run could not do it. */
  readonly scratch: string;
  /** Where the measurement log of the current boot of the TPM lies. */
  readonly log: LogStore;
}

/** Opens and locks the directory, making it where it is missing. Throws where another program holds it. */
export async function openState(path: string): Promise<State> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const real = await realpath(path);
  const lock = await takeLock(real);
  const logFile = join(real, 'device', 'measurements.bin');
  const state = {
    path: real,
    pki: join(real, 'pki'),
    guestOses: join(real, 'guestos'),
    containers: join(real, 'containers'),
    tpm: join(real, 'tpm'),
    pals: join(real, 'pals'),
    device: join(real, 'device'),
    verifier: join(real, 'verifier'),
    scratch: join(real, 'scratch'),
    log: {
      read: () => readIfThere(logFile),
      write: (bytes: Uint8Array) => replaceFile(logFile, bytes, 0o600),
    },
    [Symbol.asyncDispose]: async () => void lock.close(),
  };
  await rm(state.scratch, { recursive: true, force: true });
  for (const dir of [state.device, state.verifier, state.scratch]) await mkdir(dir, { recursive: true, mode: 0o700 });
  return state;
}

/** The bytes of a file, or `undefined` where there is none. */
export async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Puts a whole file in the place of another, or leaves that, where the disk is full too; the lock keeps others away. */
export async function replaceFile(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, 'w', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}

/** An abstract socket: the kernel frees it when its holder ends, however it ends. */
function takeLock(path: string): Promise<Server> {
  const name = `\0casemate-${createHash('sha256').update(path).digest('hex')}`;
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => reject(new Error(`another program works in ${path}; wait for it, or give --state`)));
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}
