/** Transport to a TPM device of the Linux kernel: /dev/tpmrm0, with its resource manager, or /dev/tpm0 (Linux, tpm(4)). */
import { type FileHandle, open } from 'node:fs/promises';
import { Lock, orAborted } from './lock.js';
import { TpmError } from './response-code.js';
import { MAX_RESPONSE } from './response-length.js';
import type { TpmTransport } from './transport.js';

/**
 * Opens a TPM device. /dev/tpmrm0 gives every opener objects and sessions of its own; /dev/tpm0 admits one opener.
 * Throws `TpmError` `closed` where it cannot be opened.
 */
export async function openDevice(path = '/dev/tpmrm0'): Promise<TpmTransport> {
  const file = await opened(path);
  const lock = new Lock();
  return {
    // A read from the device cannot be taken back. The exchange stays in the lock until the device has answered, so the
    // response of a command that was given up is read and dropped before the next command is written.
    send(command, { signal } = {}) {
      const response = lock.run(() => exchange(file, path, command));
      return signal ? orAborted(response, signal) : response;
    },
    close: () => lock.run(() => file.close()),
  };
}

async function opened(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (cause) {
    throw new TpmError('closed', `open ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** The driver takes a whole command in one write and gives a whole response in one read. */
async function exchange(file: FileHandle, path: string, command: Uint8Array): Promise<Uint8Array> {
  try {
    const { bytesWritten } = await file.write(command, 0, command.length, null);
    if (bytesWritten !== command.length) {
      throw new TpmError('transport', `write to ${path}: expected ${command.length} bytes taken, got ${bytesWritten}`);
    }
    const buffer = new Uint8Array(MAX_RESPONSE);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    return buffer.slice(0, bytesRead);
  } catch (cause) {
    if (cause instanceof TpmError) throw cause;
    throw new TpmError('transport', `exchange with ${path}: ${messageOf(cause)}`, { cause });
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
