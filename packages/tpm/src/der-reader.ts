/** Strict, bounded reading of DER (X.690, sections 8 to 10): definite lengths in their shortest form, nothing behind the end. */
import { equalBytes } from './bytes.js';
import { TpmError } from './response-code.js';

/** Identifier octets of the elements that keys and key files hold. */
export const DER_TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OBJECT: 0x06,
  UTF8: 0x0c,
  SEQUENCE: 0x30,
  EXPLICIT: 0xa0,
} as const;

/** A cursor over the elements of one constructed value. Whoever made the bytes controls every length in them. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #subject: string;
  #offset = 0;

  /** Reads `bytes`; `subject` names the structure in error messages. */
  constructor(bytes: Uint8Array, subject: string) {
    this.#bytes = bytes;
    this.#subject = subject;
  }

  /** Whether all elements are taken. */
  get isDone(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** Throws `TpmError` `decode` unless all elements are taken. */
  finish(): void {
    if (!this.isDone) throw this.refuse(`expected the end, got ${this.#bytes.length - this.#offset} more bytes`);
  }

  /** The contents of the next element, which must have `tag`. */
  take(tag: number, field: string): Uint8Array {
    const got = this.#bytes[this.#offset];
    if (got !== tag) throw this.refuse(`expected ${field} (tag ${hexTag(tag)}), got ${hexTag(got)}`);
    this.#offset += 1;
    const length = this.#length(field);
    const start = this.#offset;
    if (length > this.#bytes.length - start) {
      throw this.refuse(`expected ${length} bytes of ${field}, got ${this.#bytes.length - start}`);
    }
    this.#offset += length;
    return this.#bytes.subarray(start, this.#offset);
  }

  /** The contents of the next element where it has `tag`. */
  optional(tag: number, field: string): Uint8Array | undefined {
    return this.#bytes[this.#offset] === tag ? this.take(tag, field) : undefined;
  }

  /** A reader over the next element, a SEQUENCE. */
  sequence(field: string): DerReader {
    return new DerReader(this.take(DER_TAG.SEQUENCE, field), field);
  }

  /** A reader over what an explicit tag wraps, where it is there. */
  explicit(tag: number, field: string): DerReader | undefined {
    const contents = this.optional(DER_TAG.EXPLICIT | tag, field);
    return contents && new DerReader(contents, field);
  }

  /** An INTEGER that is not negative: big-endian, without leading zeros, so zero is one zero byte. */
  unsigned(field: string): Uint8Array {
    const digits = this.take(DER_TAG.INTEGER, field);
    const [first = 0x80, second = 0x80] = digits;
    if (digits.length === 0 || first >= 0x80) throw this.refuse(`expected an unsigned INTEGER in ${field}`);
    if (first === 0 && digits.length > 1) {
      if (second < 0x80) throw this.refuse(`expected the shortest INTEGER in ${field}`);
      return digits.subarray(1);
    }
    return digits;
  }

  /** A small INTEGER, at most 2^32 - 1. */
  number(field: string): number {
    const digits = this.unsigned(field);
    if (digits.length > 4) throw this.refuse(`expected at most 32 bits of ${field}, got ${digits.length} bytes`);
    return digits.reduce((value, digit) => value * 256 + digit, 0);
  }

  /** Takes an OBJECT IDENTIFIER and says which of the given ones it is; throws where it is none of them. */
  object<N extends string>(known: Readonly<Record<N, Uint8Array>>, field: string): N {
    const contents = this.take(DER_TAG.OBJECT, field);
    for (const name in known) {
      if (equalBytes(known[name].subarray(2), contents)) return name;
    }
    throw this.refuse(`expected ${field} to be one of ${Object.keys(known).join(', ')}, got another one`);
  }

  /** The error for a structure that is not as it must be. */
  refuse(problem: string): TpmError {
    return new TpmError('decode', `parse ${this.#subject}: ${problem} (at offset 0x${this.#offset.toString(16)})`);
  }

  #length(field: string): number {
    const first = this.#bytes[this.#offset++];
    if (first === undefined) throw this.refuse(`expected a length of ${field}, got the end`);
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw this.refuse(`expected a length of 1 to 3 bytes of ${field}, got ${count}`);
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (this.#bytes[this.#offset++] ?? 0);
    if (length < 0x80 || length < 256 ** (count - 1)) throw this.refuse(`expected the shortest length of ${field}`);
    return length;
  }
}

function hexTag(tag: number | undefined): string {
  return tag === undefined ? 'the end' : `0x${tag.toString(16).padStart(2, '0')}`;
}
