/** CBOR as WebAuthn uses it (RFC 8949 section 4.2, CTAP2 canonical form): definite lengths, no tags, no floats; bounded. */
import { concat } from '../bytes.js';
import { malformed } from '../error.js';

/** A value. Maps have text as keys. */
export type Cbor = number | bigint | string | boolean | null | Uint8Array | readonly Cbor[] | ReadonlyMap<string, Cbor>;

const MAX_DEPTH = 8;
const MAX_ITEMS = 256;

/** Reads exactly one value. Throws {@link PkiError} `malformed`. */
export function parseCbor(bytes: Uint8Array): Cbor {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  reader.finish();
  return value;
}

class Reader {
  readonly #bytes: Uint8Array;
  #offset = 0;
  #items = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  finish(): void {
    if (this.#offset !== this.#bytes.length) throw malformed('CBOR', 'expected the end, got more bytes');
  }

  value(depth: number): Cbor {
    this.#items += 1;
    if (depth > MAX_DEPTH || this.#items > MAX_ITEMS) {
      throw malformed('CBOR', `expected at most ${MAX_DEPTH} levels and ${MAX_ITEMS} items`);
    }
    const initial = this.#take(1)[0] ?? 0;
    const major = initial >> 5;
    const argument = this.#argument(initial & 31);
    switch (major) {
      case 0:
        return small(argument);
      case 1:
        return small(-1n - argument);
      case 2:
        return this.#take(this.#length(argument)).slice();
      case 3:
        return utf8Text(this.#take(this.#length(argument)));
      case 4:
        return Array.from({ length: this.#length(argument) }, () => this.value(depth + 1));
      case 5:
        return this.#map(this.#length(argument), depth);
      case 7:
        return simple(initial & 31);
      default:
        throw malformed('CBOR', 'expected no tags, got one');
    }
  }

  #map(length: number, depth: number): ReadonlyMap<string, Cbor> {
    const map = new Map<string, Cbor>();
    for (let i = 0; i < length; i++) {
      const key = this.value(depth + 1);
      if (typeof key !== 'string' || map.has(key)) throw malformed('CBOR', 'expected keys of text, each once');
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  #take(length: number): Uint8Array {
    const end = this.#offset + length;
    if (end > this.#bytes.length) throw malformed('CBOR', `expected ${length} more bytes, got the end`);
    const part = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return part;
  }

  #argument(low: number): bigint {
    if (low < 24) return BigInt(low);
    if (low > 27) throw malformed('CBOR', 'expected a definite length, got another form');
    const size = 1 << (low - 24);
    const value = this.#take(size).reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
    const least = size === 1 ? 24n : 1n << BigInt(4 * size);
    if (value < least) throw malformed('CBOR', 'expected the shortest form of a number, got a longer one');
    return value;
  }

  /** A length is never more than what is left, so that no number makes room for what does not come. */
  #length(argument: bigint): number {
    if (argument > BigInt(this.#bytes.length - this.#offset))
      throw malformed('CBOR', 'expected as many bytes as announced, got less');
    return Number(argument);
  }
}

function small(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

function simple(low: number): boolean | null {
  if (low === 20 || low === 21) return low === 21;
  if (low === 22) return null;
  throw malformed('CBOR', 'expected true, false or null, got another simple value');
}

function utf8Text(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw malformed('CBOR', 'expected UTF-8 in text, got other bytes', cause);
  }
}

/** Writes a value; the keys of a map in the order of their encodings. */
export function encodeCbor(value: Cbor): Uint8Array {
  if (typeof value === 'number' || typeof value === 'bigint') {
    const number = BigInt(value);
    return number < 0n ? head(1, -1n - number) : head(0, number);
  }
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === 'string') return withLength(3, new TextEncoder().encode(value));
  if (value instanceof Uint8Array) return withLength(2, value);
  if (value instanceof Map) {
    const pairs = [...value].map(([key, each]: [string, Cbor]) => [encodeCbor(key), encodeCbor(each)] as const);
    pairs.sort(([a], [b]) => a.length - b.length || Buffer.compare(a, b));
    return concat(head(5, BigInt(pairs.length)), ...pairs.flat());
  }
  // What is left is an array: `Array.isArray` does not narrow readonly ones.
  const items = value as readonly Cbor[];
  return concat(head(4, BigInt(items.length)), ...items.map(encodeCbor));
}

function withLength(major: number, bytes: Uint8Array): Uint8Array {
  return concat(head(major, BigInt(bytes.length)), bytes);
}

function head(major: number, argument: bigint): Uint8Array {
  if (argument < 24n) return Uint8Array.of((major << 5) | Number(argument));
  const size = [1, 2, 4, 8].find((each) => argument < 1n << BigInt(8 * each)) ?? 8;
  const bytes = new Uint8Array(1 + size);
  bytes[0] = (major << 5) | (24 + Math.log2(size));
  for (let i = 0; i < size; i++) bytes[size - i] = Number((argument >> BigInt(8 * i)) & 0xffn);
  return bytes;
}
