/** Random values of every structure and command, made from what the codecs and the specification's tables say of themselves. */
import { type Codec, encode, type Fields, type UnionField, WireError } from '@casemate/wire';
import fc from 'fast-check';
import * as tpm from '../src/index.js';
import { exportName, tables } from './tables.js';

type AnyCodec = Codec<unknown>;
type Value = fc.Arbitrary<unknown>;

const exported: Readonly<Record<string, unknown>> = tpm;
const known = new Map<AnyCodec, Value>();

/** Values that `codec` can encode. Throws for a codec that neither itself nor a table describes. */
export function valuesOf(codec: AnyCodec): Value {
  const made = known.get(codec) ?? makeValues(codec);
  known.set(codec, made);
  return made;
}

/** Values of a structure with these fields. */
export function recordsOf(fields: Fields): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  const selector = Object.values(fields).find(isUnion)?.selector;
  if (selector === undefined) return record(mapValues(fields, (field) => valuesOf(memberOf(field))));
  const selected = memberOf(fields[selector]);
  const keys = keysOf(fields).filter((key) => isEncodable(selected, key) && !endsWithResponse(fields, key));
  return fc.oneof(
    ...keys.map((key) => {
      const members = mapValues(fields, (field, name) =>
        name === selector ? fc.constant(key) : valuesOf(memberOf(field, key)),
      );
      return record(members);
    }),
  );
}

/** Whether `key` picks the capabilities of a vendor: they have no end but the response's, so that fewer of them are others. */
function endsWithResponse(fields: Fields, key: number): boolean {
  return Object.values(fields).some((field) => isUnion(field) && field.cases[key]?.name === 'vendorProperty');
}

/** Whether `codec` encodes `value`. */
function isEncodable(codec: AnyCodec, value: unknown): boolean {
  try {
    encode(codec, value);
    return true;
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

/** The longest byte string that `codec` encodes, or -1 if it encodes none. */
function longest(codec: AnyCodec): number {
  let [low, high] = [-1, 0xffff];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (isEncodable(codec, new Uint8Array(middle))) low = middle;
    else high = middle - 1;
  }
  return low;
}

function makeValues(codec: AnyCodec): Value {
  if ('fields' in codec) return recordsOf(codec.fields as Fields);
  const plain = plainValues[codec.name];
  if (plain !== undefined) return plain;
  const found = listed(codec) ?? enclosed(codec) ?? bytesOf(codec) ?? numbersOf(codec);
  if (found === undefined) throw new Error(`nothing describes the values of ${codec.name}`);
  return found;
}

/** A TPML: the specification says what its elements are. */
function listed(codec: AnyCodec): Value | undefined {
  const table = tables.structures.find(({ type }) => type === codec.name && type.startsWith('TPML_'));
  const type = table?.fields[1]?.[1];
  if (type === undefined) return undefined;
  const minLength = isEncodable(codec, []) ? 0 : 2;
  return fc.array(valuesOf(lookUp(type)), { minLength, maxLength: 4 });
}

/** A TPM2B around a structure. */
function enclosed(codec: AnyCodec): Value | undefined {
  const table = tables.structures.find(({ type }) => type === codec.name.replace('+', '') && type.startsWith('TPM2B_'));
  const type = table?.fields[1]?.[1];
  if (type === undefined || type === 'BYTE') return undefined;
  const inner = valuesOf(lookUp(codec.name.endsWith('+') ? type : type.replace('+', '')));
  return isEncodable(codec, undefined) ? fc.option(inner, { nil: undefined }) : inner;
}

function bytesOf(codec: AnyCodec): Value | undefined {
  const fixed = [20, 32, 48, 64].filter((length) => isEncodable(codec, new Uint8Array(length)));
  const [only] = fixed;
  if (only === undefined && codec !== tpm.PcrSelect && longest(codec) < 1) return undefined;
  if (fixed.length === 1 && only !== undefined && !isEncodable(codec, new Uint8Array(only - 1))) {
    return fc.uint8Array({ minLength: only, maxLength: only });
  }
  const max = codec === tpm.PcrSelect ? 4 : longest(codec);
  const minLength = isEncodable(codec, new Uint8Array(0)) ? 0 : 1;
  const usual = fc.uint8Array({ minLength, maxLength: Math.min(max, 40) });
  return fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: fc.constant(new Uint8Array(max)) });
}

/** A closed set or a bit field: whatever numbers it takes of all that mean something. */
function numbersOf(codec: AnyCodec): Value | undefined {
  const numbers = meaningful.filter((number) => isEncodable(codec, number));
  return numbers.length === 0 ? undefined : fc.constantFrom(...numbers);
}

const meaningful: readonly number[] = [
  ...new Set([
    ...tables.constants.flatMap(({ members }) =>
      members.flatMap(([, value]) => (value === null ? [] : [value, value + 1])),
    ),
    ...[-3, -2, -1, 128, 192, 256, 1024, 2048, 3072, 4096, 31],
    ...tables.bits.flatMap(({ fields }) => fields.map(([, low]) => (1 << low) >>> 0)),
  ]),
];

const plainValues: Readonly<Record<string, Value>> = {
  empty: fc.constant(undefined),
  TPMS_EMPTY: fc.constant(undefined),
  TPMI_YES_NO: fc.boolean(),
  INT8: fc.integer({ min: -0x80, max: 0x7f }),
  INT16: fc.integer({ min: -0x8000, max: 0x7fff }),
  INT32: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
  INT64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  u8: fc.nat({ max: 0xff }),
  u16: fc.nat({ max: 0xffff }),
  u32: fc.nat({ max: 0xffffffff }),
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  TPM_ALG_ID: fc.nat({ max: 0xffff }),
  TPM_ECC_CURVE: fc.nat({ max: 0xffff }),
  TPM_KEY_BITS: fc.nat({ max: 0xffff }),
  TPM_HANDLE: fc.nat({ max: 0xffffffff }),
  TPM_CC: fc.nat({ max: 0xffffffff }),
  TPM_RC: fc.nat({ max: 0xffffffff }),
};

function lookUp(type: string): AnyCodec {
  // Lists and sized buffers carry the strict variant, apart from what a TPM returns itself.
  const codec = exported[exportName(type)];
  if (typeof codec !== 'object' || codec === null || !('read' in codec)) throw new Error(`${type} is not exported`);
  return codec as AnyCodec; // checked by the line above
}

/** The codec of a field, which for a union the value of its selector picks. */
function memberOf(field: Fields[string] | undefined, selected?: number): AnyCodec {
  const codec = field !== undefined && isUnion(field) ? field.cases[selected ?? -1] : field;
  if (codec === undefined || !('read' in codec)) throw new Error(`selector ${selected} picks no member`);
  return codec;
}

function record(members: Readonly<Record<string, Value>>): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  return fc.record(members, { noNullPrototype: true });
}

function keysOf(fields: Fields): number[] {
  const unions = Object.values(fields).filter(isUnion);
  return [...new Set(unions.flatMap(({ cases }) => Object.keys(cases).map(Number)))];
}

function isUnion(field: Fields[string]): field is UnionField<string, Readonly<Record<number, AnyCodec>>> {
  return 'selector' in field;
}

function mapValues<T, U>(object: Readonly<Record<string, T>>, change: (value: T, key: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}
