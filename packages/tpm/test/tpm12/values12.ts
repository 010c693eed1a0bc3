/** Random values of every structure and command of TPM 1.2, made from what the codecs say of themselves. */
import { type Codec, decode, encode, type Fields, type UnionField, WireError } from '@casemate/wire';
import fc from 'fast-check';
import * as tpm12 from '../../src/tpm12.js';

type AnyCodec = Codec<unknown>;
type Value = fc.Arbitrary<unknown>;

/** All exported codecs by their name in the package. */
export const codecs: readonly { readonly name: string; readonly codec: AnyCodec }[] = Object.entries(tpm12).flatMap(
  ([name, value]) => (isCodec(value) ? [{ name, codec: value }] : []),
);

const structures = new Map(codecs.filter(({ codec }) => 'fields' in codec).map(({ codec }) => [codec.name, codec]));

/** Structures that TPM 1.1 and TPM 1.2 have in different forms. */
const either = new Map<AnyCodec, readonly AnyCodec[]>([
  [tpm12.TpmAnyKey, [tpm12.TpmKey, tpm12.TpmKey12]],
  [tpm12.TpmAnyStoredData, [tpm12.TpmStoredData, tpm12.TpmStoredData12]],
  [tpm12.TpmAnyPcrInfo, [tpm12.TpmPcrInfo, tpm12.TpmPcrInfoLong]],
  [tpm12.CertifyKey.response.fields.certifyInfo, [tpm12.TpmCertifyInfo, tpm12.TpmCertifyInfo2]],
]);

/** Values that `codec` can encode. Throws for a codec that nothing describes. */
export function valuesOf12(codec: AnyCodec): Value {
  const made = known.get(codec) ?? makeValues(codec);
  known.set(codec, made);
  return made;
}

const known = new Map<AnyCodec, Value>();

function makeValues(codec: AnyCodec): Value {
  const forms = either.get(codec);
  if (forms) return fc.oneof(...forms.map(valuesOf12));
  if ('fields' in codec) return recordsOf12(codec.fields as Fields);
  const found =
    booleans(codec) ?? words(codec) ?? lists(codec) ?? byteStrings(codec) ?? numbers(codec) ?? enclosed(codec);
  if (found === undefined) throw new Error(`nothing describes the values of ${codec.name}`);
  return found;
}

/** Values of a structure with these fields. */
export function recordsOf12(fields: Fields): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  const unions = Object.values(fields).filter(isUnion);
  const [first] = unions;
  if (first === undefined)
    return fc.record(
      mapValues(fields, (field) => valuesOf12(member(field))),
      NO_PROTOTYPE,
    );
  const keys = Object.keys(first.cases).map(Number);
  return fc.oneof(
    ...keys.map((key) =>
      fc.record(
        mapValues(fields, (field, name) =>
          name === first.selector ? fc.constant(key) : valuesOf12(isUnion(field) ? caseOf(field, key) : member(field)),
        ),
        NO_PROTOTYPE,
      ),
    ),
  );
}

const NO_PROTOTYPE = { noNullPrototype: true } as const;

function booleans(codec: AnyCodec): Value | undefined {
  if (codec.name !== 'TPM_BOOL') return undefined;
  const isAbsentAllowed = encode(codec, undefined).length === 0;
  return isAbsentAllowed ? fc.option(fc.boolean(), { nil: undefined }) : fc.boolean();
}

function lists(codec: AnyCodec): Value | undefined {
  const elements: readonly Value[] = [fc.nat({ max: 0xffffffff }), fc.uint8Array({ minLength: 20, maxLength: 20 })];
  for (const element of elements) {
    const [sample] = fc.sample(element, 1);
    if (isEncodable(codec, [sample]) && Array.isArray(decode(codec, encode(codec, [sample]))))
      return fc.array(element, { maxLength: 4 });
  }
  return undefined;
}

/** A structure behind its size, which may be absent, or one of two forms. */
function enclosed(codec: AnyCodec): Value | undefined {
  const candidates = [...structures.values()].filter(
    ({ name }) => name === codec.name || (codec.name === 'TPM_PCR_INFO' && name === 'TPM_PCR_INFO_LONG'),
  );
  const inner = candidates.filter((candidate) => isEncodable(codec, fc.sample(valuesOf12(candidate), 1)[0]));
  if (inner.length === 0) return undefined;
  const present = fc.oneof(...inner.map(valuesOf12));
  return isEncodable(codec, undefined) ? fc.option(present, { nil: undefined }) : present;
}

function words(codec: AnyCodec): Value | undefined {
  const word = ['QUOT', 'QUT2', 'SIGN'].find((candidate) => isEncodable(codec, candidate));
  return word === undefined ? undefined : fc.constant(word);
}

function byteStrings(codec: AnyCodec): Value | undefined {
  const lengths = Array.from({ length: 41 }, (_, length) => length).filter((n) =>
    isEncodable(codec, new Uint8Array(n)),
  );
  const [shortest] = lengths;
  if (shortest === undefined) return undefined;
  return fc.uint8Array({ minLength: shortest, maxLength: Math.max(...lengths) });
}

/** Whatever numbers it takes of all that mean something. */
function numbers(codec: AnyCodec): Value | undefined {
  const taken = meaningful.filter((number) => isEncodable(codec, number));
  return taken.length === 0 ? undefined : fc.constantFrom(...taken);
}

const meaningful: readonly number[] = [
  ...new Set([
    ...Object.values(tpm12).flatMap((value) => (isTable(value) ? Object.values(value) : [])),
    ...Array.from({ length: 34 }, (_, i) => i),
    ...[0xff, 0xffff, 0xffffffff],
  ]),
];

function isTable(value: unknown): value is Readonly<Record<string, number>> {
  return (
    typeof value === 'object' && value !== null && Object.values(value).every((member) => typeof member === 'number')
  );
}

function isCodec(value: unknown): value is AnyCodec {
  return typeof value === 'object' && value !== null && 'read' in value && 'write' in value;
}

function isEncodable(codec: AnyCodec, value: unknown): boolean {
  try {
    decode(codec, encode(codec, value));
    return true;
  } catch (error) {
    if (error instanceof WireError || error instanceof TypeError) return false;
    throw error;
  }
}

function member(field: Fields[string]): AnyCodec {
  if (field !== undefined && 'read' in field) return field;
  throw new Error('expected a plain field');
}

function caseOf(field: UnionField<string, Readonly<Record<number, AnyCodec>>>, key: number): AnyCodec {
  const codec = field.cases[key];
  if (codec === undefined) throw new Error(`selector ${key} picks no member`);
  return codec;
}

function isUnion(field: Fields[string]): field is UnionField<string, Readonly<Record<number, AnyCodec>>> {
  return 'selector' in field;
}

function mapValues<T, U>(object: Readonly<Record<string, T>>, change: (value: T, key: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}
