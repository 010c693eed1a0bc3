/** Structures, unions, counted arrays and sized regions. */
import type { Codec, Infer } from './codec.js';
import { WireError } from './error.js';
import { tooLong } from './primitives.js';
import type { Reader } from './reader.js';
import type { Writer } from './writer.js';

/** A field whose format depends on an earlier field of the same structure, its selector. */
export interface UnionField<S extends string, C extends Readonly<Record<number, Codec<unknown>>>> {
  readonly selector: S;
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
export function union<const S extends string, const C extends Readonly<Record<number, AnyCodec>>>(
  selector: S,
  cases: C,
): UnionField<S, C> {
  return { selector, cases };
}

/** A structure codec; it knows its fields, so that others can describe or extend it. */
export interface StructCodec<F extends Fields> extends Codec<StructValue<F>> {
  readonly fields: F;
}

/** Fields one after another, in the order in which `fields` lists them. */
export function struct<const F extends Fields>(name: string, fields: F): StructCodec<F> {
  const keys = Object.keys(fields);
  const parts = keys.map((key) => fields[key] as AnyCodec | AnyUnion); // keys come from fields
  return {
    name,
    fields,
    read(r: Reader) {
      const value: Record<string, unknown> = {};
      let i = 0;
      try {
        for (; i < parts.length; i++) {
          const part = parts[i] as AnyCodec | AnyUnion; // i is in range
          const codec = 'selector' in part ? pick(name, part, value, r.offset) : part;
          value[keys[i] as string] = codec.read(r);
        }
      } catch (error) {
        throw enclose(error, keys[i]);
      }
      return value as StructValue<F>; // built field by field from the same description
    },
    write(w: Writer, value: StructValue<F>) {
      if (typeof value !== 'object' || value === null) throw w.refuse(name, `expected an object, got ${value}`);
      const given = value as Record<string, unknown>;
      let i = 0;
      try {
        for (; i < parts.length; i++) {
          const part = parts[i] as AnyCodec | AnyUnion; // i is in range
          const codec = 'selector' in part ? pickForWrite(name, part, given, w) : part;
          codec.write(w, given[keys[i] as string]);
        }
      } catch (error) {
        throw enclose(error, keys[i]);
      }
    },
  };
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
export function array<T>(
  name: string,
  count: Codec<number>,
  element: Codec<T>,
  bounds: { readonly max: number },
): Codec<readonly T[]> {
  return {
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
      values.forEach((value, i) => {
        try {
          element.write(w, value);
        } catch (error) {
          throw enclose(error, i);
        }
      });
    },
  };
}

/** Elements up to the end of the enclosing bounded region, at most `max`. */
export function repeated<T>(name: string, element: Codec<T>, bounds: { readonly max: number }): Codec<readonly T[]> {
  return {
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
      if (values.length > bounds.max) {
        throw w.refuse(name, `expected at most ${bounds.max} elements, got ${values.length}`);
      }
      for (const value of values) element.write(w, value);
    },
  };
}

/** A value behind its length in bytes; the value must fill that length exactly. */
export function sized<T>(
  name: string,
  length: Codec<number>,
  inner: Codec<T>,
  bounds: { readonly max?: number } = {},
): Codec<T> {
  return {
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
}

/** A value behind its length where length 0 stands for `undefined` (a TPM2B that may be empty). */
export function optionalSized<T>(name: string, length: Codec<number>, inner: Codec<T>): Codec<T | undefined> {
  const present = sized(name, length, inner);
  return {
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
}

/** `inner` under another value type: `to` after reading, `from` before writing. */
export function mapped<A, B>(name: string, inner: Codec<A>, to: (value: A) => B, from: (value: B) => A): Codec<B> {
  return { name, read: (r) => to(inner.read(r)), write: (w, value) => inner.write(w, from(value)) };
}

/** `inner` with a check after reading and before writing; `problem` returns what is wrong, or `undefined`. */
export function checked<T>(name: string, inner: Codec<T>, problem: (value: T) => string | undefined): Codec<T> {
  return {
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
}

/** A codec that is made when it is first used, for formats that contain themselves. */
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
