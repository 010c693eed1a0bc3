/** Byte strings: joining, trimming, numbers. */

/** No bytes. */
export const EMPTY: Uint8Array = new Uint8Array(0);

/** The parts one after another. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** `value` as a big-endian u16. */
export function u16Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(2);
  bytes[0] = value >>> 8;
  bytes[1] = value;
  return bytes;
}

/** `value` as a big-endian u32. */
export function u32Bytes(value: number): Uint8Array {
  // of() would take twice as long, and digests are full of these.
  const bytes = new Uint8Array(4);
  bytes[0] = value >>> 24;
  bytes[1] = value >>> 16;
  bytes[2] = value >>> 8;
  bytes[3] = value;
  return bytes;
}

/** The bytes of a command or response code, which are hashed again and again; not to be written to. */
export function codeBytes(code: number): Uint8Array {
  const known = codes.get(code);
  if (known !== undefined) return known;
  const bytes = u32Bytes(code);
  codes.set(code, bytes);
  return bytes;
}

const codes = new Map<number, Uint8Array>();

/** `value` as a big-endian u64. */
export function u64Bytes(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value));
  return bytes;
}

/** The big-endian u32 at `offset`, which is there. */
export function readU32(bytes: Uint8Array, offset: number): number {
  const high = ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
  const low = ((bytes[offset + 2] ?? 0) << 8) | (bytes[offset + 3] ?? 0);
  return high * 0x10000 + low;
}

/** The big-endian u64 at `offset`. */
export function readU64(bytes: Uint8Array, offset: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(offset);
}

/** Without the trailing zeros: the form in which a TPM keeps an authorization value (Part 1, 19.6.4.3). */
export function trimAuth(auth: Uint8Array): Uint8Array {
  let length = auth.length;
  while (length > 0 && auth[length - 1] === 0) length--;
  return length === 0 ? EMPTY : auth.slice(0, length);
}

/** With zeros in front up to `length`; longer values stay as they are. */
export function padStart(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes;
  const padded = new Uint8Array(length);
  padded.set(bytes, length - bytes.length);
  return padded;
}

/** Are the two equal? The time depends on the lengths alone, so that it serves for secrets too. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

/** ASCII text with its terminating zero: the form of the labels of Part 1. */
export function label(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
