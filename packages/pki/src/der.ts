/** DER, the distinguished encoding of ASN.1 (ITU-T X.690 sections 8, 10 and 11): a strict cursor and a small writer. */
import { toHex } from './bytes.js';
import { malformed, PkiError } from './error.js';

/** Identifier octets that X.509 uses. */
export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8: 0x0c,
  NUMERIC: 0x12,
  PRINTABLE: 0x13,
  TELETEX: 0x14,
  IA5: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  VISIBLE: 0x1a,
  UNIVERSAL: 0x1c,
  BMP: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** The identifier octet of a primitive context-specific tag. */
export const primitive = (number: number): number => 0x80 | number;
/** The identifier octet of a constructed context-specific tag. */
export const constructed = (number: number): number => 0xa0 | number;

/** One element: identifier octet, contents, and the whole encoding; both arrays are views of the input. */
export interface Tlv {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly bytes: Uint8Array;
}

/** A cursor over the elements inside one constructed value. Whoever sent the bytes controls every length in them. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #offset = 0;

  /** Reads the elements of `bytes`; `what` names the structure in error messages. */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  /** Whether no element is left. */
  get done(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** The identifier octet of the next element, or -1 at the end. */
  get tag(): number {
    return this.#bytes[this.#offset] ?? -1;
  }

  /** Takes the next element, whatever it is. */
  any(field: string): Tlv {
    const start = this.#offset;
    const tag = this.#octet(field);
    if ((tag & 0x1f) === 0x1f) throw this.#refuse(field, 'expected a tag number below 31, got a long form');
    const length = this.#length(field);
    const end = this.#offset + length;
    if (end > this.#bytes.length) {
      throw this.#refuse(field, `expected ${length} bytes of contents, got ${this.#bytes.length - this.#offset}`);
    }
    const tlv = { tag, content: this.#bytes.subarray(this.#offset, end), bytes: this.#bytes.subarray(start, end) };
    this.#offset = end;
    return tlv;
  }

  /** Takes the next element, which must have `tag`. */
  take(tag: number, field: string): Tlv {
    if (this.tag !== tag) throw this.#refuse(field, `expected tag ${hexTag(tag)}, got ${hexTag(this.tag)}`);
    return this.any(field);
  }

  /** Takes the next element where it has `tag`. */
  optional(tag: number, field: string): Tlv | undefined {
    return this.tag === tag ? this.any(field) : undefined;
  }

  /** Enters the next element, which must have `tag`. */
  enter(tag: number, field: string): DerReader {
    return new DerReader(this.take(tag, field).content, `${this.#what}/${field}`);
  }

  /** Throws unless every element was taken. */
  finish(): void {
    if (!this.done) throw this.#refuse('', `expected the end, got ${this.#bytes.length - this.#offset} more bytes`);
  }

  #octet(field: string): number {
    const octet = this.#bytes[this.#offset];
    if (octet === undefined) throw this.#refuse(field, 'expected another byte, got the end');
    this.#offset += 1;
    return octet;
  }

  #length(field: string): number {
    const first = this.#octet(field);
    if (first < 0x80) return first;
    if (first === 0x80) throw this.#refuse(field, 'expected a definite length, got an indefinite one');
    if (first > 0x84) throw this.#refuse(field, `expected at most 4 length octets, got ${first & 0x7f}`);
    let length = 0;
    for (let i = 0; i < (first & 0x7f); i++) length = length * 256 + this.#octet(field);
    const shortest = lengthOctets(length).length === 1 + (first & 0x7f);
    if (!shortest) throw this.#refuse(field, 'expected the shortest form of the length, got a longer one');
    return length;
  }

  #refuse(field: string, problem: string): PkiError {
    return malformed(field === '' ? this.#what : `${this.#what}/${field}`, `${problem} (offset ${this.#offset})`);
  }
}

/** Opens `bytes` as exactly one element with `tag`. */
export function openDer(bytes: Uint8Array, tag: number, what: string): DerReader {
  const reader = new DerReader(bytes, what);
  const tlv = reader.take(tag, '');
  reader.finish();
  return new DerReader(tlv.content, what);
}

/** Reads `bytes` as exactly one element with `tag` and returns its contents. */
export function readDer(bytes: Uint8Array, tag: number, what: string): Uint8Array {
  const reader = new DerReader(bytes, what);
  const tlv = reader.take(tag, '');
  reader.finish();
  return tlv.content;
}

/** The value of BOOLEAN contents. */
export function booleanValue(content: Uint8Array, what: string): boolean {
  const [octet] = content;
  if (content.length !== 1 || (octet !== 0 && octet !== 0xff)) {
    throw malformed(what, `expected BOOLEAN 00 or ff, got ${toHex(content)}`);
  }
  return octet === 0xff;
}

/** The value of INTEGER contents of at most 4096 bytes. */
export function integerValue(content: Uint8Array, what: string): bigint {
  assertInteger(content, what);
  const unsigned = BigInt(`0x${toHex(content)}`);
  return (content[0] ?? 0) & 0x80 ? unsigned - (1n << BigInt(content.length * 8)) : unsigned;
}

/** The value of INTEGER contents that must lie between 0 and 2^31 - 1. */
export function smallInteger(content: Uint8Array, what: string): number {
  assertInteger(content, what);
  const value = content.length > 4 ? -1 : Number(integerValue(content, what));
  if (value < 0) throw malformed(what, `expected a number from 0 to 2147483647, got ${toHex(content)}`);
  return value;
}

function assertInteger(content: Uint8Array, what: string): void {
  if (content.length === 0 || content.length > 4096) {
    throw malformed(what, `expected an INTEGER of 1 to 4096 bytes, got ${content.length}`);
  }
  const [first = 0, second = 0] = content;
  if (content.length > 1 && (first === 0 || first === 0xff) && (first & 0x80) === (second & 0x80)) {
    throw malformed(what, 'expected the shortest form of an INTEGER, got a longer one');
  }
}

/** The bytes of BIT STRING contents whose length is a multiple of eight. */
export function octetsOfBitString(content: Uint8Array, what: string): Uint8Array {
  if (content[0] !== 0) throw malformed(what, `expected a BIT STRING without unused bits, got ${content[0] ?? 'none'}`);
  return content.subarray(1);
}

/** The set bit numbers of a named BIT STRING (X.690 11.2.2: no trailing zero bits). */
export function namedBits(content: Uint8Array, what: string): ReadonlySet<number> {
  const unused = content[0] ?? 8;
  const last = content[content.length - 1] ?? 0;
  const empty = content.length === 1;
  if (unused > 7 || content.length > 5 || (empty ? unused !== 0 : ((last >> unused) & 1) === 0)) {
    throw malformed(what, `expected a BIT STRING without trailing zero bits, got ${toHex(content)}`);
  }
  if (!empty && (last & ((1 << unused) - 1)) !== 0) throw malformed(what, 'expected unused bits to be zero');
  const bits = new Set<number>();
  for (let bit = 0; bit < (content.length - 1) * 8; bit++) {
    if ((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) bits.add(bit);
  }
  return bits;
}

/** The dotted text of OBJECT IDENTIFIER contents of at most 128 bytes. */
export function oidValue(content: Uint8Array, what: string): string {
  const last = content[content.length - 1];
  if (last === undefined || last & 0x80 || content.length > 128) {
    throw malformed(what, `expected an OBJECT IDENTIFIER of 1 to 128 bytes, got ${toHex(content.subarray(0, 128))}`);
  }
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const octet of content) {
    if (fresh && octet === 0x80) throw malformed(what, 'expected the shortest form of an arc, got a leading 80');
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    fresh = (octet & 0x80) === 0;
    if (!fresh) continue;
    if (arcs.length === 0) arcs.push(arc < 80n ? arc / 40n : 2n, arc < 80n ? arc % 40n : arc - 80n);
    else arcs.push(arc);
    arc = 0n;
  }
  return arcs.join('.');
}

/**
 * The moment in UTCTime or GeneralizedTime contents (RFC 5280 4.1.2.5: Zulu, with seconds, no fraction).
 * With `anyYear` GeneralizedTime may be before 2050, as where a structure has no other time type.
 */
export function timeValue(tlv: Tlv, what: string, { anyYear = false } = {}): Date {
  const text = asciiText(tlv.content);
  const utc = tlv.tag === TAG.UTC_TIME;
  const match = (utc ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(
    text,
  );
  if (match === null) throw malformed(what, `expected ${utc ? 'YYMMDDHHMMSSZ' : 'YYYYMMDDHHMMSSZ'}, got ${text}`);
  const [first = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const year = utc ? first + (first < 50 ? 2000 : 1900) : first;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const same = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour;
  if (!same || date.getUTCMinutes() !== minute || second > 59)
    throw malformed(what, `expected a real date, got ${text}`);
  if (!utc && !anyYear && year >= 1950 && year < 2050)
    throw malformed(what, `expected UTCTime before 2050, got ${text}`);
  return date;
}

function asciiText(content: Uint8Array): string {
  return String.fromCharCode(...content.subarray(0, 32));
}

/** One element from its identifier octet and the concatenation of `parts`. */
export function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return tlvOf(tag, parts);
}

/** {@link tlv} for any number of parts. */
export function tlvOf(tag: number, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const header = lengthOctets(length);
  const whole = new Uint8Array(1 + header.length + length);
  whole[0] = tag;
  whole.set(header, 1);
  let offset = 1 + header.length;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** SEQUENCE of encoded elements. */
export const sequence = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => tlv(TAG.SEQUENCE, ...parts);
/** SET OF encoded elements, sorted as X.690 11.6 asks. */
export const setOf = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> =>
  tlv(TAG.SET, ...[...parts].sort(compareOctets));
/** OCTET STRING. */
export const octetString = (content: Uint8Array): Uint8Array<ArrayBuffer> => tlv(TAG.OCTET_STRING, content);
/** BIT STRING of whole octets. */
export const bitString = (content: Uint8Array): Uint8Array<ArrayBuffer> =>
  tlv(TAG.BIT_STRING, Uint8Array.of(0), content);
/** NULL. */
export const nul = (): Uint8Array<ArrayBuffer> => tlv(TAG.NULL);
/** BOOLEAN. */
export const boolean = (value: boolean): Uint8Array<ArrayBuffer> => tlv(TAG.BOOLEAN, Uint8Array.of(value ? 0xff : 0));
/** UTF8String. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => tlv(TAG.UTF8, new TextEncoder().encode(text));

/** INTEGER, of either sign. */
export function integer(value: bigint | number): Uint8Array<ArrayBuffer> {
  const number = BigInt(value);
  if (number < 0n) return tlv(TAG.INTEGER, negativeContent(number));
  const digits = number.toString(16);
  const length = (digits.length + 1) >> 1;
  const isHigh = digits.length % 2 === 0 && digits.charCodeAt(0) > 0x37; // a first digit above 7 would be read as a sign
  const content = new Uint8Array(length + (isHigh ? 1 : 0));
  for (let at = content.length - 1, end = digits.length; end > 0; at--, end -= 2) {
    content[at] = Number.parseInt(digits.slice(Math.max(0, end - 2), end), 16);
  }
  return tlv(TAG.INTEGER, content);
}

function negativeContent(value: bigint): Uint8Array {
  let length = 1;
  while (value < -(1n << BigInt(8 * length - 1))) length += 1;
  const digits = (value + (1n << BigInt(8 * length))).toString(16);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** OBJECT IDENTIFIER from its dotted text; throws {@link PkiError} `bad-input` where the text is not one. */
export function oid(dotted: string): Uint8Array<ArrayBuffer> {
  const known = encodedOids.get(dotted);
  if (known !== undefined) return known;
  const encoded = tlv(TAG.OID, oidContent(dotted));
  if (encodedOids.size < 256) encodedOids.set(dotted, encoded);
  return encoded;
}

function oidContent(dotted: string): Uint8Array {
  if (!/^[012](\.(0|[1-9]\d{0,38}))+$/.test(dotted)) {
    throw new PkiError('bad-input', `encode OBJECT IDENTIFIER: expected dotted numbers, got ${dotted}`);
  }
  const [root = 0n, second = 0n, ...arcs] = dotted.split('.').map(BigInt);
  if (root < 2n && second > 39n) {
    throw new PkiError('bad-input', `encode OBJECT IDENTIFIER: expected a second arc below 40, got ${dotted}`);
  }
  return Uint8Array.from([root * 40n + second, ...arcs].flatMap(base128));
}

function base128(arc: bigint): number[] {
  const octets = [Number(arc & 0x7fn)];
  for (let high = arc >> 7n; high > 0n; high >>= 7n) octets.unshift(Number(high & 0x7fn) | 0x80);
  return octets;
}

/** A named BIT STRING with `bits` set, without trailing zero bits. */
export function bitsString(bits: Iterable<number>): Uint8Array<ArrayBuffer> {
  const numbers = [...bits];
  if (numbers.length === 0) return tlv(TAG.BIT_STRING, Uint8Array.of(0));
  const highest = Math.max(...numbers);
  const octets = new Uint8Array((highest >> 3) + 1);
  for (const bit of numbers) octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return tlv(TAG.BIT_STRING, Uint8Array.of(7 - (highest & 7)), octets);
}

/** UTCTime until 2049 and GeneralizedTime from 2050 (RFC 5280 4.1.2.5); fractions of a second are cut off. */
export function time(date: Date): Uint8Array<ArrayBuffer> {
  const year = date.getUTCFullYear();
  if (Number.isNaN(year) || year < 1950 || year > 9999) {
    throw new PkiError('bad-input', `encode Time: expected a year from 1950 to 9999, got ${String(date)}`);
  }
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return year < 2050
    ? tlv(TAG.UTC_TIME, new TextEncoder().encode(digits.slice(2)))
    : tlv(TAG.GENERALIZED_TIME, new TextEncoder().encode(digits));
}

/** GeneralizedTime whatever the year; fractions of a second are cut off. Throws {@link PkiError} `bad-input` for no date. */
export function generalizedTime(date: Date): Uint8Array<ArrayBuffer> {
  if (Number.isNaN(date.getTime()))
    throw new PkiError('bad-input', 'encode GeneralizedTime: expected a date, got none');
  return tlv(TAG.GENERALIZED_TIME, new TextEncoder().encode(date.toISOString().replace(/[-:T]|\.\d+/g, '')));
}

/** ENUMERATED. */
export const enumerated = (value: number): Uint8Array<ArrayBuffer> => tlv(TAG.ENUMERATED, Uint8Array.of(value));

/** An ASCII string type; throws {@link PkiError} `bad-input` for other characters. */
export function ascii(tag: number, text: string): Uint8Array<ArrayBuffer> {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: IA5String contains them
  if (!/^[\x00-\x7f]*$/.test(text)) throw new PkiError('bad-input', `encode IA5String: expected ASCII, got ${text}`);
  return tlv(tag, new TextEncoder().encode(text));
}

function lengthOctets(length: number): number[] {
  if (length < 0x80) return [length];
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest & 0xff);
  return [0x80 | octets.length, ...octets];
}

function compareOctets(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function hexTag(tag: number): string {
  return tag < 0 ? 'the end' : `0x${tag.toString(16).padStart(2, '0')}`;
}

const encodedOids = new Map<string, Uint8Array<ArrayBuffer>>();
