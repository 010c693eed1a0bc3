/** Bounded reading: a cursor over bytes that never looks past its end. */
import { WireError } from './error.js';

/** A cursor over untrusted bytes. Whoever sent them controls every length that is read from them. */
export class Reader {
  /** What is read, never a subclass of `Uint8Array`. */
  readonly bytes: Uint8Array;
  /** The memory behind `bytes`, for a reader that hands out views of it. */
  readonly memory: ArrayBufferLike | undefined;
  #offset: number;
  #end: number;

  /** Reads `bytes` from their first to their last. With `shared`, byte strings that are taken may be views of `bytes`. */
  constructor(bytes: Uint8Array, options?: { readonly shared?: boolean }) {
    // The slice() of a Buffer copies nothing, and nobody wants to find Buffers in values.
    const isPlain = bytes.constructor === Uint8Array;
    this.bytes = isPlain ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // Engines keep the bytes of small arrays inside the object; asking for `buffer` moves them out, which costs more than copies.
    this.memory = options?.shared === true && bytes.byteLength > 64 ? bytes.buffer : undefined;
    this.#offset = 0;
    this.#end = bytes.byteLength;
  }

  /** Bytes consumed so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes left before the end of the innermost bounded region. */
  get remaining(): number {
    return this.#end - this.#offset;
  }

  /** Throws `truncated` unless `length` more bytes are there. */
  need(length: number, subject: string): void {
    if (length > this.#end - this.#offset) {
      throw new WireError(
        'truncated',
        `decode ${subject}`,
        `expected ${length} more ${length === 1 ? 'byte' : 'bytes'}, got ${this.remaining}`,
        this.#offset,
      );
    }
  }

  /** Takes `length` bytes: a copy, so that a later change of the input does not change the value, unless the reader is shared. */
  take(length: number, subject: string): Uint8Array {
    this.need(length, subject);
    const start = this.#offset;
    this.#offset += length;
    const memory = this.memory;
    return memory === undefined
      ? this.bytes.slice(start, this.#offset)
      : new Uint8Array(memory, this.bytes.byteOffset + start, length);
  }

  /** Goes to `offset` with the region's end at `end`; for compiled codecs, which have checked both. */
  move(offset: number, end: number): void {
    this.#offset = offset;
    this.#end = end;
  }

  // Integers are put together from octets: a DataView for each reader costs more than all the integers of a usual message.

  /** Takes an unsigned 8-bit integer. */
  u8(subject: string): number {
    this.need(1, subject);
    return this.bytes[this.#offset++] as number; // need() has checked that it is there
  }

  /** Takes an unsigned 16-bit integer. */
  u16(subject: string, littleEndian = false): number {
    this.need(2, subject);
    const at = this.#offset;
    this.#offset = at + 2;
    return littleEndian ? this.#pair(at + 1, at) : this.#pair(at, at + 1);
  }

  /** Takes an unsigned 32-bit integer. */
  u32(subject: string, littleEndian = false): number {
    this.need(4, subject);
    const at = this.#offset;
    this.#offset = at + 4;
    const high = littleEndian ? this.#pair(at + 3, at + 2) : this.#pair(at, at + 1);
    const low = littleEndian ? this.#pair(at + 1, at) : this.#pair(at + 2, at + 3);
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
    this.need(length, subject);
    const outer = this.#end;
    this.#end = this.#offset + length;
    try {
      const value = read();
      this.finish(subject);
      return value;
    } finally {
      this.#end = outer;
    }
  }

  /** Throws `trailing` unless the bounded region is used up. */
  finish(subject: string): void {
    if (this.remaining > 0) {
      throw new WireError(
        'trailing',
        `decode ${subject}`,
        `expected the end, got ${this.remaining} more ${this.remaining === 1 ? 'byte' : 'bytes'}`,
        this.#offset,
      );
    }
  }

  #pair(high: number, low: number): number {
    // The callers have checked that both are there.
    return ((this.bytes[high] as number) << 8) | (this.bytes[low] as number);
  }
}
