/**
 * Keys with their certificates in one file under a passphrase: PKCS#12 (RFC 7292). What is written is PBES2 and an HMAC with SHA-256,
 * which OpenSSL, GnuTLS and Java open; what is read is that, PBMAC1 (RFC 9579), and the ciphers of old files where they are asked for.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { parsePkcs8 } from './algorithm.js';
import { berToDer } from './ber.js';
import { equalBytes } from './bytes.js';
import { asCertificate, type Certificate, type CertificateInput } from './certificate.js';
import {
  constructed,
  type DerReader,
  integer,
  octetString,
  oid,
  oidValue,
  openDer,
  primitive,
  sequence,
  setOf,
  smallInteger,
  TAG,
  tlv,
} from './der.js';
import { openedKey } from './encrypted-key.js';
import { malformed, PkiError } from './error.js';
import type { SoftwareKey } from './key.js';
import { importKey } from './key.js';
import { ALGORITHM, EXTENDED_KEY_USAGE } from './oid.js';
import { decryptPbes2, encryptPbes2, type Passphrase } from './pbes2.js';
import {
  assertWork,
  bmpPassphrase,
  buildMac,
  buildPbmac1,
  checkMac,
  derivePkcs12,
  needsLegacy,
  PURPOSE,
} from './pkcs12-mac.js';

const ID = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  safeContentsBag: '1.2.840.113549.1.12.10.1.6',
  /** Without this attribute Java does not take a lone certificate for a trusted one. */
  javaTrustedUsage: '2.16.840.1.113894.746875.1.1',
} as const;

const MAX_BYTES = 1 << 24;
const MAX_BAGS = 1000;
const MAX_NESTING = 8;

/** A private key with the chain that certifies it. */
export interface Pkcs12Key {
  /** The private key, PKCS#8 DER. */
  readonly pkcs8: Uint8Array;
  /** Its certificate first, then those above it as far as the file has them, DER. Empty where the file has none for the key. */
  readonly chain: readonly Uint8Array[];
  /** The name that people see; Java's alias. */
  readonly friendlyName?: string;
}

/** A certificate without a key. */
export interface Pkcs12Certificate {
  /** DER. */
  readonly certificate: Uint8Array;
  /** The name that people see. */
  readonly friendlyName?: string;
  /** Whether Java takes it for a trusted one. */
  readonly trusted: boolean;
}

/** What a file holds. */
export interface Pkcs12 {
  /** The keys. */
  readonly keys: readonly Pkcs12Key[];
  /** The certificates that stand in no key's chain. */
  readonly certificates: readonly Pkcs12Certificate[];
}

/** What goes into a file. */
export interface Pkcs12Contents {
  /** Keys; each with its certificate first in `chain`. */
  readonly keys?: readonly {
    readonly key: SoftwareKey | Uint8Array;
    readonly chain: readonly CertificateInput[];
    readonly friendlyName?: string;
  }[];
  /** Certificates that whoever opens the file may trust: roots. */
  readonly trusted?: readonly { readonly certificate: CertificateInput; readonly friendlyName?: string }[];
}

/** How a file is written. */
export interface Pkcs12Options {
  /** Rounds of each of the three derivations, one of which runs in JavaScript; 200,000 without it. Java refuses more than 5,000,000. */
  readonly iterations?: number;
  /** `pbmac1` for RFC 9579, which OpenSSL reads from 3.4 on; `hmac-sha256` without it. */
  readonly mac?: 'hmac-sha256' | 'pbmac1';
}

/** The ciphers of old files; `legacyCiphers` of @casemate/pki/node is one. */
export interface LegacyCiphers {
  /** Decrypts CBC without removing the padding. `key` has 24 bytes for `des-ede3`, 5 or 16 for `rc2`. */
  decrypt(cipher: 'des-ede3' | 'rc2', key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
}

/** How a file is read. */
export interface Pkcs12ReadOptions {
  /** Admits MACs with SHA-1 and encryption with 3DES and RC2; without it they are refused. */
  readonly legacy?: LegacyCiphers;
}

/**
 * Writes a file: certificates and keys under PBES2 (PBKDF2-HMAC-SHA-256, AES-256-CBC), and a MAC over all. The passphrase is text:
 * it is used in two encodings.
 * Throws {@link PkiError}: `bad-input` for an empty passphrase or file, `key-mismatch` where a chain is another key's.
 */
export async function buildPkcs12(
  contents: Pkcs12Contents,
  passphrase: string,
  options: Pkcs12Options = {},
): Promise<Uint8Array> {
  const { iterations = 200_000, mac = 'hmac-sha256' } = options;
  const keyBags: Uint8Array[] = [];
  const certificateBags: Uint8Array[] = [];
  for (const entry of contents.keys ?? []) {
    const chain = entry.chain.map(asCertificate);
    const attributes = attributesOf(entry.friendlyName, await localKeyId(entry.key, chain));
    keyBags.push(await shroudedBag(entry.key, passphrase, iterations, attributes));
    certificateBags.push(...chain.map((each, i) => certificateBag(each, i === 0 ? attributes : attributesOf())));
  }
  for (const { certificate, friendlyName } of contents.trusted ?? []) {
    certificateBags.push(
      certificateBag(asCertificate(certificate), [...attributesOf(friendlyName), trustedAttribute()]),
    );
  }
  if (keyBags.length + certificateBags.length === 0)
    throw new PkiError('bad-input', 'build PKCS#12: expected a key or a certificate, got neither');
  const safe = sequence(
    ...(certificateBags.length === 0
      ? []
      : [await encryptedContent(sequence(...certificateBags), passphrase, iterations)]),
    ...(keyBags.length === 0 ? [] : [dataContent(sequence(...keyBags))]),
  );
  const macData =
    mac === 'pbmac1' ? await buildPbmac1(safe, passphrase, iterations) : buildMac(safe, passphrase, iterations);
  return sequence(integer(3), dataContent(safe), macData);
}

async function localKeyId(key: SoftwareKey | Uint8Array, chain: readonly Certificate[]): Promise<Uint8Array> {
  const [own] = chain;
  const publicKey = key instanceof Uint8Array ? (await importKey(key)).publicKey : key.publicKey;
  if (own !== undefined && !equalBytes(own.publicKey, publicKey)) {
    throw new PkiError(
      'key-mismatch',
      "build PKCS#12: expected the key's certificate first in its chain, got another's",
    );
  }
  return sha256(publicKey).slice(0, 20);
}

async function shroudedBag(
  key: SoftwareKey | Uint8Array,
  passphrase: string,
  iterations: number,
  attributes: readonly Uint8Array[],
): Promise<Uint8Array> {
  const pkcs8 = key instanceof Uint8Array ? key : await key.unsafeExportKey();
  const { identifier, data } = await encryptPbes2(pkcs8, passphrase, { iterations });
  return bag(ID.shroudedKeyBag, sequence(identifier, octetString(data)), attributes);
}

function certificateBag({ der }: Certificate, attributes: readonly Uint8Array[]): Uint8Array {
  return bag(ID.certBag, sequence(oid(ID.x509Certificate), tlv(constructed(0), octetString(der))), attributes);
}

function bag(type: string, value: Uint8Array, attributes: readonly Uint8Array[]): Uint8Array {
  return sequence(oid(type), tlv(constructed(0), value), ...(attributes.length === 0 ? [] : [setOf(...attributes)]));
}

function attributesOf(friendlyName?: string, localKeyId?: Uint8Array): readonly Uint8Array[] {
  const attribute = (type: string, value: Uint8Array) => sequence(oid(type), setOf(value));
  return [
    ...(friendlyName === undefined
      ? []
      : [attribute(ID.friendlyName, tlv(TAG.BMP, bmpPassphrase(friendlyName).slice(0, -2)))]),
    ...(localKeyId === undefined ? [] : [attribute(ID.localKeyId, octetString(localKeyId))]),
  ];
}

function trustedAttribute(): Uint8Array {
  return sequence(oid(ID.javaTrustedUsage), setOf(oid(EXTENDED_KEY_USAGE.anyExtendedKeyUsage)));
}

function dataContent(content: Uint8Array): Uint8Array {
  return sequence(oid(ID.data), tlv(constructed(0), octetString(content)));
}

async function encryptedContent(content: Uint8Array, passphrase: string, iterations: number): Promise<Uint8Array> {
  const { identifier, data } = await encryptPbes2(content, passphrase, { iterations });
  const info = sequence(oid(ID.data), identifier, tlv(primitive(0), data));
  return sequence(oid(ID.encryptedData), tlv(constructed(0), sequence(integer(0), info)));
}

/**
 * Opens a file of at most 16 MiB: the MAC is checked first, then everything is decrypted. A file without a MAC is refused.
 * Throws {@link PkiError}: `malformed`, `unsupported` for other schemes and for old ones without `legacy`, `wrong-passphrase`.
 */
export async function parsePkcs12(
  bytes: Uint8Array,
  passphrase: Passphrase,
  options: Pkcs12ReadOptions = {},
): Promise<Pkcs12> {
  if (bytes.length > MAX_BYTES) throw malformed('PFX', `expected at most ${MAX_BYTES} bytes, got ${bytes.length}`);
  const text = typeof passphrase === 'string' ? passphrase : new TextDecoder().decode(passphrase);
  const pfx = openDer(berToDer(bytes), TAG.SEQUENCE, 'PFX');
  const version = smallInteger(pfx.take(TAG.INTEGER, 'version').content, 'version');
  if (version !== 3) throw new PkiError('unsupported', `open PKCS#12: expected version 3, got ${version}`);
  const safe = dataOf(pfx.enter(TAG.SEQUENCE, 'authSafe'));
  if (pfx.done) throw new PkiError('unsupported', 'open PKCS#12: expected a MAC, got none');
  const macData = pfx.enter(TAG.SEQUENCE, 'macData');
  pfx.finish();
  await checkMac(macData, safe, text, options.legacy !== undefined);
  return sorted(await bagsOf(safe, { passphrase: text, ...options }));
}

/** The octets of a ContentInfo of type data. */
function dataOf(info: DerReader): Uint8Array {
  const type = takeOid(info);
  if (type !== ID.data)
    throw new PkiError('unsupported', `open PKCS#12: expected data under a passphrase, got ${type}`);
  const content = info.enter(constructed(0), 'content');
  info.finish();
  const { content: octets } = content.take(TAG.OCTET_STRING, 'data');
  content.finish();
  return octets;
}

interface Opening extends Pkcs12ReadOptions {
  readonly passphrase: string;
}

/** A bag that matters. */
type Bag = { readonly friendlyName?: string; readonly localKeyId?: Uint8Array; readonly trusted: boolean } & (
  | { readonly kind: 'key'; readonly pkcs8: Uint8Array }
  | { readonly kind: 'certificate'; readonly der: Uint8Array }
);

async function bagsOf(safe: Uint8Array, opening: Opening): Promise<readonly Bag[]> {
  const infos = openDer(berToDer(safe), TAG.SEQUENCE, 'AuthenticatedSafe');
  const bags: Bag[] = [];
  while (!infos.done) {
    const info = infos.enter(TAG.SEQUENCE, 'ContentInfo');
    const contents = await safeContents(info, opening);
    await readBags(openDer(berToDer(contents), TAG.SEQUENCE, 'SafeContents'), opening, bags, 0);
  }
  return bags;
}

async function safeContents(info: DerReader, opening: Opening): Promise<Uint8Array> {
  const copy = takeOid(info);
  const content = info.enter(constructed(0), 'content');
  info.finish();
  if (copy === ID.data) return content.take(TAG.OCTET_STRING, 'data').content;
  if (copy !== ID.encryptedData)
    throw new PkiError('unsupported', `open PKCS#12: expected data or encryptedData, got ${copy}`);
  const encrypted = content.enter(TAG.SEQUENCE, 'EncryptedData');
  encrypted.take(TAG.INTEGER, 'version');
  const inner = encrypted.enter(TAG.SEQUENCE, 'encryptedContentInfo');
  takeOid(inner);
  const identifier = inner.take(TAG.SEQUENCE, 'contentEncryptionAlgorithm').bytes;
  const data =
    inner.tag === constructed(0)
      ? joined(inner.enter(constructed(0), 'encryptedContent'))
      : inner.take(primitive(0), 'encryptedContent').content;
  inner.finish();
  return decrypt(identifier, data, opening);
}

/** Encrypted contents in pieces, as streaming writers leave them. */
function joined(pieces: DerReader): Uint8Array {
  const parts: number[] = [];
  while (!pieces.done) for (const octet of pieces.take(TAG.OCTET_STRING, 'piece').content) parts.push(octet);
  return Uint8Array.from(parts);
}

async function readBags(contents: DerReader, opening: Opening, bags: Bag[], depth: number): Promise<void> {
  while (!contents.done) {
    if (bags.length === MAX_BAGS) throw malformed('SafeContents', `expected at most ${MAX_BAGS} bags, got more`);
    const reader = contents.enter(TAG.SEQUENCE, 'SafeBag');
    const type = takeOid(reader);
    const value = reader.enter(constructed(0), 'bagValue');
    const attributes = reader.done ? { trusted: false } : parseAttributes(reader.enter(TAG.SET, 'bagAttributes'));
    reader.finish();
    if (type === ID.safeContentsBag) {
      if (depth === MAX_NESTING) throw malformed('SafeContents', `expected at most ${MAX_NESTING} levels, got more`);
      await readBags(value.enter(TAG.SEQUENCE, 'SafeContents'), opening, bags, depth + 1);
    } else {
      const read = await readBag(type, value, opening);
      if (read !== undefined) bags.push({ ...attributes, ...read });
    }
  }
}

/** Bags of other kinds (CRLs, secrets) are passed over. */
async function readBag(type: string, value: DerReader, opening: Opening) {
  switch (type) {
    case ID.keyBag:
      return { kind: 'key', pkcs8: parsePkcs8(value.any('PrivateKeyInfo').bytes) } as const;
    case ID.shroudedKeyBag:
      return {
        kind: 'key',
        pkcs8: await unshroud(value.enter(TAG.SEQUENCE, 'EncryptedPrivateKeyInfo'), opening),
      } as const;
    case ID.certBag:
      return certificateOf(value.enter(TAG.SEQUENCE, 'CertBag'));
    default:
      return undefined;
  }
}

async function unshroud(reader: DerReader, opening: Opening): Promise<Uint8Array> {
  const identifier = reader.take(TAG.SEQUENCE, 'encryptionAlgorithm').bytes;
  const data = reader.take(TAG.OCTET_STRING, 'encryptedData').content;
  reader.finish();
  return openedKey(await decrypt(identifier, data, opening));
}

function certificateOf(reader: DerReader) {
  if (takeOid(reader) !== ID.x509Certificate) return undefined;
  const value = reader.enter(constructed(0), 'certValue');
  reader.finish();
  return {
    kind: 'certificate',
    der: asCertificate(value.take(TAG.OCTET_STRING, 'x509Certificate').content).der,
  } as const;
}

function parseAttributes(reader: DerReader) {
  const read: { friendlyName?: string; localKeyId?: Uint8Array; trusted: boolean } = { trusted: false };
  while (!reader.done) {
    const attribute = reader.enter(TAG.SEQUENCE, 'attribute');
    const type = takeOid(attribute);
    const values = attribute.enter(TAG.SET, 'values');
    attribute.finish();
    if (type === ID.javaTrustedUsage) read.trusted = true;
    else if (type === ID.friendlyName) read.friendlyName = bmpText(values.take(TAG.BMP, 'friendlyName').content);
    else if (type === ID.localKeyId) read.localKeyId = values.take(TAG.OCTET_STRING, 'localKeyId').content;
  }
  return read;
}

function bmpText(content: Uint8Array): string {
  if (content.length % 2 !== 0 || content.length > 2048)
    throw malformed('friendlyName', `expected UTF-16, got ${content.length} bytes`);
  let text = '';
  for (let i = 0; i < content.length; i += 2)
    text += String.fromCharCode(((content[i] ?? 0) << 8) | (content[i + 1] ?? 0));
  return text;
}

function takeOid(reader: DerReader): string {
  return oidValue(reader.take(TAG.OID, 'type').content, 'PKCS#12');
}

/** Key and cipher of the schemes of appendix C. */
const LEGACY = {
  '1.2.840.113549.1.12.1.3': { cipher: 'des-ede3', keyLength: 24 },
  '1.2.840.113549.1.12.1.5': { cipher: 'rc2', keyLength: 16 },
  '1.2.840.113549.1.12.1.6': { cipher: 'rc2', keyLength: 5 },
} as const;

async function decrypt(identifier: Uint8Array, data: Uint8Array, opening: Opening): Promise<Uint8Array> {
  const reader = openDer(identifier, TAG.SEQUENCE, 'encryptionAlgorithm');
  const dotted = takeOid(reader);
  if (dotted === ALGORITHM.pbes2) return decryptPbes2({ identifier, data }, opening.passphrase);
  const scheme = Object.hasOwn(LEGACY, dotted) ? LEGACY[dotted as keyof typeof LEGACY] : undefined;
  if (scheme === undefined) throw new PkiError('unsupported', `open PKCS#12: expected PBES2, got ${dotted}`);
  if (opening.legacy === undefined) throw needsLegacy(`encryption with ${scheme.cipher}`);
  const parameters = reader.enter(TAG.SEQUENCE, 'pkcs-12PbeParams');
  reader.finish();
  const salt = parameters.take(TAG.OCTET_STRING, 'salt').content;
  const iterations = smallInteger(parameters.take(TAG.INTEGER, 'iterations').content, 'iterations');
  parameters.finish();
  assertWork(iterations, salt);
  const passphrase = bmpPassphrase(opening.passphrase);
  const derive = (purpose: number, length: number) =>
    derivePkcs12('sha1', passphrase, { salt, iterations, purpose, length });
  if (data.length === 0 || data.length % 8 !== 0)
    throw malformed('encrypted contents', `expected blocks of 8 bytes, got ${data.length}`);
  const padded = opening.legacy.decrypt(
    scheme.cipher,
    derive(PURPOSE.key, scheme.keyLength),
    derive(PURPOSE.iv, 8),
    data,
  );
  return withoutPadding(padded);
}

function withoutPadding(padded: Uint8Array): Uint8Array {
  const length = padded.at(-1) ?? 0;
  const isPadding = length >= 1 && length <= 8 && padded.subarray(-length).every((octet) => octet === length);
  if (isPadding) return padded.slice(0, -length);
  throw new PkiError(
    'wrong-passphrase',
    'open PKCS#12: expected the passphrase that it was encrypted under, got another',
  );
}

/** Gives each key its certificate (by localKeyId, else by its public key) and those that certify it. */
async function sorted(bags: readonly Bag[]): Promise<Pkcs12> {
  const certificates = bags.flatMap((each) =>
    each.kind === 'certificate' ? [{ ...each, read: asCertificate(each.der) }] : [],
  );
  const used = new Set<unknown>();
  const keys: Pkcs12Key[] = [];
  for (const key of bags) {
    if (key.kind !== 'key') continue;
    const publicKey = await publicKeyOf(key.pkcs8);
    const own =
      certificates.find(({ read }) => publicKey !== undefined && equalBytes(read.publicKey, publicKey)) ??
      certificates.find(
        ({ localKeyId }) =>
          publicKey === undefined &&
          localKeyId !== undefined &&
          equalBytes(localKeyId, key.localKeyId ?? new Uint8Array()),
      );
    const chain = own === undefined ? [] : chainFrom(own, certificates);
    for (const each of chain) used.add(each);
    const name = key.friendlyName ?? own?.friendlyName;
    keys.push({
      pkcs8: key.pkcs8,
      chain: chain.map(({ der }) => der),
      ...(name === undefined ? {} : { friendlyName: name }),
    });
  }
  const others = certificates.filter((each) => !used.has(each));
  return {
    keys,
    certificates: others.map(({ der, friendlyName, trusted }) => ({
      certificate: der,
      trusted,
      ...(friendlyName === undefined ? {} : { friendlyName }),
    })),
  };
}

/** The public key, where the private one is of a kind that this package opens. */
async function publicKeyOf(pkcs8: Uint8Array): Promise<Uint8Array | undefined> {
  try {
    return (await importKey(pkcs8)).publicKey;
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

/** By names alone: whether the chain is any good is for `validatePath` to say. */
function chainFrom<T extends { readonly read: Certificate }>(own: T, all: readonly T[]): readonly T[] {
  const chain = [own];
  for (let last = own; chain.length <= all.length; ) {
    const above = all.find((each) => !chain.includes(each) && equalBytes(each.read.subject.der, last.read.issuer.der));
    if (above === undefined) break;
    chain.push(above);
    last = above;
  }
  return chain;
}
