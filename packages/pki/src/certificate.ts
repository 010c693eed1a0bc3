/** Certificates: a strict reader for what RFC 5280 section 4.1 defines. */
import { equalBytes } from './bytes.js';
import { constructed, DerReader, integerValue, octetsOfBitString, openDer, TAG, timeValue } from './der.js';
import { malformed } from './error.js';
import { type Extension, type ExtensionValues, extensionValues, parseExtensions } from './extension.js';
import { type DistinguishedName, parseName } from './name.js';
import { decodePem } from './pem.js';

/** A certificate that was read, not yet trusted: nothing in it has been verified. */
export interface Certificate extends ExtensionValues {
  /** The whole certificate. */
  readonly der: Uint8Array;
  /** The bytes that the signature covers. */
  readonly tbs: Uint8Array;
  /** 1, 2 or 3. */
  readonly version: number;
  /** Positive in every certificate that follows the rules. */
  readonly serialNumber: bigint;
  /** AlgorithmIdentifier DER of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  /** Who signed. */
  readonly issuer: DistinguishedName;
  /** Whose key it is. */
  readonly subject: DistinguishedName;
  /** First second of validity. */
  readonly notBefore: Date;
  /** Last second of validity. */
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** Every extension as it stands. */
  readonly extensions: readonly Extension[];
  /** The signature's bytes. */
  readonly signature: Uint8Array;
}

const MAX_CERTIFICATE = 1 << 20;

/**
 * Reads a certificate of at most 1 MiB, DER only. The bytes are copied first.
 * Throws {@link PkiError} `malformed` for anything else, for an extension that is there twice, and where the two signature algorithm
 * fields differ (RFC 5280 4.1.1.2).
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE)
    throw malformed('Certificate', `expected at most ${MAX_CERTIFICATE} bytes, got ${der.length}`);
  const bytes = der.slice();
  const outer = openDer(bytes, TAG.SEQUENCE, 'Certificate');
  const tbs = outer.take(TAG.SEQUENCE, 'tbsCertificate');
  const signatureAlgorithm = outer.take(TAG.SEQUENCE, 'signatureAlgorithm').bytes;
  const signature = octetsOfBitString(outer.take(TAG.BIT_STRING, 'signature').content, 'Certificate/signature');
  outer.finish();
  const fields = parseTbs(new DerReader(tbs.content, 'TBSCertificate'), signatureAlgorithm);
  return { der: bytes, tbs: tbs.bytes, signatureAlgorithm, signature, ...fields };
}

/** {@link parseCertificate} for the first CERTIFICATE block of a PEM text. */
export function parseCertificatePem(pem: string): Certificate {
  return parseCertificate(decodePem('CERTIFICATE', pem));
}

type TbsFields = Omit<Certificate, 'der' | 'tbs' | 'signatureAlgorithm' | 'signature'>;

function parseTbs(reader: DerReader, signatureAlgorithm: Uint8Array): TbsFields {
  const version = parseVersion(reader);
  const serialNumber = integerValue(reader.take(TAG.INTEGER, 'serialNumber').content, 'serialNumber');
  const algorithm = reader.take(TAG.SEQUENCE, 'signature').bytes;
  if (!equalBytes(algorithm, signatureAlgorithm)) {
    throw malformed('Certificate', 'expected the same signature algorithm inside and outside, got two');
  }
  const issuer = parseName(reader.take(TAG.SEQUENCE, 'issuer').bytes, 'issuer');
  const validity = reader.enter(TAG.SEQUENCE, 'validity');
  const notBefore = timeValue(validity.any('notBefore'), 'notBefore');
  const notAfter = timeValue(validity.any('notAfter'), 'notAfter');
  validity.finish();
  const subject = parseName(reader.take(TAG.SEQUENCE, 'subject').bytes, 'subject');
  const publicKey = reader.take(TAG.SEQUENCE, 'subjectPublicKeyInfo').bytes;
  const extensions = parseTail(reader, version);
  const names = { serialNumber, issuer, subject, notBefore, notAfter, publicKey };
  return { version, ...names, extensions, ...extensionValues(extensions) };
}

function parseVersion(reader: DerReader): number {
  if (reader.tag !== constructed(0)) return 1;
  const explicit = reader.enter(constructed(0), 'version');
  const version = integerValue(explicit.take(TAG.INTEGER, '').content, 'version');
  explicit.finish();
  if (version !== 1n && version !== 2n) throw malformed('Certificate', `expected version 2 or 3, got ${version + 1n}`);
  return Number(version) + 1;
}

function parseTail(reader: DerReader, version: number): readonly Extension[] {
  if (version > 1) {
    reader.optional(0x81, 'issuerUniqueID');
    reader.optional(0x82, 'subjectUniqueID');
  }
  const explicit = version === 3 ? reader.optional(constructed(3), 'extensions') : undefined;
  reader.finish();
  return explicit === undefined ? [] : parseExtensions(explicit.content, 'extensions');
}

/** A certificate as DER or already read; functions that take certificates take either. */
export type CertificateInput = Uint8Array | Certificate;

/** Reads `input` unless it has been read. Throws {@link PkiError} `malformed`. */
export function asCertificate(input: CertificateInput): Certificate {
  return input instanceof Uint8Array ? parseCertificate(input) : input;
}
