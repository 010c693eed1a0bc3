/** Reading what a client sent and writing what it gets: the wire form of Part 2, chapter 4. Whoever sends a command controls every byte. */
import { concat, EMPTY, readU32, readU64, u16Bytes } from '../bytes.js';
import { TPM_RC } from './constants.js';

/** Thrown where a command is refused; the dispatcher turns it into a response. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  /** `code` is the response code with what it blames. */
  constructor(readonly code: number) {
    super(`TPM_RC 0x${code.toString(16)}`);
  }
}

/** Refuses with a code that blames nothing in particular. */
export function refuse(code: number): never {
  throw new Refusal(code);
}

/** Refuses and blames a parameter, counted from 1. */
export function refuseParameter(code: number, index: number): never {
  throw new Refusal(blaming(code, 0x40 | (index << 8)));
}

/** Refuses and blames a handle, counted from 1. */
export function refuseHandle(code: number, index: number): never {
  throw new Refusal(blaming(code, index << 8));
}

/** Refuses and blames a session, counted from 1. */
export function refuseSession(code: number, index: number): never {
  throw new Refusal(blaming(code, 0x800 | (index << 8)));
}

// Only codes of format one (bit 7) can blame, and one that does already stays as it is (Part 2, 6.6.2).
function blaming(code: number, what: number): number {
  return (code & 0x80) === 0 || (code & 0xf40) !== 0 ? code : code | what;
}

/** A cursor over received bytes; it refuses what is cut off or too long, and blames the parameter that it is in. */
export class Input {
  #at = 0;
  #parameter = 0;

  /** Reads `bytes` from the start. */
  constructor(readonly bytes: Uint8Array) {}

  /** How far it has come. */
  get offset(): number {
    return this.#at;
  }

  /** How many bytes are left. */
  get remaining(): number {
    return this.bytes.length - this.#at;
  }

  /** The next parameter begins: what is wrong from here on is its fault. */
  parameter(): this {
    this.#parameter++;
    return this;
  }

  /** Refuses and blames the parameter that is being read. */
  refuse(code: number): never {
    if (this.#parameter > 0) refuseParameter(code, this.#parameter);
    return refuse(code);
  }

  /** The next `length` bytes, which are not copied. */
  take(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.bytes.subarray(at, at + length);
  }

  u8(): number {
    return this.bytes[this.#skip(1)] ?? 0;
  }

  u16(): number {
    const at = this.#skip(2);
    return ((this.bytes[at] ?? 0) << 8) | (this.bytes[at + 1] ?? 0);
  }

  u32(): number {
    return readU32(this.bytes, this.#skip(4));
  }

  u64(): bigint {
    return readU64(this.bytes, this.#skip(8));
  }

  // A view on each number would take longer than to read it.
  #skip(length: number): number {
    if (length > this.remaining) this.refuse(TPM_RC.INSUFFICIENT);
    this.#at += length;
    return this.#at - length;
  }

  /** A copy of the bytes behind a u16 that says how many they are, `max` at most. */
  sized(max: number): Uint8Array {
    const length = this.u16();
    if (length > max) this.refuse(TPM_RC.SIZE);
    return length === 0 ? EMPTY : this.take(length).slice();
  }

  /** What `read` reads out of a structure behind its size, which it must fill. */
  within<T>(read: (input: this) => T): T {
    const end = this.u16() + this.#at;
    if (end > this.bytes.length) this.refuse(TPM_RC.INSUFFICIENT);
    if (end === this.#at) this.refuse(TPM_RC.SIZE);
    const value = read(this);
    if (this.#at !== end) this.refuse(TPM_RC.SIZE);
    return value;
  }

  /** A list of at most `max` elements behind their number. */
  list<T>(max: number, read: (input: this) => T): T[] {
    const count = this.u32();
    if (count > max) this.refuse(TPM_RC.SIZE);
    const elements: T[] = [];
    for (let i = 0; i < count; i++) elements.push(read(this));
    return elements;
  }

  /** A number that must be `wanted`; otherwise `code` refuses it. */
  expect(value: number, wanted: number, code: number): void {
    if (value !== wanted) this.refuse(code);
  }

  /** Refuses bytes behind the last parameter. */
  end(): void {
    if (this.remaining > 0) refuse(TPM_RC.SIZE);
  }
}

/** A cursor over bytes that are written, whose number is known before: what is sent often is made in one piece. */
export class Output {
  /** What is written, zeros where nothing was yet. */
  readonly bytes: Uint8Array;
  #at = 0;

  /** Makes room for `length` bytes. */
  constructor(length: number) {
    this.bytes = new Uint8Array(length);
  }

  /** The next byte. */
  u8(value: number): this {
    this.bytes[this.#at++] = value;
    return this;
  }

  /** Big-endian. */
  u16(value: number): this {
    return this.u8(value >>> 8).u8(value);
  }

  /** Big-endian. */
  u32(value: number): this {
    return this.u16(value >>> 16).u16(value);
  }

  /** Big-endian. */
  u64(value: bigint): this {
    return this.u32(Number((value >> 32n) & 0xffffffffn)).u32(Number(value & 0xffffffffn));
  }

  /** All of `bytes`. */
  put(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  /** The number of `bytes` as u16, and they. */
  sized(bytes: Uint8Array): this {
    return this.u16(bytes.length).put(bytes);
  }
}

/** `parts` one after another, behind their length as u16. */
export function sized(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = concat(...parts);
  return concat(u16Bytes(bytes.length), bytes);
}
