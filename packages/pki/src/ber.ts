/**
 * BER made into DER as far as lengths go (ITU-T X.690 sections 8.1.3 and 8.7.3): indefinite lengths and octet strings in pieces, which
 * PKCS#12 files of browsers and smart cards have. What the bytes mean is left to the strict reader.
 */
import { concat } from './bytes.js';
import { TAG, tlv } from './der.js';
import { malformed } from './error.js';

const MAX_DEPTH = 32;
const CONSTRUCTED = 0x20;
const CONSTRUCTED_OCTETS = 0x24;

/**
 * The same value with definite lengths and whole octet strings, and what of DER holds for its contents.
 * Throws {@link PkiError} `malformed` for bytes that are no BER, more than one value, or more than 32 levels.
 */
export function berToDer(bytes: Uint8Array): Uint8Array {
  const { der, end } = element(bytes, 0, bytes.length, 0);
  if (end !== bytes.length) throw malformed('BER', `expected one value, got ${bytes.length - end} more bytes`);
  return der;
}

interface Read {
  readonly der: Uint8Array;
  readonly end: number;
}

function element(bytes: Uint8Array, at: number, limit: number, depth: number): Read {
  if (depth > MAX_DEPTH) throw malformed('BER', `expected at most ${MAX_DEPTH} levels, got more`);
  const tag = octet(bytes, at, limit);
  if ((tag & 0x1f) === 0x1f) throw malformed('BER', 'expected a tag number below 31, got a long form');
  const { length, start } = lengthAt(bytes, at + 1, limit);
  const stop = length === undefined ? limit : start + length;
  if (stop > limit) throw malformed('BER', `expected ${length} bytes of contents, got ${limit - start}`);
  if ((tag & CONSTRUCTED) === 0) {
    if (length === undefined)
      throw malformed('BER', 'expected a definite length of a primitive value, got an indefinite one');
    return { der: tlv(tag, bytes.subarray(start, stop)), end: stop };
  }
  const { parts, end } = elements(bytes, start, stop, length === undefined, depth);
  return { der: tag === CONSTRUCTED_OCTETS ? joinedOctets(parts) : tlv(tag, ...parts), end };
}

function elements(bytes: Uint8Array, start: number, stop: number, isOpen: boolean, depth: number) {
  const parts: Uint8Array[] = [];
  let at = start;
  while (isOpen ? octet(bytes, at, stop) !== 0 : at < stop) {
    const { der, end } = element(bytes, at, stop, depth + 1);
    parts.push(der);
    at = end;
  }
  if (!isOpen) return { parts, end: at };
  if (octet(bytes, at + 1, stop) !== 0) throw malformed('BER', 'expected the end of contents, got another value');
  return { parts, end: at + 2 };
}

function joinedOctets(parts: readonly Uint8Array[]): Uint8Array {
  const contents = parts.map((part) => {
    if (part[0] !== TAG.OCTET_STRING) throw malformed('BER', 'expected pieces of an octet string, got another value');
    return part.subarray(headerLength(part));
  });
  return tlv(TAG.OCTET_STRING, concat(...contents));
}

function headerLength(der: Uint8Array): number {
  const first = der[1] ?? 0;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

function lengthAt(
  bytes: Uint8Array,
  at: number,
  limit: number,
): { readonly length: number | undefined; readonly start: number } {
  const first = octet(bytes, at, limit);
  if (first === 0x80) return { length: undefined, start: at + 1 };
  if (first < 0x80) return { length: first, start: at + 1 };
  const count = first & 0x7f;
  if (count > 4) throw malformed('BER', `expected at most 4 length octets, got ${count}`);
  let length = 0;
  for (let i = 1; i <= count; i++) length = length * 256 + octet(bytes, at + i, limit);
  return { length, start: at + 1 + count };
}

function octet(bytes: Uint8Array, at: number, limit: number): number {
  const value = at < limit ? bytes[at] : undefined;
  if (value === undefined) throw malformed('BER', 'expected another byte, got the end');
  return value;
}
