/** The little DER that keys, signatures and key files need (X.690). */
import { concat } from './bytes.js';
import { TpmError } from './response-code.js';

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

/** OCTET STRING. */
/* @__NO_SIDE_EFFECTS__ */
export function derOctetString(bytes: Uint8Array): Uint8Array {
  return element(0x04, bytes);
}

/** BOOLEAN; DER has one encoding of true. */
/* @__NO_SIDE_EFFECTS__ */
export function derBoolean(value: boolean): Uint8Array {
  return element(0x01, Uint8Array.of(value ? 0xff : 0));
}

/** UTF8String. */
/* @__NO_SIDE_EFFECTS__ */
export function derUtf8(text: string): Uint8Array {
  return element(0x0c, new TextEncoder().encode(text));
}

/** SET of one member. */
/* @__NO_SIDE_EFFECTS__ */
export function derSet(member: Uint8Array): Uint8Array {
  return element(0x31, member);
}

/** BIT STRING of named bits, the first of them bit 31 of `bits`; trailing zeros are left out. */
/* @__NO_SIDE_EFFECTS__ */
export function derNamedBits(bits: number): Uint8Array {
  const unused = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits);
  const octets = Uint8Array.of(bits >>> 24, bits >>> 16, bits >>> 8, bits).subarray(
    0,
    bits === 0 ? 0 : 4 - (unused >> 3),
  );
  return element(0x03, concat(Uint8Array.of(unused & 7), octets));
}

/** Time, to the second: UTCTime up to 2049 and GeneralizedTime from 2050 (RFC 5280, section 4.1.2.5). */
/* @__NO_SIDE_EFFECTS__ */
export function derTime(date: Date): Uint8Array {
  const digits = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  const isShort = date.getUTCFullYear() >= 1950 && date.getUTCFullYear() < 2050;
  return element(isShort ? 0x17 : 0x18, new TextEncoder().encode(isShort ? digits.slice(2) : digits));
}

/** What an explicit context-specific tag of at most 30 wraps. */
/* @__NO_SIDE_EFFECTS__ */
export function derExplicit(tag: number, contents: Uint8Array): Uint8Array {
  return element(0xa0 | tag, contents);
}

/* @__NO_SIDE_EFFECTS__ */
function element(tag: number, contents: Uint8Array): Uint8Array {
  const { length } = contents;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), contents);
  if (length < 0x100) return concat(Uint8Array.of(tag, 0x81, length), contents);
  if (length < 0x10000) return concat(Uint8Array.of(tag, 0x82, length >>> 8, length), contents);
  throw new TpmError('usage', `encode DER: expected at most 65535 bytes of contents, got ${length}`);
}
