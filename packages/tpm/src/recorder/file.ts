/** Recordings as files. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { TpmError } from '../response-code.js';
import { parseCapture } from './pcap.js';
import type { RecordingSink } from './record.js';

/**
 * Opens a file to record to, readable by its owner alone, as it will hold secrets. A recording that is there already goes on:
 * where it breaks off in a block, because whoever wrote it was killed, the broken block is cut off first.
 * What was written survives the death of the process; it is not forced to the disk.
 * Throws `TpmError`: `usage` where the file is something else than a recording, `transport` where it cannot be opened.
 */
export async function openRecordingFile(path: string): Promise<RecordingSink> {
  const file = await opened(path);
  try {
    let end = await wholeLength(file, path);
    await keepPrivate(file, path);
    await file.truncate(end);
    return {
      async write(piece) {
        for (let done = 0; done < piece.length; ) {
          const { bytesWritten } = await file.write(piece, done, piece.length - done, end);
          done += bytesWritten;
          end += bytesWritten;
        }
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function opened(path: string): Promise<FileHandle> {
  try {
    return await open(path, CREATE_OR_KEEP, 0o600);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new TpmError('transport', `open recording ${path}: ${problem}`, { cause });
  }
}

/** One that is there already may have been readable by others. */
async function keepPrivate(file: FileHandle, path: string): Promise<void> {
  const { mode } = await file.stat();
  if ((mode & 0o077) === 0) return;
  try {
    await file.chmod(0o600);
  } catch (cause) {
    throw new TpmError('transport', `open recording ${path}: others can read it, and it is not ours to change`, {
      cause,
    });
  }
}

async function wholeLength(file: FileHandle, path: string): Promise<number> {
  const { size } = await file.stat();
  if (size === 0) return 0;
  if (size > MAX_SIZE)
    throw new TpmError('usage', `open recording ${path}: it is longer than ${MAX_SIZE} bytes; begin another`);
  const bytes = new Uint8Array(await file.readFile());
  const isPcapng =
    bytes.length < 4 ? isStartOf(bytes) : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) === 0x0a0d0d0a;
  if (!isPcapng) throw new TpmError('usage', `open recording ${path}: expected a pcapng file, got another one`);
  return bytes.length < 4 ? 0 : parseCapture(bytes).whole;
}

function isStartOf(bytes: Uint8Array): boolean {
  return bytes.every((byte, i) => byte === [0x0a, 0x0d, 0x0d, 0x0a][i]);
}

/** O_RDWR | O_CREAT: `a+` would write at the end only, and `w+` would forget what is there. */
const CREATE_OR_KEEP = constants.O_RDWR | constants.O_CREAT;
const MAX_SIZE = 0x20000000;
