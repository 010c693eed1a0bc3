/** Questions about certificates to an OCSP responder (RFC 6960 section 4.1; the nonce is RFC 8954's). */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { algorithmOid } from './algorithm.js';
import { equalBytes } from './bytes.js';
import { asCertificate, type Certificate, type CertificateInput } from './certificate.js';
import {
  constructed,
  type DerReader,
  integer,
  integerValue,
  nul,
  octetString,
  octetsOfBitString,
  oid,
  openDer,
  readDer,
  sequence,
  smallInteger,
  TAG,
  tlv,
} from './der.js';
import { malformed, PkiError } from './error.js';
import { type Extension, encodeExtension, parseExtensions } from './extension.js';
import { ALGORITHM, OCSP } from './oid.js';

/** Which certificate a question or an answer is about: its issuer by two digests, and its serial number (RFC 6960 4.1.1). */
export interface CertId {
  /** What the digests were made with. */
  readonly hash: 'sha1' | 'sha256';
  /** Digest of the issuer's name. */
  readonly issuerNameHash: Uint8Array;
  /** Digest of the issuer's subjectPublicKey. */
  readonly issuerKeyHash: Uint8Array;
  /** The certificate's serial number. */
  readonly serialNumber: bigint;
  /** The whole CertID as it stands; an answer repeats it byte for byte. */
  readonly der: Uint8Array;
}

/** A question that was read. Signatures over questions are not asked for, and not checked. */
export interface OcspRequest {
  /** The certificates asked about, 1 to 64. */
  readonly certIds: readonly CertId[];
  /** The nonce, 1 to 128 bytes, which the answer must repeat; absent where there is none. */
  readonly nonce?: Uint8Array;
}

/** Options of {@link buildOcspRequest}. */
export interface OcspRequestOptions {
  /** Digest of the CertID. `sha1`, which every responder knows, without it; it protects nothing there. */
  readonly hash?: 'sha1' | 'sha256';
  /** 1 to 32 bytes that the answer must repeat; none without it, and then a responder may answer from its cache. */
  readonly nonce?: Uint8Array;
}

const MAX_REQUEST = 64 << 10;
const MAX_QUESTIONS = 64;

/** Builds the unsigned question about one certificate, DER. Throws {@link PkiError} `bad-input` for a nonce of another length. */
export function buildOcspRequest(
  certificate: CertificateInput,
  issuer: CertificateInput,
  options: OcspRequestOptions = {},
): Uint8Array {
  const { hash = 'sha1', nonce } = options;
  const id = certId(asCertificate(issuer), asCertificate(certificate).serialNumber, hash);
  if (nonce !== undefined && (nonce.length < 1 || nonce.length > 32)) {
    throw new PkiError('bad-input', `build OCSP request: expected a nonce of 1 to 32 bytes, got ${nonce.length}`);
  }
  const extensions = nonce === undefined ? [] : [tlv(constructed(2), sequence(encodeExtension(nonceExtension(nonce))))];
  return sequence(sequence(sequence(sequence(id.der)), ...extensions));
}

/** The nonce of a question or of its answer. */
export function nonceExtension(nonce: Uint8Array): Extension {
  return { oid: OCSP.nonce, critical: false, value: octetString(nonce) };
}

/** Reads a question of at most 64 KiB. Throws {@link PkiError} `malformed`, `unsupported` for digests that are not SHA-1 or SHA-256. */
export function parseOcspRequest(der: Uint8Array): OcspRequest {
  const what = 'OCSPRequest';
  if (der.length > MAX_REQUEST) throw malformed(what, `expected at most ${MAX_REQUEST} bytes, got ${der.length}`);
  const outer = openDer(der.slice(), TAG.SEQUENCE, what);
  const tbs = outer.enter(TAG.SEQUENCE, 'tbsRequest');
  outer.optional(constructed(0), 'optionalSignature');
  outer.finish();
  readVersion(tbs, what);
  tbs.optional(constructed(1), 'requestorName');
  const certIds = readQuestions(tbs.enter(TAG.SEQUENCE, 'requestList'));
  const extensions = readExtensions(tbs, 2, what);
  tbs.finish();
  const nonce = nonceOf(extensions);
  return { certIds, ...(nonce && { nonce }) };
}

function readQuestions(list: DerReader): readonly CertId[] {
  const certIds: CertId[] = [];
  while (!list.done) {
    if (certIds.length === MAX_QUESTIONS) throw malformed('OCSPRequest', `expected at most ${MAX_QUESTIONS} questions`);
    const request = list.enter(TAG.SEQUENCE, 'Request');
    certIds.push(readCertId(request.take(TAG.SEQUENCE, 'reqCert').bytes));
    const critical = readExtensions(request, 0, 'singleRequestExtensions').find((each) => each.critical);
    if (critical !== undefined) {
      throw new PkiError('unsupported', `decode OCSPRequest: expected known critical extensions, got ${critical.oid}`);
    }
    request.finish();
  }
  if (certIds.length === 0) throw malformed('OCSPRequest', 'expected at least one question, got none');
  return certIds;
}

/** Takes an explicit version where there is one; v1 is the only one. */
export function readVersion(reader: DerReader, what: string): void {
  const version = reader.optional(constructed(0), 'version');
  if (version === undefined) return;
  const number = smallInteger(readDer(version.content, TAG.INTEGER, what), what);
  throw malformed(what, number === 0 ? 'expected no encoded default version' : `expected version 1, got ${number + 1}`);
}

/** Takes explicitly tagged extensions where there are any. */
export function readExtensions(reader: DerReader, number: number, what: string): readonly Extension[] {
  const explicit = reader.optional(constructed(number), 'extensions');
  return explicit === undefined ? [] : parseExtensions(explicit.content, what);
}

/** The nonce among `extensions`. Throws {@link PkiError} `malformed` where it is not 1 to 128 bytes (RFC 9654). */
export function nonceOf(extensions: readonly Extension[]): Uint8Array | undefined {
  const value = extensions.find((each) => each.oid === OCSP.nonce)?.value;
  if (value === undefined) return undefined;
  const nonce = readDer(value, TAG.OCTET_STRING, 'nonce');
  if (nonce.length < 1 || nonce.length > 128) {
    throw malformed('nonce', `expected 1 to 128 bytes, got ${nonce.length}`);
  }
  return nonce;
}

/** Reads a CertID. Throws {@link PkiError} `malformed` or `unsupported`. */
export function readCertId(der: Uint8Array): CertId {
  const what = 'CertID';
  const reader = openDer(der, TAG.SEQUENCE, what);
  const hash = certIdHash(algorithmOid(reader.take(TAG.SEQUENCE, 'hashAlgorithm').bytes, what));
  const issuerNameHash = reader.take(TAG.OCTET_STRING, 'issuerNameHash').content;
  const issuerKeyHash = reader.take(TAG.OCTET_STRING, 'issuerKeyHash').content;
  const serialNumber = integerValue(reader.take(TAG.INTEGER, 'serialNumber').content, what);
  reader.finish();
  return { hash, issuerNameHash, issuerKeyHash, serialNumber, der };
}

function certIdHash(dotted: string): CertId['hash'] {
  if (dotted === OCSP.sha1) return 'sha1';
  if (dotted === ALGORITHM.sha256) return 'sha256';
  throw new PkiError('unsupported', `decode CertID: expected SHA-1 or SHA-256, got ${dotted}`);
}

/** The CertID of the certificate that `issuer` issued under a serial number. */
function certId(issuer: Certificate, serialNumber: bigint, hash: CertId['hash']): CertId {
  const digest = DIGEST[hash];
  const issuerNameHash = digest(issuer.subject.der);
  const issuerKeyHash = digest(keyBits(issuer.publicKey));
  const algorithm = sequence(oid(hash === 'sha1' ? OCSP.sha1 : ALGORITHM.sha256), nul());
  const hashes = [octetString(issuerNameHash), octetString(issuerKeyHash)];
  const der = sequence(algorithm, ...hashes, integer(serialNumber));
  return { hash, issuerNameHash, issuerKeyHash, serialNumber, der };
}

/** Whether a CertID means a certificate of this issuer. */
export function isOfIssuer(id: CertId, issuer: Certificate): boolean {
  const expected = certId(issuer, id.serialNumber, id.hash);
  return equalBytes(expected.issuerNameHash, id.issuerNameHash) && equalBytes(expected.issuerKeyHash, id.issuerKeyHash);
}

/** SHA-1 of a subjectPublicKey, by which a responder names itself (RFC 6960 4.2.1). */
export function responderKeyHash(spki: Uint8Array): Uint8Array {
  return sha1(keyBits(spki));
}

function keyBits(spki: Uint8Array): Uint8Array {
  const reader = openDer(spki, TAG.SEQUENCE, 'SubjectPublicKeyInfo');
  reader.take(TAG.SEQUENCE, 'algorithm');
  return octetsOfBitString(reader.take(TAG.BIT_STRING, 'subjectPublicKey').content, 'subjectPublicKey');
}

const DIGEST = { sha1, sha256 } as const;
