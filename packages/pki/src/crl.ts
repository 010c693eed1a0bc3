/** Certificate revocation lists: a reader of complete and delta lists (RFC 5280 section 5). */
import { equalBytes } from './bytes.js';
import { type CrlEntries, entriesOf, noEntries } from './crl-entries.js';
import { type CrlScope, crlScope } from './crl-scope.js';
import { constructed, DerReader, octetsOfBitString, openDer, smallInteger, TAG, type Tlv, timeValue } from './der.js';
import { malformed } from './error.js';
import { crlNumberValue, type Extension, parseExtensions } from './extension.js';
import { type DistinguishedName, parseName } from './name.js';
import { EXTENSION } from './oid.js';

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
  /** The certificates on it, looked up by serial number in constant time. */
  readonly entries: CrlEntries;
  /** The number of this list in its issuer's sequence (RFC 5280 5.2.3). */
  readonly number?: bigint;
  /** In a delta CRL the number of the complete list that it starts from (RFC 5280 5.2.4). */
  readonly baseNumber?: bigint;
  /** Which certificates the list is about; all of its issuer's where the extension is absent (RFC 5280 5.2.5). */
  readonly scope?: CrlScope;
  /** Extensions of the list. */
  readonly extensions: readonly Extension[];
  /** AlgorithmIdentifier DER of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
}

const MAX_CRL = 64 << 20;

/** Reads a CRL of at most 64 MiB, DER only. The bytes are copied first. Throws {@link PkiError} `malformed`. */
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
  const list = reader.optional(TAG.SEQUENCE, 'revokedCertificates');
  const explicit = reader.optional(constructed(0), 'crlExtensions');
  reader.finish();
  const extensions = explicit === undefined ? [] : parseExtensions(explicit.content, 'crlExtensions');
  const entries = list === undefined ? noEntries : entriesOf(list.content);
  return { issuer, thisUpdate, ...next, entries, extensions, ...listValues(extensions) };
}

function isTime(tag: number): boolean {
  return tag === TAG.UTC_TIME || tag === TAG.GENERALIZED_TIME;
}

function listValues(extensions: readonly Extension[]): Pick<Crl, 'number' | 'baseNumber' | 'scope'> {
  const find = (oid: string) => extensions.find((each) => each.oid === oid)?.value;
  const number = find(EXTENSION.cRLNumber);
  const base = find(EXTENSION.deltaCRLIndicator);
  const scope = find(EXTENSION.issuingDistributionPoint);
  return {
    ...(number && { number: crlNumberValue(number) }),
    ...(base && { baseNumber: crlNumberValue(base) }),
    ...(scope && { scope: crlScope(scope) }),
  };
}
