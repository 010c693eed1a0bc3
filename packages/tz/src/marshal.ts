/** The encode buffer `tzi_encode_buffer_t`, header and records; WIRE.md of this package, TrustZone API 3.0 section 3.4. */
import { type Codec, Reader, WireError, type Writer } from '@casemate/wire';
import { TzError } from './error.js';
import { returnName, TZ_RETURN, type TzErrorCode, type TzMemoryFlags, type TzType } from './return-code.js';
import type { ServiceMemory } from './service-memory.js';

/** Bytes of the header in front of the records. */
export const HEADER_SIZE = 16;

/** Bytes of records that a buffer holds unless its service's image says otherwise; the linker's default too. */
export const DEFAULT_CAPACITY = 16_384;

/** The largest capacity that is accepted from the other side, in bytes. */
export const MAX_CAPACITY = 16 * 1024 * 1024;

/** Bytes that an encoder has at first: enough for most calls, and made faster than more. */
const FIRST_CHUNK = 256;

/** Bytes that encoders take theirs from. */
const SLAB = 64 * FIRST_CHUNK;
let slab = new ArrayBuffer(0);
let slabUsed = 0;

/** Bytes of the smallest record. */
const SMALLEST_RECORD = 8;

/** Record tags on the wire. MEM is a reference to shared memory, which a client alone may send. */
export const TZ_TAG = { UINT32: 0, ARRAY: 1, MEM: 2, NULL_ARRAY: 3 } as const;

/** The 16 bytes in front of the records: four unsigned 32-bit integers, little-endian. */
export interface EncodeBufferHeader {
  /** The first error of who encoded or decodes, 0 for none. */
  readonly returnValue: number;
  /** Room for records, in bytes. */
  readonly size: number;
  /** The end of the records while encoding, the place of the next one while decoding. */
  readonly offset: number;
  /** Bytes of records, for decoding. */
  readonly sizeUsed: number;
}

/** One record's value: an unsigned 32-bit integer, an array of bytes, or the NULL array. */
export type TzValue = number | Uint8Array | null;

/** What can be encoded: a record's value, or a text, which becomes an array of its UTF-8 bytes and a zero (`TZI_ESTR`). */
export type TzInput = TzValue | string;

/** A reference to lent memory as it stands in a message: which of the call's references, how many bytes, and what for. */
export interface MemoryReference {
  /** The call's references are numbered from 0 in the order of their records. */
  readonly index: number;
  /** Bytes. */
  readonly length: number;
  /** What the service may do. */
  readonly flags: TzMemoryFlags;
}

/**
 * One record. Array data starts at a multiple of 8 counted from the start of the reader or writer, so the area in front
 * of the records must itself be a multiple of 8 bytes long; the record ends at a multiple of 4; padding is zero.
 * {@link Encoder} writes the same without it, because what it hands out must not move.
 */
export const TzRecord: Codec<TzValue | MemoryReference> = {
  name: 'TZ_RECORD',
  read(r) {
    const at = r.offset;
    const tag = r.u32('tag', true);
    const word = r.u32('word', true);
    if (tag === TZ_TAG.UINT32) return word;
    if (tag === TZ_TAG.ARRAY) return readArray(r, word);
    if (tag === TZ_TAG.MEM) return readReference(r, word);
    if (tag !== TZ_TAG.NULL_ARRAY) throw badRecord(`expected tag 0 to 3, got ${tag}`, at);
    if (word !== 0) throw badRecord(`expected zero after the NULL array tag, got ${word}`, at);
    return null;
  },
  write(w, value) {
    if (typeof value === 'number') return writeWords(w, TZ_TAG.UINT32, value);
    if (value === null) return writeWords(w, TZ_TAG.NULL_ARRAY, 0);
    if (!(value instanceof Uint8Array)) return writeReference(w, value);
    writeWords(w, TZ_TAG.ARRAY, value.length);
    w.put(new Uint8Array(padding(w.offset, 8)), 'padding');
    w.put(value, 'data');
    w.put(new Uint8Array(padding(w.offset, 4)), 'padding');
  },
};

/**
 * Encodes `values` as a buffer that is ready for decoding: `offset` 0, `sizeUsed` the bytes of the records.
 * Throws {@link TzError}: `TZ_ERROR_ENCODE_MEMORY` over `capacity`, `TZ_ERROR_ILLEGAL_ARGUMENT` for a value of no record type.
 */
export function encodeBuffer(values: readonly TzInput[], capacity = DEFAULT_CAPACITY): Uint8Array {
  const encoder = new Encoder(capacity);
  for (const value of values) encoder.value(value);
  if (encoder.error) throw encodeFailure(encoder.error, capacity);
  return encoder.finish();
}

/** Decodes every record of `buffer`; throws {@link TzError} (`TZ_ERROR_DECODE_TYPE`, `TZ_ERROR_DECODE_NO_DATA`) at the first bad one. */
export function decodeBuffer(buffer: Uint8Array): readonly TzValue[] {
  return new Decoder(buffer).rest();
}

/** Collects records up to a capacity. The first error sticks: what follows is ignored. */
export class Encoder {
  readonly #capacity: number;
  /** Behind the header's place; parts of it that were handed out stay where they are, so it grows by another chunk. */
  #chunk: Uint8Array;
  /** Where the chunk's first record is. */
  #start = HEADER_SIZE;
  /** Where the chunk's next record goes. */
  #at = HEADER_SIZE;
  /** Chunks that are full. */
  #full: Uint8Array[] | undefined;
  #used = 0;
  #error: TzErrorCode | undefined;

  /** `capacity` is the room for records in bytes, without the header. */
  constructor(capacity = DEFAULT_CAPACITY) {
    this.#capacity = capacity;
    this.#chunk = firstChunk();
  }

  /** The first error, if there was one. */
  get error(): TzErrorCode | undefined {
    return this.#error;
  }

  /** Bytes of records so far. */
  get used(): number {
    return this.#used;
  }

  /** Appends an unsigned 32-bit integer; throws `TZ_ERROR_ILLEGAL_ARGUMENT` for any other number. */
  uint32(value: number): void {
    if (value >>> 0 !== value) {
      throw illegal(`encode a uint32: expected an integer from 0 to 4294967295, got ${value}`);
    }
    this.#words(TZ_TAG.UINT32, value, 8);
  }

  /** Appends a copy of `value`; `null` is the NULL array, which the decoder tells from an empty one. */
  array(value: Uint8Array | null): void {
    if (value === null) {
      this.#words(TZ_TAG.NULL_ARRAY, 0, 8);
      return;
    }
    if (!(value instanceof Uint8Array)) {
      throw illegal(`encode an array: expected a Uint8Array or null, got ${typeof value}`);
    }
    const at = this.#array(value.length);
    if (at !== undefined) this.#chunk.set(value, at);
  }

  /**
   * Appends `length` zero bytes, at a multiple of 8 of their memory, and returns them for the caller to fill before the buffer is used;
   * `null` where they do not fit.
   */
  arraySpace(length: number): Uint8Array | null {
    if (!Number.isInteger(length) || length < 0) {
      throw illegal(`encode array space: expected a length from 0, got ${length}`);
    }
    const at = this.#array(length);
    return at === undefined ? null : this.#chunk.subarray(at, at + length);
  }

  /** Appends a value by its type. */
  value(value: TzInput): void {
    if (typeof value === 'number') this.uint32(value);
    else if (typeof value === 'string') this.array(new TextEncoder().encode(`${value}\0`));
    else this.array(value);
  }

  /** Appends a reference to lent memory; `false` where it does not fit. A client's operation does this, a service has no use for it. */
  memoryReference(reference: MemoryReference): boolean {
    const at = this.#words(TZ_TAG.MEM, reference.length, 16);
    if (at === undefined) return false;
    putWord(this.#chunk, at + 8, reference.index);
    putWord(this.#chunk, at + 12, reference.flags);
    return true;
  }

  /** Sets the error, unless there is one. */
  fail(error: TzErrorCode): void {
    this.#error ??= error;
  }

  /** The buffer, turned for decoding; an error of this encoder goes with it, and the decoder starts with that. */
  finish(): Uint8Array {
    const returnValue = this.#error ? TZ_RETURN[this.#error] : 0;
    const buffer = this.#full ? this.#joined(this.#full) : this.#chunk;
    writeHeader(buffer, { returnValue, size: this.#capacity, offset: 0, sizeUsed: this.#used });
    return buffer.subarray(0, HEADER_SIZE + this.#used);
  }

  /** Begins a record of `size` bytes with these two words and gives its place in the chunk, or the error. */
  #words(tag: number, word: number, size: number): number | undefined {
    const at = this.#reserve(size);
    if (at === undefined) return undefined;
    putWord(this.#chunk, at, tag);
    putWord(this.#chunk, at + 4, word);
    return at;
  }

  /** Begins an array and gives the place of its data; padding is zero, as everything in a chunk is at first. */
  #array(length: number): number | undefined {
    const start = 8 + padding(this.#used, 8);
    const at = this.#words(TZ_TAG.ARRAY, length, start + length + padding(length, 4));
    return at === undefined ? undefined : at + start;
  }

  #reserve(size: number): number | undefined {
    if (this.#error !== undefined) return undefined;
    if (size > this.#capacity - this.#used) {
      this.#error = 'TZ_ERROR_ENCODE_MEMORY';
      return undefined;
    }
    if (size > this.#chunk.length - this.#at) this.#grow(size);
    const at = this.#at;
    this.#at += size;
    this.#used += size;
    return at;
  }

  /** Begins another chunk, in which the next record is as far from a multiple of 8 as it is in the message. */
  #grow(size: number): void {
    const full = this.#full ?? [];
    full.push(this.#chunk.subarray(this.#start, this.#at));
    this.#full = full;
    this.#start = this.#used % 8;
    const length = this.#start + Math.max(size, Math.min(this.#used, this.#capacity - this.#used));
    this.#chunk = new Uint8Array(length);
    this.#at = this.#start;
  }

  #joined(full: readonly Uint8Array[]): Uint8Array {
    const buffer = new Uint8Array(HEADER_SIZE + this.#used);
    let at = HEADER_SIZE;
    for (const part of [...full, this.#chunk.subarray(this.#start, this.#at)]) {
      buffer.set(part, at);
      at += part.length;
    }
    return buffer;
  }
}

/**
 * Takes records one by one. The first error sticks: from then on integers are 0 and arrays NULL. The bytes come from the
 * other side of the wall, which controls all of them; the constructor throws `TZ_ERROR_COMMUNICATION` where they are no buffer.
 */
export class Decoder {
  readonly #reader: Reader;
  readonly #lent: readonly ServiceMemory[] | undefined;
  #error: TzErrorCode | undefined;

  /**
   * `buffer` is a header and at least as many bytes as the header says are used. `lent` is what was lent for this call, on the side
   * of a service; where it is absent, as for every answer, references are errors of type.
   */
  constructor(buffer: Uint8Array, lent?: readonly ServiceMemory[]) {
    const header = readDecodable(buffer);
    this.#error = errorOf(header.returnValue);
    this.#reader = new Reader(buffer.subarray(HEADER_SIZE, HEADER_SIZE + header.sizeUsed));
    this.#lent = lent;
  }

  /** The first error, if there was one. */
  get error(): TzErrorCode | undefined {
    return this.#error;
  }

  /** Whether records are left, known or not, and none has failed yet. */
  get more(): boolean {
    return this.#error === undefined && this.#reader.remaining > 0;
  }

  /** The type of the next record; `NONE` at the end and before what is no record. Asking changes nothing. */
  get type(): TzType {
    return this.more ? this.#nextType() : 'NONE';
  }

  /** The next record, which must be an integer; 0 on error. */
  uint32(): number {
    const value = this.#next('UINT32');
    return typeof value === 'number' ? value : 0;
  }

  /** The next record, which must be an array; `null` for the NULL array and on error. The bytes are a copy. */
  arraySpace(): Uint8Array | null {
    const value = this.#next('ARRAY');
    return value instanceof Uint8Array ? value : null;
  }

  /** The next record, which must refer to memory that was really lent as it says; `null` on error. For services. */
  memoryReference(): ServiceMemory | null {
    const reference = this.#next('MEM');
    if (!isReference(reference)) return null;
    const lent = this.#lent?.[reference.index];
    if (lent && lent.length === reference.length && lent.flags === reference.flags) return lent;
    this.#error = 'TZ_ERROR_DECODE_TYPE';
    return null;
  }

  /** The next record, an integer or an array; `null` on error. */
  value(): TzValue {
    const value = this.#next(this.type === 'MEM' ? 'ARRAY' : undefined);
    return value === undefined || isReference(value) ? null : value;
  }

  /** All records that are left; throws the first error, as {@link decodeBuffer} does. */
  rest(): readonly TzValue[] {
    const values: TzValue[] = [];
    while (this.more) values.push(this.value());
    if (this.#error) throw decodeFailure(this.#error);
    return values;
  }

  #next(wanted: TzType | undefined): TzValue | MemoryReference | undefined {
    if (this.#error) return undefined;
    if (this.#reader.remaining < SMALLEST_RECORD) return this.#fail('TZ_ERROR_DECODE_NO_DATA');
    const type = this.#nextType();
    if (type === 'NONE' || (wanted && type !== wanted)) return this.#fail('TZ_ERROR_DECODE_TYPE');
    try {
      return TzRecord.read(this.#reader);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return this.#fail(error.code === 'truncated' ? 'TZ_ERROR_DECODE_NO_DATA' : 'TZ_ERROR_DECODE_TYPE');
    }
  }

  #nextType(): TzType {
    const { remaining, bytes, offset } = this.#reader;
    if (remaining < SMALLEST_RECORD) return 'NONE';
    if (((bytes[offset + 1] ?? 0) | (bytes[offset + 2] ?? 0) | (bytes[offset + 3] ?? 0)) !== 0) return 'NONE';
    const type = TYPES[bytes[offset] ?? 0xff] ?? 'NONE';
    return type === 'MEM' && this.#lent === undefined ? 'NONE' : type;
  }

  #fail(error: TzErrorCode): undefined {
    this.#error = error;
    return undefined;
  }
}

/**
 * Turns the buffer that a service has encoded into for decoding: what it wrote up to `offset` becomes `sizeUsed`
 * (`TZIEncodeToDecode`). `raw` is the service's memory, header and capacity. Throws `TZ_ERROR_COMMUNICATION` where the
 * header lies about its size.
 */
export function turnBuffer(raw: Uint8Array): Uint8Array {
  const header = readHeader(raw);
  if (header.offset > header.size || HEADER_SIZE + header.offset > raw.length) {
    throw malformed(`expected an offset up to ${raw.length - HEADER_SIZE}, got ${header.offset}`);
  }
  const buffer = raw.slice(0, HEADER_SIZE + header.offset);
  writeHeader(buffer, { ...header, offset: 0, sizeUsed: header.offset });
  return buffer;
}

/** A buffer in decode form around `records`, which are used as they are. */
export function buildBuffer(records: Uint8Array): Uint8Array {
  const used = records.length;
  const buffer = new Uint8Array(HEADER_SIZE + used);
  writeHeader(buffer, { returnValue: 0, size: used, offset: 0, sizeUsed: used });
  buffer.set(records, HEADER_SIZE);
  return buffer;
}

/** The records of a buffer in decode form, without its header and what lies behind the used bytes. Throws `TZ_ERROR_COMMUNICATION`. */
export function recordsOf(buffer: Uint8Array): Uint8Array {
  return buffer.subarray(HEADER_SIZE, HEADER_SIZE + readDecodable(buffer).sizeUsed);
}

/** The error for an encoder that failed with `code`. */
export function encodeFailure(code: TzErrorCode, capacity: number): TzError {
  const problem =
    code === 'TZ_ERROR_ENCODE_FORMAT'
      ? 'expected a memory reference that its block allows and no other overlaps, got another'
      : `expected at most ${capacity} bytes of records and 16 memory references, got more`;
  return new TzError(code, 'api', `encode a message: ${problem}`);
}

/** The error for a decoder that failed with `code`. */
export function decodeFailure(code: TzErrorCode): TzError {
  const got = code === 'TZ_ERROR_DECODE_NO_DATA' ? 'the end of the message' : 'one of another type or form';
  return new TzError(code, 'api', `decode a message: expected another record, got ${got}`);
}

/** Zeros that no encoder has had before, at a multiple of 8; many from one allocation, which each would take longer than its message. */
function firstChunk(): Uint8Array {
  if (slabUsed + FIRST_CHUNK > slab.byteLength) {
    slab = new ArrayBuffer(SLAB);
    slabUsed = 0;
  }
  const chunk = new Uint8Array(slab, slabUsed, FIRST_CHUNK);
  slabUsed += FIRST_CHUNK;
  return chunk;
}

/** Writes a header to the start of `buffer`. */
export function writeHeader(buffer: Uint8Array, { returnValue, size, offset, sizeUsed }: EncodeBufferHeader): void {
  putWord(buffer, 0, returnValue);
  putWord(buffer, 4, size);
  putWord(buffer, 8, offset);
  putWord(buffer, 12, sizeUsed);
}

// A DataView for each message takes longer than all of its words.

function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
}

function wordAt(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
  const high = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8);
  return low + high * 0x10000;
}

function readDecodable(buffer: Uint8Array): EncodeBufferHeader {
  const header = readHeader(buffer);
  const there = buffer.length - HEADER_SIZE;
  if (header.offset !== 0) throw malformed(`expected offset 0, got ${header.offset}`);
  if (header.sizeUsed > there) throw malformed(`expected ${header.sizeUsed} bytes of records, got ${there}`);
  return header;
}

function readHeader(buffer: Uint8Array): EncodeBufferHeader {
  if (buffer.length < HEADER_SIZE) throw malformed(`expected a header of ${HEADER_SIZE} bytes, got ${buffer.length}`);
  const header = {
    returnValue: wordAt(buffer, 0),
    size: wordAt(buffer, 4),
    offset: wordAt(buffer, 8),
    sizeUsed: wordAt(buffer, 12),
  };
  if (header.size > MAX_CAPACITY) throw malformed(`expected a size up to ${MAX_CAPACITY}, got ${header.size}`);
  if (header.sizeUsed > header.size)
    throw malformed(`expected at most ${header.size} bytes used, got ${header.sizeUsed}`);
  return header;
}

/** The error that the encoder left in the header; a number of no error is one all the same. */
function errorOf(returnValue: number): TzErrorCode | undefined {
  const name = returnName(returnValue);
  if (name === 'TZ_SUCCESS') return undefined;
  return name === undefined || name === 'TZ_PENDING' ? 'TZ_ERROR_GENERIC' : name;
}

function readArray(r: Reader, length: number): Uint8Array {
  takePadding(r, 8);
  const data = r.take(length, 'data');
  takePadding(r, 4);
  return data;
}

function readReference(r: Reader, length: number): MemoryReference {
  const index = r.u32('reference', true);
  const at = r.offset;
  const flags = r.u32('access', true);
  if (flags !== 1 && flags !== 2 && flags !== 3) throw badRecord(`expected access 1, 2 or 3, got ${flags}`, at);
  return { index, length, flags };
}

function writeReference(w: Writer, reference: MemoryReference): void {
  writeWords(w, TZ_TAG.MEM, reference.length);
  w.u32(reference.index, 'reference', true);
  w.u32(reference.flags, 'access', true);
}

function isReference(value: TzValue | MemoryReference | undefined): value is MemoryReference {
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array);
}

function takePadding(r: Reader, alignment: number): void {
  const at = r.offset;
  if (r.take(padding(at, alignment), 'padding').some((byte) => byte !== 0))
    throw badRecord('expected zero padding', at);
}

function writeWords(w: Writer, tag: number, word: number): void {
  w.u32(tag, 'tag', true);
  w.u32(word, 'word', true);
}

function padding(offset: number, alignment: number): number {
  return (alignment - (offset % alignment)) % alignment;
}

function badRecord(problem: string, offset: number): WireError {
  return new WireError('bad-value', 'decode TZ_RECORD', problem, offset);
}

function malformed(problem: string): TzError {
  return new TzError('TZ_ERROR_COMMUNICATION', 'communication', `decode tzi_encode_buffer_t: ${problem}`);
}

function illegal(problem: string): TzError {
  return new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'api', problem);
}

/** The type of each tag. */
const TYPES: readonly TzType[] = ['UINT32', 'ARRAY', 'MEM', 'ARRAY'];
