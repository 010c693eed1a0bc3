/** Byte strings: joining, padding, comparing and wiping. */

/** The parts one after another in one array of their own. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Whether two byte strings are equal, in time that depends on their lengths alone. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

/** `value` with leading zeros added or removed so that it has `length` bytes; `undefined` where it does not fit. */
export function padTo(value: Uint8Array, length: number): Uint8Array | undefined {
  const start = value.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? new Uint8Array(0) : value.subarray(start);
  if (digits.length > length) return undefined;
  const padded = new Uint8Array(length);
  padded.set(digits, length - digits.length);
  return padded;
}

/** An authorization value without its trailing zeros, as a TPM stores and uses it (Part 1, section 19.6.4.2). */
export function trimAuth(auth: Uint8Array): Uint8Array {
  let length = auth.length;
  while (length > 0 && auth[length - 1] === 0) length--;
  return auth.slice(0, length);
}

/** A 16-bit big-endian integer. */
export function u16Bytes(value: number): Uint8Array {
  return Uint8Array.of((value >>> 8) & 0xff, value & 0xff);
}

/** A 32-bit big-endian integer. */
export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** The 32-bit big-endian integer at `offset`; what lies behind the end counts as zeros. */
export function u32At(bytes: Uint8Array, offset: number): number {
  const [a, b, c, d] = [bytes[offset] ?? 0, bytes[offset + 1] ?? 0, bytes[offset + 2] ?? 0, bytes[offset + 3] ?? 0];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** The bytes of an ASCII label with the NUL that ends it, as the key derivations take it. */
export function labelBytes(label: string): Uint8Array {
  return new TextEncoder().encode(`${label}\0`);
}

/** Lower-case hexadecimal, for messages. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
