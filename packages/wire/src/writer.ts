/** Writing into one growing buffer, with lengths patched in after the fact. */
import { WireError } from './error.js';

/** A larger buffer is given back to the system when a writer is cleared. */
const KEPT = 0x4000;

/** Collects encoded bytes. Grows by doubling; `finish` returns a copy of exactly what was written. */
export class Writer {
  #bytes: Uint8Array;
  #view: DataView;
  #start = 0;
  #offset = 0;

  /** `capacity` is the first allocation in bytes, not a limit. */
  constructor(capacity = 512) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written since the start or the last {@link cut}. */
  get offset(): number {
    return this.#offset - this.#start;
  }

  /** Where the next byte goes in {@link lend}; for compiled codecs. */
  get position(): number {
    return this.#offset;
  }

  /** The buffer itself, which the next write may replace; for compiled codecs. */
  lend(): Uint8Array {
    return this.#bytes;
  }

  /** Goes to `position`; what was written behind it is forgotten. For compiled codecs, which have written up to it. */
  move(position: number): void {
    this.#offset = position;
  }

  /** Appends an unsigned 8-bit integer. */
  u8(value: number, subject: string): void {
    if (typeof value !== 'number' || (value & 0xff) !== value) throw this.#refuseInteger(value, 0xff, subject);
    this.#grow(1);
    this.#bytes[this.#offset++] = value;
  }

  /** Appends an unsigned 16-bit integer. */
  u16(value: number, subject: string, littleEndian = false): void {
    if (typeof value !== 'number' || (value & 0xffff) !== value) throw this.#refuseInteger(value, 0xffff, subject);
    this.#grow(2);
    this.#view.setUint16(this.#offset, value, littleEndian);
    this.#offset += 2;
  }

  /** Appends an unsigned 32-bit integer. */
  u32(value: number, subject: string, littleEndian = false): void {
    if (typeof value !== 'number' || value >>> 0 !== value) throw this.#refuseInteger(value, 0xffffffff, subject);
    this.#grow(4);
    this.#view.setUint32(this.#offset, value, littleEndian);
    this.#offset += 4;
  }

  /** Appends an unsigned 64-bit integer. */
  u64(value: bigint, subject: string, littleEndian = false): void {
    if (typeof value !== 'bigint' || value < 0n || value > 0xffff_ffff_ffff_ffffn) {
      throw this.refuse(subject, `expected a bigint from 0 to 2^64-1, got ${describe(value)}`);
    }
    this.#grow(8);
    this.#view.setBigUint64(this.#offset, value, littleEndian);
    this.#offset += 8;
  }

  /** Appends `value` as it is. */
  put(value: Uint8Array, subject: string): void {
    if (!(value instanceof Uint8Array)) throw this.refuse(subject, `expected a Uint8Array, got ${describe(value)}`);
    this.#grow(value.length);
    this.#bytes.set(value, this.#offset);
    this.#offset += value.length;
  }

  /** Overwrites what stands at `offset` by running `write` there; used for lengths that are known only afterwards. */
  patch(offset: number, write: () => void): void {
    const end = this.#offset;
    this.#offset = this.#start + offset;
    write();
    this.#offset = end;
  }

  /** {@link Writer.patch} for an unsigned 32-bit integer, big-endian. */
  patchU32(offset: number, value: number): void {
    this.#view.setUint32(this.#start + offset, value);
  }

  /** The bytes written, as a copy of their own. */
  finish(): Uint8Array {
    return this.#bytes.slice(this.#start, this.#offset);
  }

  /**
   * The bytes written since the last cut, not copied; the writer goes on behind them and never touches them again. They share an
   * `ArrayBuffer` with other cuts, so do not transfer it, and mind `byteOffset`.
   */
  cut(): Uint8Array {
    const start = this.#start;
    const end = this.#offset;
    // Faster than subarray(), which asks for the species.
    const bytes = new Uint8Array(this.#view.buffer, start, end - start);
    this.#start = end;
    if (this.#bytes.length - end < this.#bytes.length / 8) this.#replace(this.#bytes.length);
    return bytes;
  }

  /** Forgets and wipes all that was written, so that the writer can be used again. */
  clear(): void {
    if (this.#bytes.length > KEPT) this.#replace(KEPT);
    else this.#bytes.fill(0, 0, this.#offset);
    this.#start = 0;
    this.#offset = 0;
  }

  /** The error for a value that cannot be encoded. */
  refuse(subject: string, problem: string): WireError {
    return new WireError('bad-input', `encode ${subject}`, problem, this.offset);
  }

  #refuseInteger(value: number, max: number, subject: string): WireError {
    return this.refuse(subject, `expected an integer from 0 to ${max}, got ${describe(value)}`);
  }

  #grow(by: number): void {
    const need = this.#offset - this.#start + by;
    if (this.#offset + by <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(this.#start, this.#offset));
    this.#use(grown, need - by);
  }

  #replace(capacity: number): void {
    this.#use(new Uint8Array(capacity), 0);
  }

  #use(bytes: Uint8Array, offset: number): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    this.#start = 0;
    this.#offset = offset;
  }
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  return typeof value === 'object' ? value.constructor.name : typeof value;
}
