/**
 * The audit log in a directory: `entries.jsonl` holds the entries, one a line, `checkpoint` the newest signed tree head.
 *
 * An append is one write at the end and a flush to the disk. What a crash left of an append that nobody was told about (a line
 * without its end, or blocks that were never written) is moved to `torn-TIME` when the log is opened, and an entry `mend` says so.
 */
import { type FileHandle, mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile, syncDirectory } from '@casemate/files';
import { type AuditSource, type AuditStore, encodeAuditEntry, parseAuditEntry } from './audit-log.js';
import { malformed, PkiError } from './error.js';
import { isCode, takeLock } from './store-lock.js';

const ENTRIES = 'entries.jsonl';
const CHECKPOINT = 'checkpoint';
const LINE_FEED = 0x0a;
/** An entry has at most 65,536 bytes. */
const MAX_LINE = 65_537;

/**
 * Opens the log in `directory` for appending, under a lock, and mends its end; the directory is made where it is missing.
 * Throws {@link PkiError}: `locked` while another process has it open, `malformed` where an entry before the last is damaged.
 */
export async function openAuditFile(directory: string): Promise<AuditStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const lock = await takeLock(join(directory, 'lock'));
  try {
    const file = await openEntries(directory);
    try {
      return fileStore(directory, lock, file, await mend(directory, file));
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    await lock[Symbol.asyncDispose]();
    throw error;
  }
}

/** The log in `directory` for reading, while it may be open elsewhere; the unfinished end of a file is left out. */
export function readAuditFile(directory: string): AuditSource {
  return {
    async *read(from) {
      await using file = await openToRead(directory);
      if (file === undefined) return;
      let index = 0;
      for await (const { line } of lines(file)) if (index++ >= from) yield line;
    },
    readCheckpoint: () => readText(join(directory, CHECKPOINT)),
  };
}

async function openToRead(directory: string): Promise<FileHandle | undefined> {
  try {
    return await open(join(directory, ENTRIES), 'r');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** The file, made durably where it is missing. */
async function openEntries(directory: string): Promise<FileHandle> {
  const path = join(directory, ENTRIES);
  try {
    return await open(path, 'r+');
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
  const file = await open(path, 'wx+', 0o600);
  await syncDirectory(directory);
  return file;
}

/** What is known of the end of the file. */
interface End {
  /** How many entries there are. */
  count: number;
  /** The byte behind the last of them. */
  offset: number;
}

/** Finds the end of the last whole entry and cuts off what follows it. */
async function mend(directory: string, file: FileHandle): Promise<End> {
  const end: End = { count: 0, offset: 0 };
  let damaged: PkiError | undefined;
  for await (const { line, next } of lines(file)) {
    const problem = entryProblem(line);
    if (problem !== undefined) damaged ??= problem;
    else if (damaged !== undefined) {
      throw malformed('audit log', `expected whole entries, got a damaged one at place ${end.count}`, damaged);
    } else {
      end.count += 1;
      end.offset = next;
    }
  }
  const { size } = await file.stat();
  if (size > end.offset) await cutOff(directory, file, end, size);
  return end;
}

function entryProblem(line: Uint8Array): PkiError | undefined {
  try {
    parseAuditEntry(line);
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

/** Keeps the torn end under another name, so that nothing is ever destroyed. */
async function cutOff(directory: string, file: FileHandle, end: End, size: number): Promise<void> {
  const torn = new Uint8Array(size - end.offset);
  await file.read(torn, 0, torn.length, end.offset);
  const now = new Date();
  const name = `torn-${now.toISOString().replace(/[:.]/g, '')}`;
  await replaceFile(join(directory, name), torn, { mode: 0o600 });
  await file.truncate(end.offset);
  const entry = encodeAuditEntry({ event: 'mend', dropped: torn.length, kept: name }, now);
  await writeEntries(file, end, [entry]);
}

function fileStore(directory: string, lock: AsyncDisposable, file: FileHandle, end: End): AuditStore {
  const source = readAuditFile(directory);
  return {
    ...source,
    async *read(from) {
      if (from < end.count) yield* source.read(from);
    },
    async append(index, entries) {
      if (index !== end.count) {
        throw new PkiError('exists', `append to audit log: expected place ${end.count}, got ${index}`);
      }
      await writeEntries(file, end, entries);
    },
    writeCheckpoint: (text) => writeCheckpoint(directory, text),
    async close() {
      await file.close();
      await lock[Symbol.asyncDispose]();
    },
  };
}

async function writeEntries(file: FileHandle, end: End, entries: readonly Uint8Array[]): Promise<void> {
  const bytes = Buffer.concat(entries.flatMap((entry) => [entry, Buffer.of(LINE_FEED)]));
  try {
    await writeAll(file, bytes, end.offset);
    await file.datasync();
  } catch (error) {
    // What was written of it would otherwise stand before the next append.
    await file.truncate(end.offset);
    throw error;
  }
  end.count += entries.length;
  end.offset += bytes.length;
}

/** A disk that is nearly full takes a part without an error, and refuses only the next. */
async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
  }
}

async function writeCheckpoint(directory: string, text: string): Promise<void> {
  await replaceFile(join(directory, CHECKPOINT), text, { mode: 0o644 });
}

/** Every line that has its end, with the offset behind it. */
async function* lines(file: FileHandle): AsyncGenerator<{ readonly line: Uint8Array; readonly next: number }> {
  const block = Buffer.alloc(1 << 20);
  let rest: Uint8Array = new Uint8Array();
  for (let offset = 0; ; ) {
    const { bytesRead } = await file.read(block, 0, block.length, offset);
    if (bytesRead === 0) return;
    const start = offset - rest.length;
    const bytes = Buffer.concat([rest, block.subarray(0, bytesRead)]);
    offset += bytesRead;
    let from = 0;
    for (let stop = bytes.indexOf(LINE_FEED); stop >= 0; stop = bytes.indexOf(LINE_FEED, from)) {
      yield { line: new Uint8Array(bytes.subarray(from, stop)), next: start + stop + 1 };
      from = stop + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > MAX_LINE && rest.some((byte) => byte !== 0)) {
      throw malformed('audit log', `expected lines of at most ${MAX_LINE} bytes, got a longer one`);
    }
  }
}
