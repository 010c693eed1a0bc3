/** Decoding with names: walks a codec and gives, for each field, what the specification calls its value. */
import { type Codec, decode, empty, type Fields, Reader, u32, WireError } from '@casemate/wire';
import type { AnyStruct } from '../command.js';
import { TPM_CAP } from '../constants/capabilities.js';
import { selectedIndexes } from '../pcr.js';
import { Tpm2bEccPoint, TpmsEccPoint } from '../structures/asymmetric.js';
import { TpmsAcOutput } from '../structures/attached-component.js';
import { TpmsAttest } from '../structures/attestation.js';
import { TpmaCc } from '../structures/attributes.js';
import { TpmAlgId, TpmCc, TpmEccCurve, TpmHandle, TpmPt, TpmPtPcr } from '../structures/constants.js';
import { TpmsCreationData } from '../structures/creation.js';
import { Tpm2bDigest, TpmtHa } from '../structures/digests.js';
import { TpmsNvPublic } from '../structures/nv.js';
import { TpmsPcrSelection } from '../structures/pcr.js';
import { TpmtSensitive } from '../structures/private.js';
import {
  TpmsActData,
  TpmsAlgProperty,
  TpmsTaggedPcrSelect,
  TpmsTaggedPolicy,
  TpmsTaggedProperty,
} from '../structures/properties.js';
import { TpmtPublic, TpmtPublicOrNull } from '../structures/public.js';
import { TpmsSensitiveCreate } from '../structures/symmetric.js';
import { constantName, flagNames, handleName, isHandleType } from './names.js';
import { isSecretType } from './secret.js';
import type { Spelled } from './spelled.js';

/** How values are spelled. */
export interface SpellOptions {
  /** Shows secrets too. */
  readonly unsafeShowSecrets?: boolean;
  /** Fields whose bytes are secret where they stand; types that are always secret need not be named. */
  readonly secretFields?: ReadonlySet<string>;
  /** What a handle stands for, where that is known better than its number tells. */
  readonly nameHandle?: (handle: number) => string;
}

/**
 * Decodes `bytes` as the fields of `struct`, each with its name, as far as they are well-formed. `encrypted` says that a session encrypted
 * the contents of the first field, a sized buffer.
 */
export function spellParameters(
  struct: AnyStruct,
  bytes: Uint8Array,
  options: SpellOptions & { readonly encrypted?: boolean } = {},
): { readonly parameters: readonly (readonly [string, Spelled])[]; readonly problem: string | undefined } {
  const reader = new Reader(bytes);
  const values: Record<string, unknown> = {};
  const parameters: [string, Spelled][] = [];
  try {
    for (const [name, part] of Object.entries(struct.fields)) {
      const isEncrypted = options.encrypted === true && parameters.length === 0;
      parameters.push([
        name,
        isEncrypted ? readEncrypted(reader, name) : readField(reader, name, part, values, options),
      ]);
    }
    reader.finish(struct.name);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { parameters, problem: error.message };
  }
  return { parameters, problem: undefined };
}

function readEncrypted(reader: Reader, name: string): Spelled {
  return { kind: 'encrypted', bytes: reader.take(reader.u16(name), name) };
}

function readField(
  reader: Reader,
  name: string,
  part: Fields[string],
  values: Record<string, unknown>,
  options: SpellOptions,
): Spelled {
  const codec = codecOf(part, values);
  try {
    values[name] = codec.read(reader);
  } catch (error) {
    throw error instanceof WireError ? error.within(name) : error;
  }
  if (options.secretFields?.has(name)) return hidden(codec, values[name], options);
  // Of all commands, TPM2_GetCapability has these two.
  const isProperty = name === 'property' && 'capability' in values;
  return spell(isProperty ? propertyCodec(values) : codec, values[name], options);
}

/** What the number `property` of TPM2_GetCapability is depends on the capability (Part 3, section 30.2). */
function propertyCodec({ capability }: Readonly<Record<string, unknown>>): Codec<unknown> {
  return (PROPERTIES[Number(capability)] ?? u32) as Codec<unknown>;
}

/** Spells a decoded value of `codec`. */
export function spell(codec: Codec<unknown>, value: unknown, options: SpellOptions = {}): Spelled {
  if (value === undefined) return { kind: 'absent' };
  if (isSecretType(codec.name)) return hidden(codec, value, options);
  if (typeof value === 'number') return spellNumber(codec.name, value, options);
  if (typeof value === 'bigint') return { kind: 'number', value };
  if (typeof value === 'boolean') return { kind: 'boolean', value };
  if (value instanceof Uint8Array) return spellBytes(codec.name, value, options);
  if (Array.isArray(value)) return { kind: 'list', items: value.map((item) => spellItem(codec.name, item, options)) };
  return spellStruct(codec, value, options);
}

function spellNumber(type: string, value: number, options: SpellOptions): Spelled {
  if (isHandleType(type)) return { kind: 'handle', value, name: (options.nameHandle ?? handleName)(value) };
  const names = flagNames(type, value);
  if (names) return { kind: 'flags', names, value };
  const name = constantName(type, value);
  return name === undefined ? { kind: 'number', value } : { kind: 'constant', name, value };
}

function spellBytes(type: string, bytes: Uint8Array, options: SpellOptions): Spelled {
  const inner = CONTENTS[type];
  if (!inner || bytes.length === 0) return { kind: 'bytes', bytes };
  try {
    return { kind: 'encoded', type: inner.name, bytes, value: spell(inner, decode(inner, bytes), options) };
  } catch {
    return { kind: 'bytes', bytes }; // the bytes may be of another form too, and are shown as they are
  }
}

function spellItem(listType: string, item: unknown, options: SpellOptions): Spelled {
  const codec = ELEMENTS[listType];
  return codec ? spell(codec, item, options) : spellStruct({ ...UNKNOWN, name: listType }, item, options);
}

function spellStruct(codec: Codec<unknown>, value: unknown, options: SpellOptions): Spelled {
  if (typeof value !== 'object' || value === null) return { kind: 'absent' };
  const values = value as Readonly<Record<string, unknown>>; // decoded structures are objects
  const struct = INNER[codec.name] ?? codec;
  if (struct.name === TpmsPcrSelection.name) return spellPcrs(values);
  if (struct.name === TpmsTaggedProperty.name) return spellProperty(values);
  if (!('fields' in struct)) return { kind: 'absent' };
  const fields = Object.entries((struct as AnyStruct).fields).filter(([name]) => values[name] !== undefined);
  return {
    kind: 'struct',
    fields: fields.map(([name, part]) => [name, spell(codecOf(part, values), values[name], options)]),
  };
}

function spellPcrs(values: Readonly<Record<string, unknown>>): Spelled {
  const { hash, pcrSelect } = values as TpmsPcrSelection; // the caller has looked at the codec
  const name = constantName('TPM_ALG_ID', hash) ?? '';
  return { kind: 'pcrs', hash: name, indexes: selectedIndexes(pcrSelect) };
}

/** Some properties are four letters, or bits with names. */
function spellProperty(values: Readonly<Record<string, unknown>>): Spelled {
  const { property, value } = values as TpmsTaggedProperty; // the caller has looked at the codec
  const name = constantName('TPM_PT', property) ?? '';
  const attributes = PROPERTY_FLAGS[name];
  const names = attributes && flagNames(attributes, value);
  const letters = LETTERS.test(name)
    ? lettersOf(value)
    : (ALGORITHMS.has(name) && constantName('TPM_ALG_ID', value)) || '';
  const spelled: Spelled = names
    ? { kind: 'flags', names, value }
    : { kind: 'number', value, ...(letters !== '' && { meaning: letters }) };
  return {
    kind: 'struct',
    fields: [
      ['property', { kind: 'constant', name, value: property }],
      ['value', spelled],
    ],
  };
}

/** The letters that a 32-bit number is made of, as properties such as the manufacturer are. */
export function lettersOf(value: number): string {
  const codes = [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
  return codes
    .filter((code) => code >= 0x20 && code < 0x7f)
    .map((code) => String.fromCharCode(code))
    .join('')
    .trim();
}

function hidden(codec: Codec<unknown>, value: unknown, options: SpellOptions): Spelled {
  if (options.unsafeShowSecrets) return revealed(codec, value, options);
  if (!(value instanceof Uint8Array)) return { kind: 'redacted', length: undefined };
  // Whether there is a value at all is worth knowing; how long a password is, is not to be known.
  if (value.length === 0) return { kind: 'bytes', bytes: value };
  return { kind: 'redacted', length: codec.name === 'TPM2B_AUTH' ? undefined : value.length };
}

function revealed(codec: Codec<unknown>, value: unknown, options: SpellOptions): Spelled {
  if (value instanceof Uint8Array) return spellBytes(codec.name, value, options);
  return value === undefined ? { kind: 'absent' } : spellStruct(codec, value, options);
}

function codecOf(part: Fields[string], values: Readonly<Record<string, unknown>>): Codec<unknown> {
  if (!('selector' in part)) return part;
  return part.cases[Number(values[part.selector])] ?? UNKNOWN;
}

/** Stands where a selector has no member, which the codecs refuse when they read. */
const UNKNOWN: Codec<unknown> = empty as Codec<unknown>;

/** What the elements of each list are. */
const ELEMENTS: Readonly<Record<string, Codec<unknown>>> = {
  TPML_AC_CAPABILITIES: TpmsAcOutput as Codec<unknown>,
  TPML_ACT_DATA: TpmsActData as Codec<unknown>,
  TPML_ALG: TpmAlgId as Codec<unknown>,
  TPML_ALG_PROPERTY: TpmsAlgProperty as Codec<unknown>,
  TPML_CC: TpmCc as Codec<unknown>,
  TPML_CCA: TpmaCc as Codec<unknown>,
  TPML_DIGEST: Tpm2bDigest as Codec<unknown>,
  TPML_DIGEST_VALUES: TpmtHa as Codec<unknown>,
  TPML_ECC_CURVE: TpmEccCurve as Codec<unknown>,
  TPML_HANDLE: TpmHandle as Codec<unknown>,
  TPML_PCR_SELECTION: TpmsPcrSelection as Codec<unknown>,
  TPML_TAGGED_PCR_PROPERTY: TpmsTaggedPcrSelect as Codec<unknown>,
  TPML_TAGGED_POLICY: TpmsTaggedPolicy as Codec<unknown>,
  TPML_TAGGED_TPM_PROPERTY: TpmsTaggedProperty as Codec<unknown>,
};

/** The structures behind a size whose values are those structures. */
const INNER: Readonly<Record<string, Codec<unknown>>> = {
  [Tpm2bEccPoint.name]: TpmsEccPoint as Codec<unknown>,
  TPM2B_CREATION_DATA: TpmsCreationData as Codec<unknown>,
  TPM2B_NV_PUBLIC: TpmsNvPublic as Codec<unknown>,
  TPM2B_PUBLIC: TpmtPublic as Codec<unknown>,
  'TPM2B_PUBLIC+': TpmtPublicOrNull as Codec<unknown>,
  TPM2B_SENSITIVE: TpmtSensitive as Codec<unknown>,
  TPM2B_SENSITIVE_CREATE: TpmsSensitiveCreate as Codec<unknown>,
};

/** Byte strings that hold an encoded structure. */
const CONTENTS: Readonly<Record<string, Codec<unknown>>> = {
  TPM2B_ATTEST: TpmsAttest as Codec<unknown>,
  TPM2B_TEMPLATE: TpmtPublic as Codec<unknown>,
};

const PROPERTIES: Readonly<Record<number, Codec<number>>> = {
  [TPM_CAP.ALGS]: TpmAlgId,
  [TPM_CAP.HANDLES]: TpmHandle,
  [TPM_CAP.COMMANDS]: TpmCc,
  [TPM_CAP.PP_COMMANDS]: TpmCc,
  [TPM_CAP.AUDIT_COMMANDS]: TpmCc,
  [TPM_CAP.TPM_PROPERTIES]: TpmPt,
  [TPM_CAP.PCR_PROPERTIES]: TpmPtPcr,
  [TPM_CAP.ECC_CURVES]: TpmEccCurve,
  [TPM_CAP.AUTH_POLICIES]: TpmHandle,
  [TPM_CAP.ACT]: TpmHandle,
};

const PROPERTY_FLAGS: Readonly<Record<string, string>> = {
  TPM_PT_PERMANENT: 'TPMA_PERMANENT',
  TPM_PT_STARTUP_CLEAR: 'TPMA_STARTUP_CLEAR',
  TPM_PT_MEMORY: 'TPMA_MEMORY',
  TPM_PT_MODES: 'TPMA_MODES',
};
const ALGORITHMS: ReadonlySet<string> = new Set(['TPM_PT_CONTEXT_HASH', 'TPM_PT_CONTEXT_SYM']);
const LETTERS = /^TPM_PT_(FAMILY_INDICATOR|MANUFACTURER|VENDOR_STRING_\d|PS_FAMILY_INDICATOR)$/;
