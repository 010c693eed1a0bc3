/** Reading tar archives as a stream: ustar, pax and GNU long names; bounded, whoever made the archive. */
import { WireError } from '@casemate/wire';
import { ContainerError } from './error.js';
import { BLOCK, decodeHeader, prefixOf, TAR_TYPE, type TarHeader, utf8 } from './tar-header.js';
import { MAX_PAX, type PaxRecords, parsePax } from './tar-pax.js';

/** What an entry is; everything that is none of these is `other`, with its tar type. */
type EntryType = 'file' | 'directory' | 'symlink' | 'hard-link' | 'fifo' | 'device' | 'other';

/** One entry of an archive, as the archive says it; nothing is checked but the form. */
export interface ArchiveEntry {
  /** The path as it stands in the archive. */
  readonly path: string;
  /** What it is. */
  readonly type: EntryType;
  /** Permissions and the set-id and sticky bits. */
  readonly mode: number;
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Seconds since 1970; fractions are cut off. */
  readonly mtime: number;
  /** Bytes of data; 0 unless it is a file. */
  readonly size: number;
  /** Where a link leads; empty for anything else. */
  readonly linkPath: string;
  /** Where its data starts in the archive, in bytes. */
  readonly offset: number;
}

/** Takes an entry; `data` gives its bytes and may be left alone. */
export type EntryVisitor = (entry: ArchiveEntry, data: AsyncIterable<Uint8Array>) => Promise<void>;

/** The most entries that an archive may have. */
const MAX_ENTRIES = 1_000_000;

/**
 * Reads an archive to its end and calls `visit` for each entry in turn. The whole input is consumed, also what follows the
 * end marker. Throws {@link ContainerError} `archive`, and what the input and `visit` throw.
 */
export async function readArchive(input: AsyncIterable<Uint8Array>, visit: EntryVisitor): Promise<void> {
  const source = new ByteSource(input);
  try {
    await readEntries(source, visit);
    await source.drain();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new ContainerError('archive', `read archive: ${error.message} before byte ${source.offset}`, {
      cause: error,
    });
  } finally {
    await source.close();
  }
}

async function readEntries(source: ByteSource, visit: EntryVisitor): Promise<void> {
  let global: PaxRecords = new Map();
  let pending = NOTHING;
  for (let count = 0; count < MAX_ENTRIES; ) {
    const block = await source.take(BLOCK);
    if (block.length === 0 || isZero(block)) return endOf(pending);
    const header = decodeHeader(block);
    if (header.type === TAR_TYPE.pax) pending = { ...pending, pax: parsePax(await extension(source, header)) };
    else if (header.type === TAR_TYPE.paxGlobal)
      global = new Map([...global, ...onlyUsed(parsePax(await extension(source, header)))]);
    else if (header.type === TAR_TYPE.gnuLongName)
      pending = { ...pending, path: longName(await extension(source, header)) };
    else if (header.type === TAR_TYPE.gnuLongLink)
      pending = { ...pending, link: longName(await extension(source, header)) };
    else {
      await readEntry(source, describe(header, { ...pending, global }, source.offset), visit);
      pending = NOTHING;
      count++;
    }
  }
  throw new ContainerError('archive', `read archive: expected at most ${MAX_ENTRIES} entries, got more`);
}

/** What earlier headers say of the next entry. */
interface Pending {
  readonly pax: PaxRecords;
  readonly path: string | undefined;
  readonly link: string | undefined;
}

const NOTHING: Pending = { pax: new Map(), path: undefined, link: undefined };

function endOf(pending: Pending): void {
  if (pending === NOTHING) return;
  throw new ContainerError('archive', 'read archive: expected an entry after its extended header, got the end');
}

async function extension(source: ByteSource, header: TarHeader): Promise<Uint8Array> {
  if (header.size > MAX_PAX) {
    throw new ContainerError(
      'archive',
      `read archive: expected a header of at most ${MAX_PAX} bytes, got ${header.size}`,
    );
  }
  const padded = await source.take(Math.ceil(header.size / BLOCK) * BLOCK);
  if (padded.length < header.size) throw truncated(source.offset);
  return padded.subarray(0, header.size);
}

function longName(data: Uint8Array): string {
  const end = data.indexOf(0);
  return utf8('GNU long name', end < 0 ? data : data.subarray(0, end), 0);
}

async function readEntry(source: ByteSource, entry: ArchiveEntry, visit: EntryVisitor): Promise<void> {
  const data = source.region(entry.size);
  await visit(entry, data);
  await data.finish();
  await source.skip((BLOCK - (entry.size % BLOCK)) % BLOCK);
}

/** Before each entry there may be any number of global headers with any records; what is kept of them all must not grow with that. */
function onlyUsed(records: PaxRecords): PaxRecords {
  return new Map([...records].filter(([key]) => USED.has(key)));
}

const USED: ReadonlySet<string> = new Set<PaxKey>(['path', 'linkpath', 'size', 'uid', 'gid', 'mtime']);

type PaxKey = 'path' | 'linkpath' | 'size' | 'uid' | 'gid' | 'mtime';

function describe(header: TarHeader, from: Pending & { readonly global: PaxRecords }, offset: number): ArchiveEntry {
  const record = (key: PaxKey) => from.pax.get(key) ?? from.global.get(key);
  const number = (key: PaxKey, fallback: number) => numberIn(key, record(key)) ?? fallback;
  const prefix = prefixOf(header);
  const type = typeOf(header);
  return {
    path: record('path') ?? from.path ?? (prefix ? `${prefix}/${header.name}` : header.name),
    type,
    mode: header.mode & 0o7777,
    uid: number('uid', header.uid),
    gid: number('gid', header.gid),
    mtime: number('mtime', header.mtime),
    size: type === 'file' || type === 'other' ? number('size', header.size) : 0,
    linkPath: type === 'symlink' || type === 'hard-link' ? (record('linkpath') ?? from.link ?? header.linkName) : '',
    offset,
  };
}

function typeOf(header: TarHeader): EntryType {
  // Before POSIX, a directory was a file whose name ends in a slash.
  if (header.type === 0) return header.name.endsWith('/') ? 'directory' : 'file';
  return TYPES.get(header.type) ?? 'other';
}

const TYPES: ReadonlyMap<number, EntryType> = new Map([
  [TAR_TYPE.file, 'file'],
  [TAR_TYPE.contiguous, 'file'],
  [TAR_TYPE.hardLink, 'hard-link'],
  [TAR_TYPE.symlink, 'symlink'],
  [TAR_TYPE.directory, 'directory'],
  [TAR_TYPE.fifo, 'fifo'],
  [TAR_TYPE.characterDevice, 'device'],
  [TAR_TYPE.blockDevice, 'device'],
]);

function numberIn(key: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const whole = /^(\d{1,16})(?:\.\d*)?$/.exec(value)?.[1];
  if (whole !== undefined && Number.isSafeInteger(Number(whole))) return Number(whole);
  throw new ContainerError(
    'archive',
    `read archive: expected a number as ${key}, got ${JSON.stringify(value.slice(0, 40))}`,
  );
}

function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

function truncated(offset: number): ContainerError {
  return new ContainerError('archive', `read archive: expected more bytes, got the end at byte ${offset}`);
}

/** Bytes of an entry; reads no further than its end. */
interface Region extends AsyncIterable<Uint8Array> {
  finish(): Promise<void>;
}

/** A stream of chunks from which exact numbers of bytes are taken. */
class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #offset = 0;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#chunks = input[Symbol.asyncIterator]();
  }

  get offset(): number {
    return this.#offset;
  }

  /** Exactly `length` bytes, or none at the end of the input. */
  async take(length: number): Promise<Uint8Array> {
    const whole = new Uint8Array(length);
    let filled = 0;
    while (filled < length && (await this.#more())) {
      const part = this.#cut(length - filled);
      whole.set(part, filled);
      filled += part.length;
    }
    if (filled === length) return whole;
    if (filled === 0) return whole.subarray(0, 0);
    throw truncated(this.#offset);
  }

  async skip(length: number): Promise<void> {
    await this.region(length).finish();
  }

  /** The next `length` bytes as they come. */
  region(length: number): Region {
    const next = async (): Promise<Uint8Array | undefined> => {
      if (length === 0) return undefined;
      if (!(await this.#more())) throw truncated(this.#offset);
      const part = this.#cut(length);
      length -= part.length;
      return part;
    };
    return {
      async *[Symbol.asyncIterator]() {
        for (let part = await next(); part; part = await next()) yield part;
      },
      finish: async () => {
        while (await next());
      },
    };
  }

  /** Consumes what is left, so that a digest of the input covers every byte. */
  async drain(): Promise<void> {
    while (await this.#more()) this.#cut(this.#chunk.length);
  }

  /** Lets the input go. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #more(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#chunk = value;
    }
    return true;
  }

  #cut(length: number): Uint8Array {
    const part = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(part.length);
    this.#offset += part.length;
    return part;
  }
}
