/** GeneralName: the names in a subjectAltName and in name constraints (RFC 5280 section 4.2.1.6). */
import { toHex } from './bytes.js';
import { ascii, constructed, DerReader, primitive, sequence, TAG, type Tlv, tlv } from './der.js';
import { malformed, PkiError } from './error.js';
import { type DistinguishedName, parseName } from './name.js';

/** One alternative name. */
export type GeneralName =
  | { readonly type: 'email'; readonly value: string }
  | { readonly type: 'dns'; readonly value: string }
  | { readonly type: 'uri'; readonly value: string }
  /** 4 or 16 bytes; in name constraints address and mask, 8 or 32 bytes. */
  | { readonly type: 'ip'; readonly value: Uint8Array }
  | { readonly type: 'directory'; readonly value: DistinguishedName }
  /** otherName, x400Address, ediPartyName or registeredID: the context tag number and the whole encoding. */
  | { readonly type: 'other'; readonly tag: number; readonly value: Uint8Array };

/** Encodes GeneralNames. Throws {@link PkiError} `bad-input` for text that is not ASCII or an address of a wrong length. */
export function encodeGeneralNames(names: readonly GeneralName[]): Uint8Array {
  if (names.length === 0) throw new PkiError('bad-input', 'encode GeneralNames: expected at least one name, got none');
  return sequence(...names.map(encodeGeneralName));
}

/** Encodes one GeneralName. */
export function encodeGeneralName(name: GeneralName): Uint8Array {
  switch (name.type) {
    case 'email':
      return ascii(primitive(1), name.value);
    case 'dns':
      return ascii(primitive(2), name.value);
    case 'uri':
      return ascii(primitive(6), name.value);
    case 'ip':
      return tlv(primitive(7), name.value);
    case 'directory':
      return tlv(constructed(4), name.value.der);
    case 'other':
      return name.value;
  }
}

/** Reads GeneralNames, at least one and at most 10000. Throws {@link PkiError} `malformed`. */
export function parseGeneralNames(reader: DerReader, what: string): readonly GeneralName[] {
  const names: GeneralName[] = [];
  while (!reader.done) {
    if (names.length === 10_000) throw malformed(what, 'expected at most 10000 names, got more');
    names.push(parseGeneralName(reader.any('GeneralName'), what));
  }
  if (names.length === 0) throw malformed(what, 'expected at least one name, got none');
  return names;
}

/** Reads one GeneralName. */
export function parseGeneralName(element: Tlv, what: string): GeneralName {
  switch (element.tag) {
    case primitive(1):
      return { type: 'email', value: ia5(element, what) };
    case primitive(2):
      return { type: 'dns', value: ia5(element, what) };
    case primitive(6):
      return { type: 'uri', value: ia5(element, what) };
    case primitive(7):
      return { type: 'ip', value: element.content };
    case constructed(4):
      return { type: 'directory', value: directoryName(element, what) };
    case constructed(0):
    case constructed(3):
    case constructed(5):
    case primitive(8):
      return { type: 'other', tag: element.tag & 0x1f, value: element.bytes };
    default:
      throw malformed(what, `expected a GeneralName, got tag 0x${element.tag.toString(16)}`);
  }
}

function directoryName(element: Tlv, what: string): DistinguishedName {
  const reader = new DerReader(element.content, what);
  const name = reader.take(TAG.SEQUENCE, 'directoryName').bytes;
  reader.finish();
  return parseName(name, `${what}/directoryName`);
}

function ia5(element: Tlv, what: string): string {
  const text = Array.from(element.content, (octet) => String.fromCharCode(octet)).join('');
  // A NUL or control character in a name has been used to hide the rest of it from C programs.
  if (!/^[\x20-\x7e]*$/.test(text)) throw malformed(what, `expected printable ASCII, got ${toHex(element.content)}`);
  return text;
}

/** The 4 or 16 bytes of an IP address in text. Throws {@link PkiError} `bad-input`. */
export function parseIpAddress(text: string): Uint8Array {
  const bytes = text.includes(':') ? ipv6(text) : ipv4(text);
  if (bytes === undefined)
    throw new PkiError('bad-input', `parse IP address: expected IPv4 or IPv6 text, got "${text}"`);
  return bytes;
}

function ipv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return Uint8Array.from(parts, Number);
}

function ipv6(text: string): Uint8Array | undefined {
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return undefined;
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = 8 - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...before, ...Array<string>(missing).fill('0'), ...after];
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return Uint8Array.from(
    groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]),
  );
}
