/** Bounded reading: a cursor over bytes that never looks past its end. */
import { WireError } from './error.js';

/** A cursor over untrusted bytes. Whoever sent them controls every length that is read from them. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #offset: number;
  #end: number;

  /** Reads `bytes` from their first to their last; nothing is copied. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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

  /** Takes `length` bytes as a copy, so that a later change of the input does not change the value. */
  take(length: number, subject: string): Uint8Array {
    this.need(length, subject);
    const start = this.#offset;
    this.#offset += length;
    // Not bytes.slice: a Buffer's slice is a view of the same memory.
    return new Uint8Array(this.bytes.subarray(start, start + length));
  }

  /** Takes an unsigned 8-bit integer. */
  u8(subject: string): number {
    this.need(1, subject);
    return this.#view.getUint8(this.#offset++);
  }

  /** Takes an unsigned 16-bit integer. */
  u16(subject: string, littleEndian = false): number {
    this.need(2, subject);
    this.#offset += 2;
    return this.#view.getUint16(this.#offset - 2, littleEndian);
  }

  /** Takes an unsigned 32-bit integer. */
  u32(subject: string, littleEndian = false): number {
    this.need(4, subject);
    this.#offset += 4;
    return this.#view.getUint32(this.#offset - 4, littleEndian);
  }

  /** Takes an unsigned 64-bit integer. */
  u64(subject: string, littleEndian = false): bigint {
    this.need(8, subject);
    this.#offset += 8;
    return this.#view.getBigUint64(this.#offset - 8, littleEndian);
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
}
