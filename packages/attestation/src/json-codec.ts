/** JSON formats described once for both directions: bounded, strict, and with one text for one value. */
import { AttestationError } from './error.js';
import { fromBase64, toBase64 } from './octets.js';

/** A JSON format. Reading refuses everything that writing would not have made, the order of members apart. */
export interface JsonCodec<T> {
  /** Takes `json`, as JSON.parse gave it, at the place `path`. Throws {@link AttestationError} `malformed`. */
  read(json: unknown, path: string): T;
  /** The JSON value; members stand in the order of the description. */
  write(value: T): unknown;
}

/** The value type of a JSON format. */
type JsonValue<C> = C extends JsonCodec<infer T> ? T : never;

type Members = Readonly<Record<string, JsonCodec<unknown>>>;
type MemberValues<M extends Members> = { readonly [K in keyof M]: JsonValue<M[K]> };
type Optional<T> = { readonly [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> } & {
  readonly [K in keyof T as undefined extends T[K] ? never : K]: T[K];
};

/** Parses `text` (at most `maximum` characters) under `codec`. Throws {@link AttestationError} `malformed`. */
export function parseJson<T>(what: string, codec: JsonCodec<T>, text: string, maximum: number): T {
  if (text.length > maximum) throw refusal(what, `expected at most ${maximum} characters, got ${text.length}`);
  assertShape(what, text);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new AttestationError('malformed', `parse ${what}: expected JSON`, { cause });
  }
  return codec.read(json, what);
}

/** More than the formats here have. */
const MAX_DEPTH = 8;
/** A policy with as many rules as it may have has fewer values. */
const MAX_VALUES = 0x80000;

/**
 * Refuses what is deeper, or of more values, than any format here. JSON.parse makes an object of every bracket before a codec sees one:
 * a text of 64 Mi brackets takes two gigabytes and ends a process that has not as many. Strings are stepped over, good JSON or not.
 */
function assertShape(what: string, text: string): void {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === QUOTE) at = endOfString(text, at);
    else if (character === COMMA) values++;
    else if ((character | 0x20) === OPENING) depth++;
    else if ((character | 0x20) === CLOSING) depth--;
    if (depth > MAX_DEPTH) throw refusal(what, `expected at most ${MAX_DEPTH} levels`);
    if (values > MAX_VALUES) throw refusal(what, `expected at most ${MAX_VALUES} values`);
  }
}

function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let before = at;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((at - before) % 2 === 0) return at;
  }
  return text.length;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
/** `{`, and `[` but for the bit 0x20; likewise the next. */
const OPENING = 0x7b;
const CLOSING = 0x7d;

/** The one text for `value` under `codec`, without white space; bytes of it may be hashed. */
export function writeJson<T>(codec: JsonCodec<T>, value: T): string {
  return JSON.stringify(codec.write(value));
}

/** An object with exactly these members; unknown and missing ones are refused, {@link optional} ones may be missing. */
export function object<const M extends Members>(members: M): JsonCodec<Optional<MemberValues<M>>> {
  const names = Object.keys(members);
  return {
    read(json, path) {
      if (typeof json !== 'object' || json === null || Array.isArray(json)) throw refusal(path, 'expected an object');
      const given = new Map<string, unknown>(Object.entries(json));
      const value: Record<string, unknown> = {};
      for (const name of names) {
        const member = members[name]?.read(given.get(name), `${path}.${name}`);
        if (member !== undefined) value[name] = member;
        given.delete(name);
      }
      for (const name of given.keys()) throw refusal(path, `unknown member ${JSON.stringify(name.slice(0, 64))}`);
      return value as Optional<MemberValues<M>>; // every member was read under its own description
    },
    write(value) {
      const from = value as Readonly<Record<string, unknown>>; // the type says that the members are there
      return Object.fromEntries(
        names.flatMap((name) => (from[name] === undefined ? [] : [[name, members[name]?.write(from[name])]])),
      );
    },
  };
}

/** A member that may be missing. */
export function optional<T>(codec: JsonCodec<T>): JsonCodec<T | undefined> {
  return {
    read: (json, path) => (json === undefined ? undefined : codec.read(json, path)),
    write: (value) => (value === undefined ? undefined : codec.write(value)),
  };
}

/** At most `max` elements. */
export function list<T>(element: JsonCodec<T>, max: number): JsonCodec<readonly T[]> {
  return {
    read(json, path) {
      if (!Array.isArray(json)) throw refusal(path, 'expected an array');
      if (json.length > max) throw refusal(path, `expected at most ${max} elements, got ${json.length}`);
      return json.map((item, i) => element.read(item, `${path}[${i}]`));
    },
    write: (values) => values.map((value) => element.write(value)),
  };
}

/** An object whose member names match `key`, at most `max` of them, in ascending order when written. */
export function dictionary<T>(key: RegExp, element: JsonCodec<T>, max: number): JsonCodec<Readonly<Record<string, T>>> {
  return {
    read(json, path) {
      if (typeof json !== 'object' || json === null || Array.isArray(json)) throw refusal(path, 'expected an object');
      const members = Object.entries(json);
      if (members.length > max) throw refusal(path, `expected at most ${max} members, got ${members.length}`);
      const wrong = members.find(([name]) => !key.test(name));
      if (wrong) throw refusal(path, `unknown member ${JSON.stringify(wrong[0].slice(0, 64))}`);
      return Object.fromEntries(members.map(([name, value]) => [name, element.read(value, `${path}.${name}`)]));
    },
    write: (values) =>
      Object.fromEntries(
        Object.entries(values)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, value]) => [name, element.write(value)]),
      ),
  };
}

/** Bytes as canonical base64. */
export function base64(bounds: { readonly min?: number; readonly max: number }): JsonCodec<Uint8Array> {
  return {
    read(json, path) {
      if (typeof json !== 'string') throw refusal(path, 'expected base64 text');
      if (json.length > Math.ceil(bounds.max / 3) * 4) throw refusal(path, `expected at most ${bounds.max} bytes`);
      const value = fromBase64(json);
      if (value === undefined) throw refusal(path, 'expected canonical base64');
      if (value.length > bounds.max || value.length < (bounds.min ?? 0)) {
        throw refusal(path, `expected ${bounds.min ?? 0} to ${bounds.max} bytes, got ${value.length}`);
      }
      return value;
    },
    write: toBase64,
  };
}

/** Text of at most `max` UTF-16 units that matches `pattern` where one is given. */
export function text(max: number, pattern?: RegExp): JsonCodec<string> {
  return {
    read(json, path) {
      if (typeof json !== 'string') throw refusal(path, 'expected text');
      if (json.length > max) throw refusal(path, `expected at most ${max} characters, got ${json.length}`);
      if (pattern && !pattern.test(json)) throw refusal(path, `expected text like ${pattern.source}`);
      return json;
    },
    write: (value) => value,
  };
}

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number): JsonCodec<number> {
  return {
    read(json, path) {
      if (typeof json !== 'number' || !Number.isSafeInteger(json) || json < min || json > max || Object.is(json, -0)) {
        throw refusal(path, `expected a whole number from ${min} to ${max}`);
      }
      return json;
    },
    write: (value) => value,
  };
}

/** `true` or `false`. */
export const boolean: JsonCodec<boolean> = {
  read(json, path) {
    if (typeof json !== 'boolean') throw refusal(path, 'expected true or false');
    return json;
  },
  write: (value) => value,
};

/** One of a few fixed texts or numbers. */
export function oneOf<const V extends string | number>(values: readonly V[]): JsonCodec<V> {
  return {
    read(json, path) {
      const value = values.find((allowed) => allowed === json);
      if (value === undefined) throw refusal(path, `expected one of ${values.join(', ')}`);
      return value;
    },
    write: (value) => value,
  };
}

function refusal(path: string, problem: string): AttestationError {
  return new AttestationError('malformed', `parse ${path}: ${problem}`);
}
