/** Memory that the application shares with PALs for a call: an arena that application, isolate and monitors have open. */

import { randomBytes } from 'node:crypto';
import { closeSync, constants, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { TrustvisorError } from './error.js';
import { MAX_ARENA, MAX_CARRIED, MAX_LENT, PAGE } from './protocol.js';

/** Memory of the application that it can lend to a PAL for the time of a call. */
export interface SharedMemory {
  /** Bytes. */
  readonly size: number;
  /**
   * Writes bytes. Throws {@link TrustvisorError} with code `input` where they do not fit, are lent, or the memory was released, and
   * `memory` where the system has no room for them.
   */
  write(offset: number, bytes: Uint8Array): void;
  /** A copy of the bytes. Throws like `write`; what is lent for reading alone can be read. */
  read(offset: number, length: number): Uint8Array;
  /** Overwrites the memory with zeros and gives it up. Throws {@link TrustvisorError} with code `input` while it is lent. */
  release(): void;
}

/** A part of shared memory that a PAL may use during one call. */
export interface Lending {
  /** Where it lies; of the same Trustvisor. */
  readonly memory: SharedMemory;
  /** Its first byte. */
  readonly offset: number;
  /** Bytes, at least one. */
  readonly length: number;
  /** What the PAL may do. With `write` it finds zeros or what was there before, and all of it counts as written. */
  readonly access: 'read' | 'write' | 'read-write';
}

/** A lent range as it stands in the message: in the arena, or with its bytes. */
export interface LentRange {
  readonly access: 1 | 2 | 3;
  readonly at: number;
  readonly length: number;
  readonly content: readonly Uint8Array[];
}

/** What is lent to one call. */
export interface Loan {
  /** For the message. */
  readonly ranges: readonly LentRange[];
  /** Takes the memory back; `written` are the bytes of the writable ranges, where they travel in messages. */
  end(written?: readonly Uint8Array[]): void;
}

const ACCESS = { read: 1, write: 2, 'read-write': 3 } as const;
const DIRECTORY = '/dev/shm';

/** Where the bytes lie. */
interface Backing {
  readonly size: number;
  /** Makes room to `size`. */
  grow(size: number): void;
  read(at: number, into: Uint8Array): void;
  write(at: number, bytes: Uint8Array): void;
}

/** An unlinked file on tmpfs; undefined where there is no tmpfs. Whoever opened it closes it. */
export function openArenaFile(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const path = `${DIRECTORY}/casemate-${randomBytes(16).toString('hex')}`;
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    unlinkSync(path);
    return fd;
  } catch {
    return undefined; // then the bytes travel in messages
  }
}

/** All shared memory of one Trustvisor. */
export class SharedPool {
  readonly #file: number | undefined;
  readonly #backing: Backing;
  readonly #blocks = new Map<SharedMemory, Block>();
  /** Free ranges below the high-water mark, by address. */
  #free: readonly Range[] = [];
  #top = 0;
  #isOpen = true;

  /** `file` is what {@link openArenaFile} gave, and the pool's from now on. */
  constructor(file: number | undefined) {
    this.#file = file;
    this.#backing = file === undefined ? new HeapBacking() : new FileBacking(file);
  }

  /** Whether the isolate sees the same memory; otherwise the bytes go along with each call. */
  get isMapped(): boolean {
    return this.#file !== undefined;
  }

  /** A new, zeroed block on pages of its own. */
  allocate(size: number): SharedMemory {
    this.#assertOpen();
    if (!Number.isInteger(size) || size < 1 || size > MAX_ARENA) {
      throw input(`allocate shared memory: expected a size from 1 to ${MAX_ARENA}, got ${size}`);
    }
    const range = this.#take(Math.ceil(size / PAGE) * PAGE);
    const block: Block = { at: range.at, size, pages: range.length, loans: new Set() };
    const memory: SharedMemory = {
      size,
      write: (offset, bytes) => this.#write(this.#blockOf(memory, 'write'), offset, bytes),
      read: (offset, length) => this.#read(this.#blockOf(memory, 'read'), offset, length),
      release: () => this.#release(memory),
    };
    this.#blocks.set(memory, block);
    return memory;
  }

  /** Lends ranges to one call. All of them are checked before one is lent. */
  lend(lendings: readonly Lending[]): Loan {
    this.#assertOpen();
    if (lendings.length > MAX_LENT) throw input(`lend: expected at most ${MAX_LENT} ranges, got ${lendings.length}`);
    const total = lendings.reduce((sum, { length }) => sum + length, 0);
    if (!this.isMapped && total > MAX_CARRIED) {
      throw input(`lend: expected at most ${MAX_CARRIED} bytes to an isolate elsewhere, got ${total}`);
    }
    const loans: BlockLoan[] = [];
    try {
      for (const lending of lendings) loans.push(this.#lendOne(lending));
    } catch (error) {
      for (const loan of loans) loan.block.loans.delete(loan);
      throw error;
    }
    return { ranges: loans.map((loan) => this.#rangeOf(loan)), end: (written) => this.#takeBack(loans, written) };
  }

  /** Forgets all of it. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#blocks.clear();
    if (this.#file !== undefined) closeSync(this.#file);
  }

  #lendOne({ memory, offset, length, access }: Lending): BlockLoan {
    const block = this.#blockOf(memory, 'lend');
    const bits = Object.hasOwn(ACCESS, access) ? ACCESS[access] : undefined;
    if (bits === undefined) throw input(`lend: expected access read, write or read-write, got ${access}`);
    assertWithin(block, offset, length, 1, 'lend');
    const loan = { block, offset, length, access: bits };
    const other = [...block.loans].find((each) => overlaps(each, loan));
    if (other) {
      throw input(`lend: the range ${describe(loan)} overlaps the range ${describe(other)} that is lent already`);
    }
    block.loans.add(loan);
    return loan;
  }

  #rangeOf({ block, offset, length, access }: BlockLoan): LentRange {
    const at = block.at + offset;
    return { access, at, length, content: this.isMapped ? [] : [this.#copy(at, length)] };
  }

  #takeBack(loans: readonly BlockLoan[], written: readonly Uint8Array[] = []): void {
    if (!this.#isOpen) return;
    const writable = loans.filter(({ access }) => access !== ACCESS.read);
    writable.forEach(({ block, offset, length }, i) => {
      const bytes = written[i];
      if (!this.isMapped && bytes?.length === length) this.#backing.write(block.at + offset, bytes);
    });
    for (const loan of loans) loan.block.loans.delete(loan);
  }

  #write(block: Block, offset: number, bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) throw input(`write shared memory: expected bytes, got ${typeof bytes}`);
    assertWithin(block, offset, bytes.length, 0, 'write');
    assertNotLent(block, { offset, length: bytes.length }, () => true, 'write');
    this.#backing.write(block.at + offset, bytes);
  }

  #read(block: Block, offset: number, length: number): Uint8Array {
    assertWithin(block, offset, length, 0, 'read');
    assertNotLent(block, { offset, length }, ({ access }) => access !== ACCESS.read, 'read');
    return this.#copy(block.at + offset, length);
  }

  #copy(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#backing.read(at, bytes);
    return bytes;
  }

  #release(memory: SharedMemory): void {
    const block = this.#blocks.get(memory);
    if (block === undefined) return;
    if (block.loans.size > 0) throw input('release shared memory: it is lent to a call');
    this.#backing.write(block.at, new Uint8Array(block.pages));
    this.#blocks.delete(memory);
    this.#free = merged([...this.#free, { at: block.at, length: block.pages }]);
  }

  #take(length: number): Range {
    const hole = this.#free.find((range) => range.length >= length);
    if (hole) {
      const rest = { at: hole.at + length, length: hole.length - length };
      this.#free = this.#free.flatMap((range) => (range === hole ? (rest.length > 0 ? [rest] : []) : [range]));
      return { at: hole.at, length };
    }
    if (length > MAX_ARENA - this.#top) {
      throw new TrustvisorError('memory', `allocate shared memory: expected at most ${MAX_ARENA} bytes in all`);
    }
    this.#backing.grow(this.#top + length);
    this.#top += length;
    return { at: this.#top - length, length };
  }

  #blockOf(memory: SharedMemory, verb: string): Block {
    this.#assertOpen();
    const block = this.#blocks.get(memory);
    if (block === undefined) {
      throw input(`${verb} shared memory: expected memory of this Trustvisor that was not released`);
    }
    return block;
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw new TrustvisorError('closed', 'use shared memory: the Trustvisor is closed');
  }
}

interface Range {
  readonly at: number;
  readonly length: number;
}

interface Block {
  readonly at: number;
  readonly size: number;
  readonly pages: number;
  readonly loans: Set<BlockLoan>;
}

interface BlockLoan {
  readonly block: Block;
  readonly offset: number;
  readonly length: number;
  readonly access: 1 | 2 | 3;
}

/** Two that only read may see the same bytes. */
function overlaps(a: BlockLoan, b: BlockLoan): boolean {
  if (a.access === ACCESS.read && b.access === ACCESS.read) return false;
  return touches(a, b);
}

function touches(a: Pick<BlockLoan, 'offset' | 'length'>, b: Pick<BlockLoan, 'offset' | 'length'>): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

function assertWithin({ size }: Block, offset: number, length: number, least: number, verb: string): void {
  const isRange = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= least;
  if (isRange && offset <= size && length <= size - offset) return;
  const expected = least > 0 ? 'a range of at least one byte' : 'a range';
  throw input(`${verb} shared memory: expected ${expected} within ${size} bytes, got ${length} at ${offset}`);
}

function assertNotLent(
  block: Block,
  range: Pick<BlockLoan, 'offset' | 'length'>,
  counts: (loan: BlockLoan) => boolean,
  verb: string,
): void {
  const loan = [...block.loans].find((each) => counts(each) && touches(each, range));
  if (loan) throw input(`${verb} shared memory: the range ${describe(loan)} is lent to a call`);
}

function describe({ offset, length }: Pick<BlockLoan, 'offset' | 'length'>): string {
  return `${offset} to ${offset + length}`;
}

function merged(ranges: readonly Range[]): readonly Range[] {
  const done: Range[] = [];
  for (const range of [...ranges].sort((a, b) => a.at - b.at)) {
    const last = done.at(-1);
    if (last === undefined || last.at + last.length !== range.at) done.push(range);
    else done.splice(-1, 1, { at: last.at, length: last.length + range.length });
  }
  return done;
}

function input(message: string): TrustvisorError {
  return new TrustvisorError('input', message);
}

class FileBacking implements Backing {
  readonly #fd: number;
  size = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  grow(size: number): void {
    orMemory('allocate', () => ftruncateSync(this.#fd, size));
    this.size = size;
  }

  read(at: number, into: Uint8Array): void {
    orMemory('read', () => readFully(this.#fd, at, into));
  }

  write(at: number, bytes: Uint8Array): void {
    orMemory('write', () => writeFully(this.#fd, at, bytes));
  }
}

/** A tmpfs may be full, and in a container it is soon. */
function orMemory(verb: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof TrustvisorError) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    throw new TrustvisorError('memory', `${verb} shared memory: ${problem}`, { cause: error });
  }
}

class HeapBacking implements Backing {
  #bytes = new Uint8Array(0);

  get size(): number {
    return this.#bytes.length;
  }

  grow(size: number): void {
    const grown = new Uint8Array(Math.max(size, Math.min(2 * this.#bytes.length, MAX_ARENA)));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }

  read(at: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(at, at + into.length));
  }

  write(at: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, at);
  }
}

/** Reads exactly as many bytes as fit. Throws {@link TrustvisorError} with code `memory` where the file is shorter. */
export function readFully(fd: number, at: number, into: Uint8Array): void {
  for (let done = 0; done < into.length; ) {
    const got = readSync(fd, into, done, into.length - done, at + done);
    if (got === 0) throw new TrustvisorError('memory', 'read shared memory: there is less of it than was lent');
    done += got;
  }
}

/** Writes all bytes. */
export function writeFully(fd: number, at: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}
