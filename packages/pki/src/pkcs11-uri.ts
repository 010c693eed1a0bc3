/** `pkcs11:` URIs, which name a token and an object on it (RFC 7512 section 2). */
import { PkiError } from './error.js';

/** What a URI says; what it does not say matches everything. */
export interface Pkcs11Uri {
  /** The label of the token. */
  readonly token?: string;
  /** Its manufacturer. */
  readonly manufacturer?: string;
  /** Its model. */
  readonly model?: string;
  /** Its serial number. */
  readonly serial?: string;
  /** The number of the slot. */
  readonly slotId?: number;
  /** CKA_LABEL of the object. */
  readonly object?: string;
  /** CKA_ID of the object. */
  readonly id?: Uint8Array;
  /** The class of the object. */
  readonly type?: 'public' | 'private' | 'cert' | 'secret-key' | 'data';
  /** The file of the module. */
  readonly modulePath?: string;
  /** Where the PIN is: `file:PATH` or a path. */
  readonly pinSource?: string;
  /** The PIN itself. A URI with it is a secret. */
  readonly pinValue?: string;
}

const PATH = {
  token: 'token',
  manufacturer: 'manufacturer',
  model: 'model',
  serial: 'serial',
  object: 'object',
} as const;
const QUERY = { 'module-path': 'modulePath', 'pin-source': 'pinSource', 'pin-value': 'pinValue' } as const;
const TYPES = ['public', 'private', 'cert', 'secret-key', 'data'] as const;
/** Attributes of RFC 7512 that narrow what a library offers, and that need not be understood to find a key by token and object. */
const IGNORED = new Set([
  'library-manufacturer',
  'library-description',
  'library-version',
  'slot-description',
  'slot-manufacturer',
  'module-name',
]);

/**
 * Reads a URI of at most 4096 characters. Attributes of vendors (`x-…`) are passed over.
 * Throws {@link PkiError} `malformed`, without the URI in its text: it may hold a PIN.
 */
export function parsePkcs11Uri(uri: string): Pkcs11Uri {
  if (!uri.startsWith('pkcs11:') || uri.length > 4096) throw refuse('expected "pkcs11:" and at most 4096 characters');
  const [path = '', query = '', ...more] = uri.slice(7).split('?');
  if (more.length > 0) throw refuse('expected one "?"');
  const read: Record<string, string | number | Uint8Array> = {};
  for (const [name, value] of attributes(path, ';')) setPathAttribute(read, name, value);
  for (const [name, value] of attributes(query, '&')) {
    if (Object.hasOwn(QUERY, name)) setOnce(read, QUERY[name as keyof typeof QUERY], decodeText(value));
    else if (!IGNORED.has(name) && !name.startsWith('x-'))
      throw refuse(`expected a known query attribute, got "${name}"`);
  }
  // Every member was set above to what its type says.
  return read as Pkcs11Uri;
}

function setPathAttribute(read: Record<string, string | number | Uint8Array>, name: string, value: string): void {
  if (Object.hasOwn(PATH, name)) setOnce(read, name, decodeText(value));
  else if (name === 'id') setOnce(read, 'id', decodeBytes(value));
  else if (name === 'slot-id') setOnce(read, 'slotId', slotNumber(value));
  else if (name === 'type') setOnce(read, 'type', objectType(value));
  else if (!IGNORED.has(name) && !name.startsWith('x-')) {
    throw refuse(`expected a known path attribute, got "${name}"`);
  }
}

function slotNumber(value: string): number {
  if (/^\d{1,10}$/.test(value)) return Number(value);
  throw refuse('expected a number as slot-id');
}

function objectType(value: string): string {
  const type = TYPES.find((each) => each === value);
  if (type !== undefined) return type;
  throw refuse(`expected type to be one of ${TYPES.join(', ')}`);
}

function setOnce(
  read: Record<string, string | number | Uint8Array>,
  name: string,
  value: string | number | Uint8Array,
): void {
  if (Object.hasOwn(read, name)) throw refuse(`expected "${name}" once, got it again`);
  read[name] = value;
}

function attributes(text: string, separator: string): readonly (readonly [name: string, value: string])[] {
  if (text === '') return [];
  return text.split(separator).map((pair) => {
    const at = pair.indexOf('=');
    if (at <= 0) throw refuse('expected name=value');
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
}

function decodeText(value: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(decodeBytes(value));
  } catch (cause) {
    if (cause instanceof PkiError) throw cause;
    throw refuse('expected UTF-8 in an attribute');
  }
}

function decodeBytes(value: string): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < value.length; i++) {
    if (value[i] !== '%') {
      bytes.push(...new TextEncoder().encode(value[i]));
      continue;
    }
    const digits = value.slice(i + 1, i + 3);
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) throw refuse('expected two hexadecimal digits after "%"');
    bytes.push(Number.parseInt(digits, 16));
    i += 2;
  }
  return Uint8Array.from(bytes);
}

function refuse(problem: string): PkiError {
  return new PkiError('malformed', `decode pkcs11 URI: ${problem}`);
}

/** Writes a URI. What it was made from and what `parsePkcs11Uri` reads from it are equal. */
export function encodePkcs11Uri(uri: Pkcs11Uri): string {
  const path = [
    ...Object.keys(PATH).flatMap((name) => pair(name, uri[name as keyof typeof PATH])),
    ...pair('slot-id', uri.slotId?.toString()),
    ...(uri.id === undefined
      ? []
      : [`id=${[...uri.id].map((octet) => `%${octet.toString(16).padStart(2, '0')}`).join('')}`]),
    ...pair('type', uri.type),
  ];
  const query = Object.entries(QUERY).flatMap(([name, key]) => pair(name, uri[key]));
  return `pkcs11:${path.join(';')}${query.length === 0 ? '' : `?${query.join('&')}`}`;
}

function pair(name: string, value: string | undefined): readonly string[] {
  if (value === undefined) return [];
  const octets = new TextEncoder().encode(value);
  const encoded = [...octets].map((octet) =>
    /[A-Za-z0-9\-._~/:]/.test(String.fromCharCode(octet))
      ? String.fromCharCode(octet)
      : `%${octet.toString(16).padStart(2, '0')}`,
  );
  return [`${name}=${encoded.join('')}`];
}
