/** Bounded reading: a cursor over bytes that never looks past its end. */
import { WireError } from './error.js';

/** What is taken where there is nothing to take; it holds nothing that could be changed. */
export const NOTHING: Uint8Array = new Uint8Array(0);

/** A cursor over untrusted bytes. Whoever sent them controls every length that is read from them. */
export class Reader {
  /** What is read, never a subclass of `Uint8Array`. */
  readonly bytes: Uint8Array;
  /** The memory behind `bytes`, for a reader that hands out views of it. */
  readonly memory: ArrayBufferLike | undefined;
  // A reader is made for every message: names with # and private methods would more than double the time that takes.
  /** Bytes consumed so far. */
  private at: number;
  /** Where the innermost bounded region ends. */
  private end: number;

  /** Reads `bytes` from their first to their last. With `shared`, byte strings that are taken may be views of `bytes`. */
  constructor(bytes: Uint8Array, options?: { readonly shared?: boolean }) {
    // The slice() of a Buffer copies nothing, and nobody wants to find Buffers in values.
    const isPlain = bytes.constructor === Uint8Array;
    this.bytes = isPlain ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // Engines keep the bytes of small arrays inside the object; asking for `buffer` moves them out, which costs more than copies.
    this.memory = options?.shared === true && bytes.byteLength > 64 ? bytes.buffer : undefined;
    this.at = 0;
    this.end = bytes.byteLength;
  }

  /** Bytes consumed so far. */
  get offset(): number {
    return this.at;
  }

  /** Bytes left before the end of the innermost bounded region. */
  get remaining(): number {
    return this.end - this.at;
  }

  /** Throws `truncated` unless `length` more bytes are there. */
  need(length: number, subject: string): void {
    if (length > this.end - this.at) {
      throw new WireError(
        'truncated',
        `decode ${subject}`,
        `expected ${length} more ${length === 1 ? 'byte' : 'bytes'}, got ${this.remaining}`,
        this.at,
      );
    }
  }

  /** Takes `length` bytes: a copy, so that a later change of the input does not change the value, unless the reader is shared. */
  take(length: number, subject: string): Uint8Array {
    this.need(length, subject);
    const start = this.at;
    this.at += length;
    // No array takes longer to make than one of no length.
    if (length === 0) return NOTHING;
    const memory = this.memory;
    if (memory === undefined) return this.bytes.slice(start, this.at);
    return new Uint8Array(memory, this.bytes.byteOffset + start, length);
  }

  /** Goes to `offset` with the region's end at `end`; for compiled codecs, which have checked both. */
  move(offset: number, end: number): void {
    this.at = offset;
    this.end = end;
  }

  // Integers are put together from octets: a DataView for each reader costs more than all the integers of a usual message.

  /** Takes an unsigned 8-bit integer. */
  u8(subject: string): number {
    this.need(1, subject);
    return this.bytes[this.at++] as number; // need() has checked that it is there
  }

  /** Takes an unsigned 16-bit integer. */
  u16(subject: string, littleEndian = false): number {
    this.need(2, subject);
    const at = this.at;
    this.at = at + 2;
    return littleEndian ? pair(this.bytes, at + 1, at) : pair(this.bytes, at, at + 1);
  }

  /** Takes an unsigned 32-bit integer. */
  u32(subject: string, littleEndian = false): number {
    this.need(4, subject);
    const at = this.at;
    this.at = at + 4;
    const high = littleEndian ? pair(this.bytes, at + 3, at + 2) : pair(this.bytes, at, at + 1);
    const low = littleEndian ? pair(this.bytes, at + 1, at) : pair(this.bytes, at + 2, at + 3);
    return high * 0x10000 + low;
  }

  /** Takes an unsigned 64-bit integer. */
  u64(subject: string, littleEndian = false): bigint {
    this.need(8, subject);
    const first = this.u32(subject, littleEndian);
    const second = this.u32(subject, littleEndian);
    const [high, low] = littleEndian ? [second, first] : [first, second];
    return (BigInt(high) << 32n) | BigInt(low);
  }

  /** Runs `read` on the next `length` bytes alone; it must consume all of them. */
  bounded<T>(length: number, subject: string, read: () => T): T {
    const outer = this.enter(length, subject);
    try {
      const value = read();
      this.finish(subject);
      return value;
    } finally {
      this.end = outer;
    }
  }

  /** Bounds what follows to the next `length` bytes; gives the end of the region around it, for {@link Reader.leave}. */
  enter(length: number, subject: string): number {
    this.need(length, subject);
    const outer = this.end;
    this.end = this.at + length;
    return outer;
  }

  /** Throws `trailing` unless the region is used up, and goes on in the one around it, which ends at `outer`. */
  leave(outer: number, subject: string): void {
    this.finish(subject);
    this.end = outer;
  }

  /** Throws `trailing` unless the bounded region is used up. */
  finish(subject: string): void {
    if (this.remaining > 0) {
      throw new WireError(
        'trailing',
        `decode ${subject}`,
        `expected the end, got ${this.remaining} more ${this.remaining === 1 ? 'byte' : 'bytes'}`,
        this.at,
      );
    }
  }
}

function pair(bytes: Uint8Array, high: number, low: number): number {
  // The callers have checked that both are there.
  return ((bytes[high] as number) << 8) | (bytes[low] as number);
}
