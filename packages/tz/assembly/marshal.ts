/** The encode buffer inside a PAL; the format is WIRE.md of this package. The input comes from the application, which controls every byte. */
import {
  TZ_ERROR_DECODE_NO_DATA,
  TZ_ERROR_DECODE_TYPE,
  TZ_ERROR_ENCODE_MEMORY,
  TZ_MEM_SERVICE_RO,
  TZ_MEM_SERVICE_RW,
  TZ_MEM_SERVICE_WO,
  TZ_TYPE_ARRAY,
  TZ_TYPE_MEM,
  TZ_TYPE_NONE,
  TZ_TYPE_UINT32,
} from './return-code';

@external('trustvisor', 'memory_lent')
declare function memory_lent(index: u32, info: usize): u32;

/** A buffer where it lies in memory: this header, then the records. */
@unmanaged
export class tzi_encode_buffer_t {
  uiRetVal: u32;
  uiSize: u32;
  uiOffset: u32;
  uiSizeUsed: u32;
}

const HEADER: usize = 16;
const TAG_UINT32: u32 = 0;
const TAG_ARRAY: u32 = 1;
const TAG_MEM: u32 = 2;
const TAG_NULL_ARRAY: u32 = 3;

/**
 * Memory that the client lends for this call. `address` means nothing once the service has returned. What is written where only reading
 * is allowed never comes to the client.
 */
export class LentMemory {
  constructor(
    /** Where it begins in the service's memory. */
    readonly address: usize,
    /** Bytes. */
    readonly length: u32,
    /** What the client allows: TZ_MEM_SERVICE_*. */
    readonly access: u32,
  ) {}

  /** A copy of `length` bytes from `offset`; `null` where they are not all there, or may not be read. */
  read(offset: u32, length: u32): Uint8Array | null {
    if ((this.access & TZ_MEM_SERVICE_RO) == 0 || !this.holds(offset, length)) return null;
    const copy = new Uint8Array(length);
    memory.copy(copy.dataStart, this.address + offset, length);
    return copy;
  }

  /** Writes `data` at `offset`; `false` where it does not fit, or may not be written. */
  write(offset: u32, data: Uint8Array): bool {
    if ((this.access & TZ_MEM_SERVICE_WO) == 0 || !this.holds(offset, data.length)) return false;
    memory.copy(this.address + offset, data.dataStart, data.length);
    return true;
  }

  private holds(offset: u32, length: u32): bool {
    return offset <= this.length && length <= this.length - offset;
  }
}

/** Appends an integer. The first error sticks; after it nothing is appended. */
export function TZIEncodeUint32(buffer: tzi_encode_buffer_t, value: u32): void {
  const at = reserve(buffer, 8);
  if (at != 0) putWords(at, TAG_UINT32, value);
}

/** Appends a copy of `data`; `null` is the NULL array. */
export function TZIEncodeArray(buffer: tzi_encode_buffer_t, data: Uint8Array | null): void {
  if (data === null) {
    const at = reserve(buffer, 8);
    if (at != 0) putWords(at, TAG_NULL_ARRAY, 0);
    return;
  }
  const space = TZIEncodeArraySpace(buffer, data.length);
  if (space != 0) memory.copy(space, data.dataStart, data.length);
}

/** Appends `text` as the array of its UTF-8 bytes and a zero. */
export function TZIEncodeText(buffer: tzi_encode_buffer_t, text: string): void {
  TZIEncodeArray(buffer, Uint8Array.wrap(String.UTF8.encode(text, true)));
}

/** Appends `length` zero bytes and returns their address, a multiple of 8; 0 where they do not fit. */
export function TZIEncodeArraySpace(buffer: tzi_encode_buffer_t, length: u32): usize {
  // Widened to 64 bits: a length near 2^32 must not wrap.
  const start: u64 = (<u64>buffer.uiOffset + 8 + 7) & ~7;
  const end: u64 = (start + <u64>length + 3) & ~3;
  const at = reserve(buffer, end - <u64>buffer.uiOffset);
  if (at == 0) return 0;
  putWords(at, TAG_ARRAY, length);
  return changetype<usize>(buffer) + HEADER + <usize>start;
}

/** The next record, an integer; 0 on error, which sticks. */
export function TZIDecodeUint32(buffer: tzi_encode_buffer_t): u32 {
  if (!expect(buffer, TZ_TYPE_UINT32)) return 0;
  const value = load<u32>(record(buffer), 4);
  buffer.uiOffset += 8;
  return value;
}

/** The next record, an array, as a copy; `null` for the NULL array and on error, which sticks. */
export function TZIDecodeArraySpace(buffer: tzi_encode_buffer_t): Uint8Array | null {
  if (!expect(buffer, TZ_TYPE_ARRAY)) return null;
  const tag = load<u32>(record(buffer));
  const length = load<u32>(record(buffer), 4);
  if (tag == TAG_NULL_ARRAY) return takeNull(buffer, length);
  const start: u64 = (<u64>buffer.uiOffset + 8 + 7) & ~7;
  const end: u64 = (start + <u64>length + 3) & ~3;
  if (end > <u64>buffer.uiSizeUsed) return fail(buffer, TZ_ERROR_DECODE_NO_DATA);
  const data = changetype<usize>(buffer) + HEADER + <usize>start;
  const padding = !zero(record(buffer) + 8, data) || !zero(data + length, changetype<usize>(buffer) + HEADER + <usize>end);
  if (padding) return fail(buffer, TZ_ERROR_DECODE_TYPE);
  buffer.uiOffset = <u32>end;
  const copy = new Uint8Array(length);
  memory.copy(copy.dataStart, data, length);
  return copy;
}

/**
 * The next record, a reference to memory that the client lends; `null` on error, which sticks. What the record says is compared with
 * what was really lent, which the isolate tells.
 */
export function TZIDecodeMemoryReference(buffer: tzi_encode_buffer_t): LentMemory | null {
  if (!expect(buffer, TZ_TYPE_MEM)) return null;
  if (buffer.uiSizeUsed - buffer.uiOffset < 16) return failReference(buffer, TZ_ERROR_DECODE_NO_DATA);
  const length = load<u32>(record(buffer), 4);
  const index = load<u32>(record(buffer), 8);
  const access = load<u32>(record(buffer), 12);
  const info = new StaticArray<u64>(3);
  const isLent = memory_lent(index, changetype<usize>(info)) == 0 && info[1] == <u64>length && info[2] == <u64>access;
  if (!isLent || access == 0 || access > TZ_MEM_SERVICE_RW) return failReference(buffer, TZ_ERROR_DECODE_TYPE);
  buffer.uiOffset += 16;
  return new LentMemory(<usize>info[0], length, access);
}

/** The type of the next record; NONE at the end, after an error and before what is no record. */
export function TZIDecodeGetType(buffer: tzi_encode_buffer_t): u32 {
  if (buffer.uiRetVal != 0 || buffer.uiSizeUsed - buffer.uiOffset < 8) return TZ_TYPE_NONE;
  const tag = load<u32>(record(buffer));
  if (tag == TAG_UINT32) return TZ_TYPE_UINT32;
  if (tag == TAG_MEM) return TZ_TYPE_MEM;
  return tag == TAG_ARRAY || tag == TAG_NULL_ARRAY ? TZ_TYPE_ARRAY : TZ_TYPE_NONE;
}

/** The first decoder error, 0 for none. */
export function TZIDecodeGetError(buffer: tzi_encode_buffer_t): u32 {
  return buffer.uiRetVal;
}

function expect(buffer: tzi_encode_buffer_t, type: u32): bool {
  if (buffer.uiRetVal != 0) return false;
  const left = buffer.uiSizeUsed - buffer.uiOffset;
  if (left < 8) buffer.uiRetVal = TZ_ERROR_DECODE_NO_DATA;
  else if (TZIDecodeGetType(buffer) != type) buffer.uiRetVal = TZ_ERROR_DECODE_TYPE;
  return buffer.uiRetVal == 0;
}

function takeNull(buffer: tzi_encode_buffer_t, word: u32): Uint8Array | null {
  if (word != 0) buffer.uiRetVal = TZ_ERROR_DECODE_TYPE;
  else buffer.uiOffset += 8;
  return null;
}

function failReference(buffer: tzi_encode_buffer_t, error: u32): LentMemory | null {
  buffer.uiRetVal = error;
  return null;
}

function fail(buffer: tzi_encode_buffer_t, error: u32): Uint8Array | null {
  buffer.uiRetVal = error;
  return null;
}

function reserve(buffer: tzi_encode_buffer_t, length: u64): usize {
  if (buffer.uiRetVal != 0) return 0;
  if (length > <u64>buffer.uiSize - <u64>buffer.uiOffset) {
    buffer.uiRetVal = TZ_ERROR_ENCODE_MEMORY;
    return 0;
  }
  const at = record(buffer);
  memory.fill(at, 0, <usize>length);
  buffer.uiOffset += <u32>length;
  return at;
}

function putWords(at: usize, tag: u32, word: u32): void {
  store<u32>(at, tag);
  store<u32>(at, word, 4);
}

function zero(from: usize, to: usize): bool {
  for (let at = from; at < to; at++) {
    if (load<u8>(at) != 0) return false;
  }
  return true;
}

function record(buffer: tzi_encode_buffer_t): usize {
  return changetype<usize>(buffer) + HEADER + buffer.uiOffset;
}
