/** Structures, unions, counted arrays and sized regions. */
import type { Codec, Infer } from './codec.js';
import { type CompiledReader, type CompiledWriter, compileReader, compileWriter, GAVE_UP } from './compile.js';
import { WireError } from './error.js';
import { tooLong } from './primitives.js';
import type { Reader } from './reader.js';
import { shaped } from './shape.js';
import type { Writer } from './writer.js';

/** A field whose format depends on an earlier field of the same structure, its selector. */
export interface UnionField<S extends string, C extends Readonly<Record<number, Codec<unknown>>>> {
  /** The field that selects. */
  readonly selector: S;
  /** The codec for each value of the selector. */
  readonly cases: C;
}

// biome-ignore lint/suspicious/noExplicitAny: a field may code any type; `unknown` would make codecs contravariant here
type AnyCodec = Codec<any>;
type AnyUnion = UnionField<string, Readonly<Record<number, AnyCodec>>>;

/** The fields of a structure in wire order. */
export type Fields = Readonly<Record<string, AnyCodec | AnyUnion>>;

type Selector<F extends Fields> = { [K in keyof F]: F[K] extends UnionField<infer S, infer _> ? S : never }[keyof F];
type Cases<F extends Fields> = {
  [K in keyof F]: F[K] extends UnionField<string, infer C> ? keyof C : never;
}[keyof F] &
  number;
type PlainValue<F extends Fields> = { readonly [K in keyof F]: F[K] extends AnyCodec ? Infer<F[K]> : never };
type CaseValue<F extends Fields, V extends number> = {
  readonly [K in keyof F]: F[K] extends UnionField<string, infer C>
    ? V extends keyof C
      ? Infer<C[V]>
      : never
    : K extends Selector<F>
      ? V
      : F[K] extends AnyCodec
        ? Infer<F[K]>
        : never;
};
type UndefinedKeys<T> = { [K in keyof T]: undefined extends T[K] ? K : never }[keyof T];
type OptionalWhereUndefined<T> = [UndefinedKeys<T>] extends [never]
  ? T
  : { readonly [K in Exclude<keyof T, UndefinedKeys<T>>]: T[K] } & { readonly [K in UndefinedKeys<T>]?: T[K] };
type Distribute<F extends Fields, V extends number> = V extends number
  ? OptionalWhereUndefined<CaseValue<F, V>>
  : never;

/** The value type of a structure: an object, or a union of objects told apart by the selector where a field is a union. */
export type StructValue<F extends Fields> = [Selector<F>] extends [never]
  ? OptionalWhereUndefined<PlainValue<F>>
  : Distribute<F, Cases<F>>;

/** A field that takes the codec of `cases` that the field named `selector` picks. */
/* @__NO_SIDE_EFFECTS__ */
export function union<const S extends string, const C extends Readonly<Record<number, AnyCodec>>>(
  selector: S,
  cases: C,
): UnionField<S, C> {
  return { selector, cases };
}

/** A structure codec; it knows its fields, so that others can describe or extend it. */
export interface StructCodec<F extends Fields> extends Codec<StructValue<F>> {
  /** The fields in wire order. */
  readonly fields: F;
}

/** Fields one after another, in the order in which `fields` lists them. A structure that is used often is compiled: see compile.ts. */
/* @__NO_SIDE_EFFECTS__ */
export function struct<const F extends Fields>(name: string, fields: F): StructCodec<F> {
  // Listed at the first use: a protocol's library describes hundreds of structures, and a program uses a few of them.
  let parts: Parts | undefined;
  let readsLeft = COMPILE_AFTER;
  let writesLeft = COMPILE_AFTER;
  let fastRead: CompiledReader | undefined;
  let fastWrite: CompiledWriter | undefined;
  const codec: StructCodec<F> = {
    name,
    fields,
    read(r: Reader) {
      if (readsLeft > 0 && --readsLeft === 0) fastRead = compileReader(codec);
      const value = fastRead === undefined ? GAVE_UP : fastRead(r);
      // Either way the value is built field by field from `fields`.
      if (value !== GAVE_UP) return value as StructValue<F>;
      parts ??= Object.entries(fields);
      return readFields(name, parts, r) as StructValue<F>;
    },
    write(w: Writer, value: StructValue<F>) {
      if (writesLeft > 0 && --writesLeft === 0) fastWrite = compileWriter(codec);
      if (fastWrite?.(w, value)) return;
      if (typeof value !== 'object' || value === null) throw w.refuse(name, `expected an object, got ${value}`);
      parts ??= Object.entries(fields);
      writeFields(name, parts, w, value);
    },
  };
  return shaped(codec, { kind: 'struct', fields });
}

/** Fewer uses than this are done before a compilation has paid off. */
const COMPILE_AFTER = 50;

type Parts = readonly (readonly [key: string, part: AnyCodec | AnyUnion])[];

function readFields(name: string, parts: Parts, r: Reader): Readonly<Record<string, unknown>> {
  const value: Record<string, unknown> = {};
  let field: string | undefined;
  try {
    for (const [key, part] of parts) {
      field = key;
      const codec = 'selector' in part ? pick(name, part, value, r.offset) : part;
      value[key] = codec.read(r);
    }
  } catch (error) {
    throw enclose(error, field);
  }
  return value;
}

function writeFields(name: string, parts: Parts, w: Writer, value: Readonly<Record<string, unknown>>): void {
  let field: string | undefined;
  try {
    for (const [key, part] of parts) {
      field = key;
      const codec = 'selector' in part ? pickForWrite(name, part, value, w) : part;
      codec.write(w, value[key]);
    }
  } catch (error) {
    throw enclose(error, field);
  }
}

function pick(name: string, part: AnyUnion, value: Record<string, unknown>, offset: number): AnyCodec {
  const selector = value[part.selector] as number; // the selector is a number field read before
  const codec = part.cases[selector];
  if (codec) return codec;
  const problem = `${part.selector} 0x${Number(selector).toString(16)} selects no member`;
  throw new WireError('bad-value', `decode ${name}`, problem, offset);
}

function pickForWrite(name: string, part: AnyUnion, value: Record<string, unknown>, w: Writer): AnyCodec {
  const codec = part.cases[value[part.selector] as number];
  if (codec) return codec;
  throw w.refuse(name, `${part.selector} ${String(value[part.selector])} selects no member`);
}

/** `count` elements behind their count, at most `max`. */
/* @__NO_SIDE_EFFECTS__ */
export function array<T>(
  name: string,
  count: Codec<number>,
  element: Codec<T>,
  bounds: { readonly max: number },
): Codec<readonly T[]> {
  const codec: Codec<readonly T[]> = {
    name,
    read(r) {
      const at = r.offset;
      const length = count.read(r);
      if (length > bounds.max) throw tooLong(name, bounds.max, length, 'elements', at);
      const values: T[] = [];
      try {
        while (values.length < length) values.push(element.read(r));
      } catch (error) {
        throw enclose(error, values.length);
      }
      return values;
    },
    write(w, values) {
      if (!Array.isArray(values)) throw w.refuse(name, `expected an array, got ${typeof values}`);
      if (values.length > bounds.max) {
        throw w.refuse(name, `expected at most ${bounds.max} elements, got ${values.length}`);
      }
      count.write(w, values.length);
      let i = 0;
      try {
        for (; i < values.length; i++) element.write(w, values[i] as T); // i is in range
      } catch (error) {
        throw enclose(error, i);
      }
    },
  };
  return shaped(codec, { kind: 'array', count, element, max: bounds.max });
}

/** Elements up to the end of the enclosing bounded region, at most `max`. */
/* @__NO_SIDE_EFFECTS__ */
export function repeated<T>(name: string, element: Codec<T>, bounds: { readonly max: number }): Codec<readonly T[]> {
  const codec: Codec<readonly T[]> = {
    name,
    read(r) {
      const values: T[] = [];
      while (r.remaining > 0) {
        if (values.length === bounds.max) {
          throw tooLong(name, bounds.max, bounds.max + 1, 'elements', r.offset);
        }
        try {
          values.push(element.read(r));
        } catch (error) {
          throw enclose(error, values.length);
        }
      }
      return values;
    },
    write(w, values) {
      if (!Array.isArray(values)) throw w.refuse(name, `expected an array, got ${typeof values}`);
      if (values.length > bounds.max) {
        throw w.refuse(name, `expected at most ${bounds.max} elements, got ${values.length}`);
      }
      for (const value of values) element.write(w, value);
    },
  };
  return shaped(codec, { kind: 'repeated', element, max: bounds.max });
}

/** A value behind its length in bytes; the value must fill that length exactly. */
/* @__NO_SIDE_EFFECTS__ */
export function sized<T>(
  name: string,
  length: Codec<number>,
  inner: Codec<T>,
  bounds: { readonly max?: number } = {},
): Codec<T> {
  const codec: Codec<T> = {
    name,
    read(r) {
      const at = r.offset;
      const size = length.read(r);
      if (bounds.max !== undefined && size > bounds.max) throw tooLong(name, bounds.max, size, 'bytes', at);
      return r.bounded(size, name, () => inner.read(r));
    },
    write(w, value) {
      const at = w.offset;
      length.write(w, 0);
      const start = w.offset;
      inner.write(w, value);
      const size = w.offset - start;
      if (bounds.max !== undefined && size > bounds.max) {
        throw w.refuse(name, `expected at most ${bounds.max} bytes, got ${size}`);
      }
      w.patch(at, () => length.write(w, size));
    },
  };
  return shaped(codec, { kind: 'sized', length, inner, max: bounds.max ?? Number.POSITIVE_INFINITY, optional: false });
}

/** A value behind its length where length 0 stands for `undefined` (a TPM2B that may be empty). */
/* @__NO_SIDE_EFFECTS__ */
export function optionalSized<T>(name: string, length: Codec<number>, inner: Codec<T>): Codec<T | undefined> {
  const present = sized(name, length, inner);
  const codec: Codec<T | undefined> = {
    name,
    read(r) {
      const size = length.read(r);
      return size === 0 ? undefined : r.bounded(size, name, () => inner.read(r));
    },
    write(w, value) {
      if (value === undefined) length.write(w, 0);
      else present.write(w, value);
    },
  };
  return shaped(codec, { kind: 'sized', length, inner, max: Number.POSITIVE_INFINITY, optional: true });
}

/** `inner` under another value type: `to` after reading, `from` before writing. */
/* @__NO_SIDE_EFFECTS__ */
export function mapped<A, B>(name: string, inner: Codec<A>, to: (value: A) => B, from: (value: B) => A): Codec<B> {
  const codec: Codec<B> = { name, read: (r) => to(inner.read(r)), write: (w, value) => inner.write(w, from(value)) };
  return shaped(codec, { kind: 'mapped', inner, to, from });
}

/** `inner` with a check after reading and before writing; `problem` returns what is wrong, or `undefined`. */
/* @__NO_SIDE_EFFECTS__ */
export function checked<T>(name: string, inner: Codec<T>, problem: (value: T) => string | undefined): Codec<T> {
  const codec: Codec<T> = {
    name,
    read(r) {
      const at = r.offset;
      const value = inner.read(r);
      const wrong = problem(value);
      if (wrong !== undefined) throw new WireError('bad-value', `decode ${name}`, wrong, at);
      return value;
    },
    write(w, value) {
      const wrong = problem(value);
      if (wrong !== undefined) throw w.refuse(name, wrong);
      inner.write(w, value);
    },
  };
  return shaped(codec, { kind: 'checked', inner, problem });
}

/** A codec that is made when it is first used, for formats that contain themselves. */
/* @__NO_SIDE_EFFECTS__ */
export function lazy<T>(name: string, make: () => Codec<T>): Codec<T> {
  let made: Codec<T> | undefined;
  const get = (): Codec<T> => {
    made ??= make();
    return made;
  };
  return { name, read: (r) => get().read(r), write: (w, value) => get().write(w, value) };
}

function enclose(error: unknown, field: string | number | undefined): unknown {
  return error instanceof WireError && field !== undefined ? error.within(field) : error;
}
