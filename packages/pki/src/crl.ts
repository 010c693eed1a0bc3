/** Certificate revocation lists: a reader and the check of one certificate (RFC 5280 sections 5 and 6.3). */
import { parseSignatureIdentifier } from './algorithm.js';
import { equalBytes, toHex } from './bytes.js';
import type { Certificate } from './certificate.js';
import { constructed, DerReader, octetsOfBitString, openDer, smallInteger, TAG, type Tlv, timeValue } from './der.js';
import { malformed, PkiError } from './error.js';
import { crlNumberValue, type Extension, parseExtensions } from './extension.js';
import { type DistinguishedName, nameText, parseName, sameName } from './name.js';
import { EXTENSION } from './oid.js';
import { verifySignature } from './signature.js';

/** A CRL that was read; its signature has not been checked. */
export interface Crl {
  /** The whole list. */
  readonly der: Uint8Array;
  /** The bytes that the signature covers. */
  readonly tbs: Uint8Array;
  /** Who signed. */
  readonly issuer: DistinguishedName;
  /** When it was made. */
  readonly thisUpdate: Date;
  /** When the next one will be there at the latest. */
  readonly nextUpdate?: Date;
  /** The serial numbers on it, as lower-case hexadecimal contents of the INTEGER, with the time of revocation. */
  readonly revoked: ReadonlyMap<string, Date>;
  /** Extensions of the list. */
  readonly extensions: readonly Extension[];
  /** Whether an entry has a critical extension, which this reader would not apply. */
  readonly hasCriticalEntryExtension: boolean;
  /** AlgorithmIdentifier DER of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
}

const MAX_CRL = 64 << 20;

/** Reads a CRL of at most 64 MiB, DER only. Throws {@link PkiError} `malformed`. */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > MAX_CRL) throw malformed('CertificateList', `expected at most ${MAX_CRL} bytes, got ${der.length}`);
  const bytes = der.slice();
  const outer = openDer(bytes, TAG.SEQUENCE, 'CertificateList');
  const tbs = outer.take(TAG.SEQUENCE, 'tbsCertList');
  const signatureAlgorithm = outer.take(TAG.SEQUENCE, 'signatureAlgorithm').bytes;
  const signature = octetsOfBitString(outer.take(TAG.BIT_STRING, 'signature').content, 'CertificateList/signature');
  outer.finish();
  return { der: bytes, tbs: tbs.bytes, signatureAlgorithm, signature, ...parseTbs(tbs, signatureAlgorithm) };
}

function parseTbs(
  tbs: Tlv,
  signatureAlgorithm: Uint8Array,
): Omit<Crl, 'der' | 'tbs' | 'signatureAlgorithm' | 'signature'> {
  const reader = new DerReader(tbs.content, 'TBSCertList');
  const version = smallInteger(reader.take(TAG.INTEGER, 'version').content, 'TBSCertList/version');
  if (version !== 1) throw malformed('TBSCertList', `expected version 2, got ${version + 1}`);
  if (!equalBytes(reader.take(TAG.SEQUENCE, 'signature').bytes, signatureAlgorithm)) {
    throw malformed('TBSCertList', 'expected the same signature algorithm inside and outside, got two');
  }
  const issuer = parseName(reader.take(TAG.SEQUENCE, 'issuer').bytes, 'issuer');
  const thisUpdate = timeValue(reader.any('thisUpdate'), 'thisUpdate');
  const next = isTime(reader.tag) ? { nextUpdate: timeValue(reader.any('nextUpdate'), 'nextUpdate') } : {};
  const entries = parseEntries(reader.optional(TAG.SEQUENCE, 'revokedCertificates')?.content);
  const explicit = reader.optional(constructed(0), 'crlExtensions');
  reader.finish();
  const extensions = explicit === undefined ? [] : parseExtensions(explicit.content, 'crlExtensions');
  return { issuer, thisUpdate, ...next, ...entries, extensions };
}

function isTime(tag: number): boolean {
  return tag === TAG.UTC_TIME || tag === TAG.GENERALIZED_TIME;
}

function parseEntries(content: Uint8Array | undefined): Pick<Crl, 'revoked' | 'hasCriticalEntryExtension'> {
  const revoked = new Map<string, Date>();
  let hasCriticalEntryExtension = false;
  const reader = new DerReader(content ?? new Uint8Array(), 'revokedCertificates');
  while (!reader.done) {
    const entry = reader.enter(TAG.SEQUENCE, 'entry');
    const serial = entry.take(TAG.INTEGER, 'userCertificate').content;
    revoked.set(toHex(serial), timeValue(entry.any('revocationDate'), 'revocationDate'));
    const extensions = entry.optional(TAG.SEQUENCE, 'crlEntryExtensions');
    entry.finish();
    if (
      extensions !== undefined &&
      parseExtensions(extensions.bytes, 'crlEntryExtensions').some((each) => each.critical)
    ) {
      hasCriticalEntryExtension = true;
    }
  }
  return { revoked, hasCriticalEntryExtension };
}

/** What the CRLs at hand say about one certificate. */
export type RevocationStatus =
  /** No CRL of this issuer is there. */
  | { readonly status: 'no-crl' }
  | { readonly status: 'good' }
  | { readonly status: 'revoked'; readonly since: Date }
  /** CRLs of this issuer are there, but none that may be used. */
  | { readonly status: 'unusable'; readonly reason: string };

/** Asks `crls` about `certificate`, whose issuer's certificate is `issuer`, at `time` (direct, complete CRLs only). */
export async function revocationStatus(
  certificate: Certificate,
  issuer: Certificate,
  crls: readonly Crl[],
  time: Date,
): Promise<RevocationStatus> {
  let reason = '';
  let usable = false;
  for (const crl of crls.filter((each) => sameName(each.issuer, certificate.issuer))) {
    const problem = await crlProblem(crl, issuer, time);
    if (problem !== undefined) {
      reason = problem;
      continue;
    }
    usable = true;
    const since = crl.revoked.get(serialKey(certificate.serialNumber));
    if (since !== undefined) return { status: 'revoked', since };
  }
  if (usable) return { status: 'good' };
  return reason === '' ? { status: 'no-crl' } : { status: 'unusable', reason };
}

/** The hexadecimal contents of the INTEGER of a positive serial number. */
function serialKey(serial: bigint): string {
  const digits = serial.toString(16);
  const even = digits.length % 2 === 0 ? digits : `0${digits}`;
  return Number.parseInt(even.slice(0, 2), 16) & 0x80 ? `00${even}` : even;
}

async function crlProblem(crl: Crl, issuer: Certificate, time: Date): Promise<string | undefined> {
  const name = nameText(crl.issuer);
  if (issuer.keyUsage !== undefined && !issuer.keyUsage.has('cRLSign')) return `${name} may not sign CRLs`;
  const extension = crlExtensionProblem(crl);
  if (extension !== undefined) return `the CRL of ${name} ${extension}`;
  if (time < crl.thisUpdate) return `the CRL of ${name} is from the future, ${crl.thisUpdate.toISOString()}`;
  if (crl.nextUpdate === undefined || time > crl.nextUpdate) return `the CRL of ${name} is out of date`;
  return (await isSignedBy(crl, issuer)) ? undefined : `the CRL of ${name} has a bad signature`;
}

function crlExtensionProblem(crl: Crl): string | undefined {
  const number = crl.extensions.find((each) => each.oid === EXTENSION.cRLNumber);
  if (number === undefined) return 'has no number';
  if (number.critical) return 'has a critical number';
  if (crl.hasCriticalEntryExtension) return 'has an entry with a critical extension';
  const critical = crl.extensions.find((each) => each.critical);
  if (critical !== undefined) return `has the critical extension ${critical.oid}`;
  return isNumber(number.value) ? undefined : 'has a malformed number';
}

function isNumber(value: Uint8Array): boolean {
  try {
    return crlNumberValue(value) >= 0n;
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}

async function isSignedBy(crl: Crl, issuer: Certificate): Promise<boolean> {
  try {
    const scheme = parseSignatureIdentifier(crl.signatureAlgorithm, 'CertificateList/signatureAlgorithm');
    return await verifySignature(issuer.publicKey, scheme, crl.tbs, crl.signature);
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}
