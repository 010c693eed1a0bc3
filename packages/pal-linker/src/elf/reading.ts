/** Bounded reads from the tables of an object file, which have thousands of entries: no value is made for each. */
import { PalLinkerError } from '../error.js';

/** Bytes of an object file, read as little-endian numbers; a read outside of them is refused. */
export class ElfBytes {
  /** What is read. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #object: string;

  /** `object` names the file in errors. */
  constructor(bytes: Uint8Array, object: string) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#object = object;
  }

  /** An octet. */
  u8(offset: number): number {
    return this.#within(offset, 1).getUint8(offset);
  }

  /** 16 bits. */
  u16(offset: number): number {
    return this.#within(offset, 2).getUint16(offset, true);
  }

  /** 32 bits. */
  u32(offset: number): number {
    return this.#within(offset, 4).getUint32(offset, true);
  }

  /** 64 bits that must be below 2^53: sizes and offsets. */
  size(offset: number): number {
    const view = this.#within(offset, 8);
    const high = view.getUint32(offset + 4, true);
    if (high > 0x1f_ffff) throw this.refuse(`expected a number below 2^53, got one above`, offset);
    return high * 0x1_0000_0000 + view.getUint32(offset, true);
  }

  /** 64 bits with a sign, between -2^53 and 2^53: addends. */
  signed(offset: number): number {
    const view = this.#within(offset, 8);
    const value = view.getInt32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
    if (!Number.isSafeInteger(value)) throw this.refuse('expected an addend within 2^53, got one beyond', offset);
    return value;
  }

  /** A view of `length` bytes. */
  slice(offset: number, length: number): Uint8Array {
    this.#within(offset, length);
    return this.bytes.subarray(offset, offset + length);
  }

  /** An error at `offset`. */
  refuse(problem: string, offset: number): PalLinkerError {
    return new PalLinkerError('object', `read object: ${problem}`, { object: this.#object, offset });
  }

  #within(offset: number, length: number): DataView {
    if (offset >= 0 && offset + length <= this.bytes.length) return this.#view;
    throw this.refuse(`expected ${length} bytes within ${this.bytes.length}, got an end`, offset);
  }
}

/** The longest name: more than any compiler makes, and not so much that thousands of names in one another take all memory. */
const MAX_NAME = 65536;

/** A table of names that end in zero bytes. They are parts of one text, so that names in one another take no memory of their own. */
export class ElfNames {
  readonly #bytes: Uint8Array;
  readonly #refuse: (problem: string) => PalLinkerError;
  #text: string | undefined;

  /** `refuse` makes an error of what is wrong. */
  constructor(bytes: Uint8Array, refuse: (problem: string) => PalLinkerError) {
    this.#bytes = bytes;
    this.#refuse = refuse;
  }

  /** The name at `offset`. */
  at(offset: number): string {
    const { length } = this.#bytes;
    if (offset >= length) throw this.#refuse(`expected a name within ${length} bytes, got ${offset}`);
    this.#text ??= latin1.decode(this.#bytes);
    const end = this.#text.indexOf('\0', offset);
    if (end < 0 || end - offset >= MAX_NAME)
      throw this.#refuse(`expected a name of less than ${MAX_NAME} bytes that ends in a zero byte`);
    return this.#text.slice(offset, end);
  }
}

/** One character for each byte. */
const latin1 = new TextDecoder('latin1');
