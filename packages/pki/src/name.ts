/** Distinguished names: reading, writing and comparing them (RFC 5280 sections 4.1.2.4 and 7.1). */
import { toHex } from './bytes.js';
import { ascii, DerReader, oid, oidValue, openDer, sequence, setOf, TAG, type Tlv, utf8 } from './der.js';
import { malformed, PkiError } from './error.js';
import { ATTRIBUTE_TYPE } from './oid.js';

/** One attribute of a distinguished name. */
export interface NameAttribute {
  /** The attribute type as dotted object identifier. */
  readonly type: string;
  /** The value as text; `#` and hexadecimal digits of the encoding where it is no string type. */
  readonly value: string;
  /** There where the value is no string type. */
  readonly encoded?: true;
}

/** A distinguished name as it stands in a certificate. */
export interface DistinguishedName {
  /** The encoding (Name). */
  readonly der: Uint8Array;
  /** The relative names from the most general to the most specific, each a set of attributes. */
  readonly relativeNames: readonly (readonly NameAttribute[])[];
}

/** The attributes that a name may be built from; a name is written in the order of {@link buildName}. */
export interface NameInput {
  /** C, two letters. */
  readonly countryName?: string;
  /** ST. */
  readonly stateOrProvinceName?: string;
  /** L. */
  readonly localityName?: string;
  /** O. */
  readonly organizationName?: string;
  /** OU. */
  readonly organizationalUnitName?: string;
  /** The serial number of a device, ASCII. */
  readonly serialNumber?: string;
  /** CN, at most 64 characters. */
  readonly commonName?: string;
}

/** The name of an attribute that {@link NameInput} has. */
export type NameAttributeType = keyof NameInput;

const ORDER = [
  'countryName',
  'stateOrProvinceName',
  'localityName',
  'organizationName',
  'organizationalUnitName',
  'serialNumber',
  'commonName',
] as const satisfies readonly NameAttributeType[];

/**
 * Encodes a Name: one attribute in each relative name, in the order C, ST, L, O, OU, serialNumber, CN.
 * Throws {@link PkiError} `bad-input` for an empty or overlong value (bounds of RFC 5280 appendix A.1).
 */
export function buildName(input: NameInput): Uint8Array {
  return sequence(...ORDER.flatMap((type) => (input[type] === undefined ? [] : [relativeName(type, input[type])])));
}

function relativeName(type: NameAttributeType, value: string): Uint8Array {
  const bound = type === 'countryName' ? 2 : 64;
  if (value.length === 0 || [...value].length > bound || (type === 'countryName' && value.length !== 2)) {
    throw new PkiError('bad-input', `encode Name: expected 1 to ${bound} characters as ${type}, got "${value}"`);
  }
  return setOf(sequence(oid(ATTRIBUTE_TYPE[type]), attributeValue(type, value)));
}

function attributeValue(type: NameAttributeType, value: string): Uint8Array {
  if (type !== 'countryName' && type !== 'serialNumber') return utf8(value);
  if (!/^[A-Za-z0-9 '()+,\-./:=?]+$/.test(value)) {
    throw new PkiError('bad-input', `encode Name: expected PrintableString characters as ${type}, got "${value}"`);
  }
  return ascii(TAG.PRINTABLE, value);
}

/** Reads a Name of at most 64 relative names. Throws {@link PkiError} `malformed`. */
export function parseName(der: Uint8Array, what = 'Name'): DistinguishedName {
  const reader = openDer(der, TAG.SEQUENCE, what);
  const relativeNames: (readonly NameAttribute[])[] = [];
  while (!reader.done) {
    if (relativeNames.length === 64) throw malformed(what, 'expected at most 64 relative names, got more');
    relativeNames.push(parseRelativeName(reader.take(TAG.SET, 'RelativeDistinguishedName').content, what));
  }
  return { der, relativeNames };
}

function parseRelativeName(content: Uint8Array, what: string): readonly NameAttribute[] {
  const reader = new DerReader(content, what);
  const attributes: NameAttribute[] = [];
  do {
    const attribute = reader.enter(TAG.SEQUENCE, 'AttributeTypeAndValue');
    const type = oidValue(attribute.take(TAG.OID, 'type').content, `${what}/type`);
    attributes.push({ type, ...directoryString(attribute.any('value'), what) });
    attribute.finish();
  } while (!reader.done);
  return attributes;
}

/** The text of any ASN.1 string type; `#` and hexadecimal digits for another type. */
function directoryString(tlv: Tlv, what: string): Omit<NameAttribute, 'type'> {
  switch (tlv.tag) {
    case TAG.UTF8:
      return { value: decodeUtf8(tlv.content, what) };
    case TAG.PRINTABLE:
    case TAG.NUMERIC:
    case TAG.IA5:
    case TAG.VISIBLE:
    case TAG.TELETEX:
      return { value: Array.from(tlv.content, (octet) => String.fromCharCode(octet)).join('') };
    case TAG.BMP:
      return { value: decodeBmp(tlv.content, what) };
    case TAG.UNIVERSAL:
      return { value: decodeUniversal(tlv.content, what) };
    default:
      return { value: `#${toHex(tlv.bytes)}`, encoded: true };
  }
}

function decodeUtf8(content: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch (cause) {
    throw malformed(what, `expected UTF-8 text, got ${toHex(content.subarray(0, 32))}`, cause);
  }
}

function decodeBmp(content: Uint8Array, what: string): string {
  if (content.length % 2 !== 0) throw malformed(what, `expected an even number of bytes, got ${content.length}`);
  let text = '';
  for (let i = 0; i < content.length; i += 2)
    text += String.fromCharCode(((content[i] ?? 0) << 8) | (content[i + 1] ?? 0));
  return text;
}

/** Four bytes a character. A name in this form must not slip past a constraint on the same name in another. */
function decodeUniversal(content: Uint8Array, what: string): string {
  if (content.length % 4 !== 0) throw malformed(what, `expected a multiple of four bytes, got ${content.length}`);
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  let text = '';
  for (let i = 0; i < content.length; i += 4) {
    const point = view.getUint32(i);
    if (point > 0x10_ff_ff) throw malformed(what, `expected code points of Unicode, got 0x${point.toString(16)}`);
    text += String.fromCodePoint(point);
  }
  return text;
}

/** Whether two names are the same after case folding and white-space compression (RFC 5280 section 7.1). */
export function sameName(a: DistinguishedName, b: DistinguishedName): boolean {
  return a.relativeNames.length === b.relativeNames.length && isWithinName(a, b);
}

/** Whether `name` lies in the subtree under `base` (RFC 5280 4.2.1.10, directoryName). */
export function isWithinName(name: DistinguishedName, base: DistinguishedName): boolean {
  if (name.relativeNames.length < base.relativeNames.length) return false;
  const ours = canonicalName(name);
  return canonicalName(base).every((relative, i) => relative === ours[i]);
}

/** One comparable string for each relative name. */
function canonicalName(name: DistinguishedName): readonly string[] {
  const known = canonicalNames.get(name);
  if (known !== undefined) return known;
  const canonical = name.relativeNames.map((relative) => JSON.stringify(relative.map(foldAttribute).sort()));
  canonicalNames.set(name, canonical);
  return canonical;
}

/** JSON keeps apart what the values themselves could imitate: a separator, or the text of an encoded value. */
function foldAttribute({ type, value, encoded }: NameAttribute): string {
  return JSON.stringify([type, encoded === true ? 1 : 0, foldValue(value)]);
}

function foldValue(value: string): string {
  return value.normalize('NFKC').trim().replace(/\s+/gu, ' ').toLowerCase();
}

const canonicalNames = new WeakMap<DistinguishedName, readonly string[]>();

const SHORT: Readonly<Record<string, string>> = {
  [ATTRIBUTE_TYPE.commonName]: 'CN',
  [ATTRIBUTE_TYPE.countryName]: 'C',
  [ATTRIBUTE_TYPE.localityName]: 'L',
  [ATTRIBUTE_TYPE.stateOrProvinceName]: 'ST',
  [ATTRIBUTE_TYPE.organizationName]: 'O',
  [ATTRIBUTE_TYPE.organizationalUnitName]: 'OU',
  [ATTRIBUTE_TYPE.serialNumber]: 'serialNumber',
  [ATTRIBUTE_TYPE.domainComponent]: 'DC',
};

/** The name as one line for people, most specific part first (RFC 4514): `CN=Device,O=Maker,C=DE`. */
export function nameText(name: DistinguishedName): string {
  return [...name.relativeNames]
    .reverse()
    .map((relative) => relative.map((each) => `${SHORT[each.type] ?? each.type}=${valueText(each)}`).join('+'))
    .join(',');
}

/** RFC 4514 section 2.4; characters that nobody sees, or that turn the text round, are written as their octets. */
function valueText({ value, encoded }: NameAttribute): string {
  if (encoded === true || PLAIN.test(value)) return value;
  const characters = [...value];
  return characters.map((each, i) => escaped(each, i === 0, i === characters.length - 1)).join('');
}

const PLAIN = /^(?![ #])[^\\,+"<>;=\p{Cc}\p{Cf}]*(?<! )$/u;

function escaped(character: string, isFirst: boolean, isLast: boolean): string {
  if (/[\p{Cc}\p{Cf}]/u.test(character)) return toHex(new TextEncoder().encode(character)).replace(/../g, '\\$&');
  const isEdge = (character === ' ' && (isFirst || isLast)) || (character === '#' && isFirst);
  return isEdge || /[\\,+"<>;=]/.test(character) ? `\\${character}` : character;
}

/** The values of the attributes of one type, in order. */
export function nameValues(name: DistinguishedName, type: string): readonly string[] {
  return name.relativeNames.flatMap((relative) => relative.filter((a) => a.type === type).map((a) => a.value));
}
