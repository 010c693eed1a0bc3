/** The little DER that public keys and ECDSA signatures need (X.690). */
import { concat } from './bytes.js';

/** SEQUENCE of encoded members. */
/* @__NO_SIDE_EFFECTS__ */
export function derSequence(...members: readonly Uint8Array[]): Uint8Array {
  return element(0x30, concat(...members));
}

/** INTEGER from an unsigned big-endian number. */
/* @__NO_SIDE_EFFECTS__ */
export function derInteger(unsigned: Uint8Array): Uint8Array {
  const start = unsigned.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? Uint8Array.of(0) : unsigned.subarray(start);
  return element(0x02, (digits[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), digits) : digits);
}

/** BIT STRING of whole bytes. */
/* @__NO_SIDE_EFFECTS__ */
export function derBitString(bytes: Uint8Array): Uint8Array {
  return element(0x03, concat(Uint8Array.of(0), bytes));
}

/** OBJECT IDENTIFIER from its encoded contents. */
/* @__NO_SIDE_EFFECTS__ */
export function derObject(...contents: readonly number[]): Uint8Array {
  return element(0x06, Uint8Array.from(contents));
}

/* @__NO_SIDE_EFFECTS__ */
function element(tag: number, contents: Uint8Array): Uint8Array {
  const { length } = contents;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), contents);
  if (length < 0x100) return concat(Uint8Array.of(tag, 0x81, length), contents);
  return concat(Uint8Array.of(tag, 0x82, length >>> 8, length), contents);
}
