/** Integers, byte strings, constants, enumerations and flags. */
import type { Codec } from './codec.js';
import { WireError } from './error.js';
import type { Reader } from './reader.js';
import { shaped } from './shape.js';
import type { Writer } from './writer.js';

/** Unsigned 8-bit integer. */
export const u8: Codec<number> = uint8('u8');

/** Unsigned 16-bit integer, big-endian. */
export const u16: Codec<number> = uint16('u16');

/** Unsigned 32-bit integer, big-endian. */
export const u32: Codec<number> = uint32('u32');

/** Unsigned 64-bit integer, big-endian. */
export const u64: Codec<bigint> = shaped(
  { name: 'u64', read: (r) => r.u64('u64'), write: (w, v) => w.u64(v, 'u64') },
  { kind: 'uint', octets: 8, littleEndian: false },
);

/** Unsigned 8-bit integer under a name of its own, which its errors carry. */
/* @__NO_SIDE_EFFECTS__ */
export function uint8(name: string): Codec<number> {
  const codec: Codec<number> = { name, read: (r) => r.u8(name), write: (w, v) => w.u8(v, name) };
  return shaped(codec, { kind: 'uint', octets: 1, littleEndian: false });
}

/** Unsigned 16-bit integer, big-endian, under a name of its own, which its errors carry. */
/* @__NO_SIDE_EFFECTS__ */
export function uint16(name: string): Codec<number> {
  const codec: Codec<number> = { name, read: (r) => r.u16(name), write: (w, v) => w.u16(v, name) };
  return shaped(codec, { kind: 'uint', octets: 2, littleEndian: false });
}

/** Unsigned 32-bit integer, big-endian, under a name of its own, which its errors carry. */
/* @__NO_SIDE_EFFECTS__ */
export function uint32(name: string): Codec<number> {
  const codec: Codec<number> = { name, read: (r) => r.u32(name), write: (w, v) => w.u32(v, name) };
  return shaped(codec, { kind: 'uint', octets: 4, littleEndian: false });
}

/** Unsigned 16-bit integer, little-endian. */
export const u16le: Codec<number> = {
  name: 'u16le',
  read: (r) => r.u16('u16le', true),
  write: (w, v) => w.u16(v, 'u16le', true),
};

/** Unsigned 32-bit integer, little-endian. */
export const u32le: Codec<number> = {
  name: 'u32le',
  read: (r) => r.u32('u32le', true),
  write: (w, v) => w.u32(v, 'u32le', true),
};

/** Unsigned 64-bit integer, little-endian. */
export const u64le: Codec<bigint> = {
  name: 'u64le',
  read: (r) => r.u64('u64le', true),
  write: (w, v) => w.u64(v, 'u64le', true),
};

/** No bytes at all; the value is `undefined`. */
export const empty: Codec<undefined> = shaped(
  { name: 'empty', read: () => undefined, write: () => undefined },
  { kind: 'empty' },
);

/** Exactly `length` bytes. */
/* @__NO_SIDE_EFFECTS__ */
export function bytes(name: string, length: number): Codec<Uint8Array> {
  const codec: Codec<Uint8Array> = {
    name,
    read: (r) => r.take(length, name),
    write(w, value) {
      if (value?.length !== length) throw w.refuse(name, `expected ${length} bytes, got ${value?.length}`);
      w.put(value, name);
    },
  };
  return shaped(codec, { kind: 'bytes', length });
}

/** All bytes up to the end of the enclosing bounded region, at most `max`. */
/* @__NO_SIDE_EFFECTS__ */
export function rest(name: string, max: number): Codec<Uint8Array> {
  const codec: Codec<Uint8Array> = {
    name,
    read(r) {
      if (r.remaining > max) throw tooLong(name, max, r.remaining, 'bytes', r.offset);
      return r.take(r.remaining, name);
    },
    write(w, value) {
      if (value?.length > max) throw w.refuse(name, `expected at most ${max} bytes, got ${value.length}`);
      w.put(value, name);
    },
  };
  return shaped(codec, { kind: 'rest', max });
}

/** A byte string behind its length. `max` and `min` bound the length in bytes. */
/* @__NO_SIDE_EFFECTS__ */
export function sizedBytes(
  name: string,
  length: Codec<number>,
  bounds: { readonly max: number; readonly min?: number },
): Codec<Uint8Array> {
  const { max, min = 0 } = bounds;
  const codec: Codec<Uint8Array> = {
    name,
    read(r) {
      const at = r.offset;
      const size = length.read(r);
      if (size > max) throw tooLong(name, max, size, 'bytes', at);
      if (size < min) throw tooShort(name, min, size, 'bytes', at);
      return r.take(size, name);
    },
    write(w, value) {
      if (!(value instanceof Uint8Array)) throw w.refuse(name, `expected a Uint8Array, got ${typeof value}`);
      if (value.length > max) throw w.refuse(name, `expected at most ${max} bytes, got ${value.length}`);
      if (value.length < min) throw w.refuse(name, `expected at least ${min} bytes, got ${value.length}`);
      length.write(w, value.length);
      w.put(value, name);
    },
  };
  return shaped(codec, { kind: 'sizedBytes', length, min, max });
}

/** UTF-8 text behind its length in bytes; malformed UTF-8 is refused. */
/* @__NO_SIDE_EFFECTS__ */
export function text(name: string, length: Codec<number>, bounds: { readonly max: number }): Codec<string> {
  const raw = sizedBytes(name, length, bounds);
  return {
    name,
    read(r) {
      const at = r.offset;
      const value = raw.read(r);
      try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
      } catch {
        throw new WireError('bad-value', `decode ${name}`, 'expected UTF-8, got other bytes', at);
      }
    },
    write: (w, value) => raw.write(w, new TextEncoder().encode(value)),
  };
}

/** A number that must be one of `values`; the value type is their union. */
/* @__NO_SIDE_EFFECTS__ */
export function oneOf<const V extends number>(name: string, base: Codec<number>, values: readonly V[]): Codec<V> {
  const allowed = new Set<number>(values);
  const codec: Codec<V> = {
    name,
    read(r) {
      const at = r.offset;
      const value = base.read(r);
      if (!allowed.has(value)) throw badValue(name, value, at);
      return value as V; // checked by the line above
    },
    write(w, value) {
      if (!allowed.has(value)) throw w.refuse(name, `0x${Number(value).toString(16)} is not a value of it`);
      base.write(w, value);
    },
  };
  return shaped(codec, { kind: 'oneOf', base, values });
}

/** A number within one of `ranges`, each from its first to its last; a single number is a range of its own. */
/* @__NO_SIDE_EFFECTS__ */
export function within(
  name: string,
  base: Codec<number>,
  ranges: readonly (readonly [first: number, last: number])[],
): Codec<number> {
  const isAllowed = (value: number) => ranges.some(([first, last]) => value >= first && value <= last);
  const codec: Codec<number> = {
    name,
    read(r) {
      const at = r.offset;
      const value = base.read(r);
      if (!isAllowed(value)) throw badValue(name, value, at);
      return value;
    },
    write(w, value) {
      if (!isAllowed(value)) throw w.refuse(name, `0x${Number(value).toString(16)} is not a value of it`);
      base.write(w, value);
    },
  };
  return shaped(codec, { kind: 'within', base, ranges });
}

/** A bit field: a number in which only the bits of `mask` may be set. */
/* @__NO_SIDE_EFFECTS__ */
export function flags(name: string, base: Codec<number>, mask: number): Codec<number> {
  const reserved = ~mask;
  const codec: Codec<number> = {
    name,
    read(r) {
      const at = r.offset;
      const value = base.read(r);
      if ((value & reserved) !== 0) {
        throw new WireError('reserved-bits', `decode ${name}`, `reserved bits 0x${hex(value & reserved)} are set`, at);
      }
      return value;
    },
    write(w, value) {
      if (!Number.isInteger(value)) throw w.refuse(name, `expected an integer, got ${typeof value}`);
      if ((value & reserved) !== 0) throw w.refuse(name, `reserved bits 0x${hex(value & reserved)} are set`);
      // Bit 31 makes the result of JavaScript's bit operators negative.
      base.write(w, value < 0 && value >= -0x80000000 ? value >>> 0 : value);
    },
  };
  return shaped(codec, { kind: 'flags', base, mask });
}

/** A number that is always `value`: a magic or a version. */
/* @__NO_SIDE_EFFECTS__ */
export function constant<const V extends number | bigint>(
  name: string,
  base: Codec<V extends bigint ? bigint : number>,
  value: V,
): Codec<V> {
  // The conditional type says that V and the base agree; the casts only undo the widening.
  const untyped = base as unknown as { read(r: Reader): number | bigint; write(w: Writer, v: number | bigint): void };
  const codec: Codec<V> = {
    name,
    read(r) {
      const at = r.offset;
      const found = untyped.read(r);
      if (found !== value) throw badValue(name, found, at, value);
      return value;
    },
    write(w, given) {
      if (given !== value) throw w.refuse(name, `expected 0x${value.toString(16)}, got ${String(given)}`);
      untyped.write(w, value);
    },
  };
  return shaped(codec, { kind: 'constant', base, value });
}

function badValue(name: string, got: number | bigint, offset: number, expected?: number | bigint): WireError {
  const want = expected === undefined ? 'a value of it' : `0x${expected.toString(16)}`;
  return new WireError('bad-value', `decode ${name}`, `expected ${want}, got 0x${got.toString(16)}`, offset);
}

/** The error for a length or count above its bound. */
export function tooLong(name: string, max: number, got: number, what: string, offset: number): WireError {
  return new WireError('too-long', `decode ${name}`, `expected at most ${max} ${what}, got ${got}`, offset);
}

/** The error for a length or count below its bound. */
function tooShort(name: string, min: number, got: number, what: string, offset: number): WireError {
  return new WireError('too-short', `decode ${name}`, `expected at least ${min} ${what}, got ${got}`, offset);
}

function hex(value: number): string {
  return (value >>> 0).toString(16);
}
