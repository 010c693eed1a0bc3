/** Answers of an OCSP responder: making them and reading them (RFC 6960 section 4.2). */
import { signatureIdentifier } from './algorithm.js';
import { asCertificate, type Certificate, type CertificateInput, parseCertificate } from './certificate.js';
import { CRL_REASONS, type CrlReason } from './crl-entries.js';
import {
  bitString,
  constructed,
  DerReader,
  enumerated,
  generalizedTime,
  octetString,
  octetsOfBitString,
  oid,
  oidValue,
  openDer,
  primitive,
  readDer,
  sequence,
  smallInteger,
  TAG,
  type Tlv,
  timeValue,
  tlv,
  tlvOf,
} from './der.js';
import { malformed, PkiError } from './error.js';
import { type Extension, encodeExtension } from './extension.js';
import { assertSignerOf, type Signer, signChecked, signerScheme } from './key.js';
import { nameText } from './name.js';
import {
  type CertId,
  isOfIssuer,
  nonceExtension,
  nonceOf,
  parseOcspRequest,
  readCertId,
  readExtensions,
  readVersion,
  responderKeyHash,
} from './ocsp-request.js';
import { OCSP } from './oid.js';

/** What is known of a certificate. */
export type CertificateStatus =
  | { readonly status: 'good' }
  | { readonly status: 'revoked'; readonly since: Date; readonly reason?: CrlReason }
  /** The issuer never issued it, or this responder does not know. */
  | { readonly status: 'unknown' };

/** One answer. */
export type SingleResponse = CertificateStatus & {
  /** Which certificate. */
  readonly certId: CertId;
  /** When this was known to be right. */
  readonly thisUpdate: Date;
  /** When there will be newer information at the latest. */
  readonly nextUpdate?: Date;
};

/** A successful answer that was read; its signature has not been checked. */
export interface OcspResponse {
  /** The bytes that the signature covers. */
  readonly tbs: Uint8Array;
  /** AlgorithmIdentifier DER of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
  /** When it was signed. */
  readonly producedAt: Date;
  /** Who says to have signed: Name DER, or the SHA-1 of a key. */
  readonly responder: { readonly name: Uint8Array } | { readonly keyHash: Uint8Array };
  /** The answers, 1 to 64. */
  readonly responses: readonly SingleResponse[];
  /** Certificates that came along, at most 8. */
  readonly certificates: readonly Certificate[];
  /** The nonce of the question. */
  readonly nonce?: Uint8Array;
  /** Extensions of the whole answer. */
  readonly extensions: readonly Extension[];
}

/** The states of a responder that gives no answer (RFC 6960 4.2.1). */
export const OCSP_ERRORS = {
  malformedRequest: 1,
  internalError: 2,
  tryLater: 3,
  sigRequired: 5,
  unauthorized: 6,
} as const;

/** Why a responder gives no answer. */
export type OcspError = keyof typeof OCSP_ERRORS;

/** Who answers, and from what. */
export interface OcspResponder {
  /** The CA whose certificates are asked about. */
  readonly issuer: CertificateInput;
  /** The key that signs the answers: the CA's own, or that of `certificate`. */
  readonly signer: Signer;
  /** The certificate of a responder that the CA delegated to (profile `ocspResponder`); without it the CA signs itself. */
  readonly certificate?: CertificateInput;
  /** What is known of a serial number of this CA. */
  statusOf(serialNumber: bigint): CertificateStatus | Promise<CertificateStatus>;
  /** Milliseconds for which an answer is good; an hour without it. */
  readonly validity?: number;
  /** The time of the answer; now without it. */
  readonly time?: Date;
}

const MAX_RESPONSE = 1 << 20;

/**
 * Answers a question, DER in and out. A question that cannot be read, or about certificates of other CAs alone, is answered with
 * `malformedRequest` or `unauthorized`, which nobody signs. What `statusOf` throws comes through: answer it with {@link ocspError}.
 * Throws {@link PkiError} `key-mismatch` where the signer is not the responder's, `bad-signature` where the signer fails.
 */
export async function answerOcsp(request: Uint8Array, responder: OcspResponder): Promise<Uint8Array> {
  const issuer = asCertificate(responder.issuer);
  const question = readable(request);
  if (question === undefined) return ocspError('malformedRequest');
  if (!question.certIds.some((each) => isOfIssuer(each, issuer))) return ocspError('unauthorized');
  const answers: Uint8Array[] = [];
  for (const each of question.certIds) {
    const status = isOfIssuer(each, issuer) ? await responder.statusOf(each.serialNumber) : UNKNOWN;
    answers.push(encodeSingle(each, status, responder));
  }
  return signAnswer(answers, question.nonce, issuer, responder);
}

/** The answer of a responder that gives none, DER. */
export function ocspError(error: OcspError): Uint8Array {
  return sequence(enumerated(OCSP_ERRORS[error]));
}

function readable(request: Uint8Array): ReturnType<typeof parseOcspRequest> | undefined {
  try {
    return parseOcspRequest(request);
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

function encodeSingle(id: CertId, status: CertificateStatus, responder: OcspResponder): Uint8Array {
  const now = responder.time ?? new Date();
  const next = generalizedTime(new Date(now.getTime() + (responder.validity ?? 3_600_000)));
  return sequence(id.der, encodeStatus(status), generalizedTime(now), tlv(constructed(0), next));
}

function encodeStatus(status: CertificateStatus): Uint8Array {
  switch (status.status) {
    case 'good':
      return tlv(primitive(0));
    case 'unknown':
      return tlv(primitive(2));
    case 'revoked': {
      const number = status.reason === undefined ? 0 : CRL_REASONS.indexOf(status.reason);
      const reason = number === 0 ? [] : [tlv(constructed(0), enumerated(number))];
      return tlv(constructed(1), generalizedTime(status.since), ...reason);
    }
  }
}

async function signAnswer(
  answers: readonly Uint8Array[],
  nonce: Uint8Array | undefined,
  issuer: Certificate,
  responder: OcspResponder,
): Promise<Uint8Array> {
  const delegate = responder.certificate === undefined ? undefined : asCertificate(responder.certificate);
  const own = delegate ?? issuer;
  assertSignerOf(responder.signer, own.publicKey, nameText(own.subject));
  const extensions = nonce === undefined ? [] : [tlv(constructed(1), sequence(encodeExtension(nonceExtension(nonce))))];
  const tbs = sequence(
    tlv(constructed(2), octetString(responderKeyHash(own.publicKey))),
    generalizedTime(responder.time ?? new Date()),
    tlvOf(TAG.SEQUENCE, answers),
    ...extensions,
  );
  const signature = await signChecked(responder.signer, tbs, 'OCSP response');
  const certificates = delegate === undefined ? [] : [tlv(constructed(0), sequence(delegate.der))];
  const algorithm = signatureIdentifier(signerScheme(responder.signer));
  const basic = sequence(tbs, algorithm, bitString(signature), ...certificates);
  return sequence(enumerated(0), tlv(constructed(0), sequence(oid(OCSP.basic), octetString(basic))));
}

/**
 * Reads a successful answer of at most 1 MiB.
 * Throws {@link PkiError} `malformed`, and `unsupported` where the responder gave no answer or one of another kind.
 */
export function parseOcspResponse(der: Uint8Array): OcspResponse {
  const what = 'OCSPResponse';
  if (der.length > MAX_RESPONSE) throw malformed(what, `expected at most ${MAX_RESPONSE} bytes, got ${der.length}`);
  const outer = openDer(der.slice(), TAG.SEQUENCE, what);
  const status = smallInteger(outer.take(TAG.ENUMERATED, 'responseStatus').content, what);
  const explicit = outer.optional(constructed(0), 'responseBytes');
  outer.finish();
  if (status !== 0) throw new PkiError('unsupported', `decode ${what}: expected an answer, got ${errorName(status)}`);
  if (explicit === undefined) throw malformed(what, 'expected an answer, got none');
  const bytes = openDer(explicit.content, TAG.SEQUENCE, 'ResponseBytes');
  const kind = oidValue(bytes.take(TAG.OID, 'responseType').content, what);
  const basic = bytes.take(TAG.OCTET_STRING, 'response').content;
  bytes.finish();
  if (kind !== OCSP.basic) throw new PkiError('unsupported', `decode ${what}: expected a basic response, got ${kind}`);
  return parseBasic(openDer(basic, TAG.SEQUENCE, 'BasicOCSPResponse'));
}

function errorName(status: number): string {
  return Object.entries(OCSP_ERRORS).find(([, number]) => number === status)?.[0] ?? `status ${status}`;
}

function parseBasic(reader: DerReader): OcspResponse {
  const tbs = reader.take(TAG.SEQUENCE, 'tbsResponseData');
  const signatureAlgorithm = reader.take(TAG.SEQUENCE, 'signatureAlgorithm').bytes;
  const signature = octetsOfBitString(reader.take(TAG.BIT_STRING, 'signature').content, 'BasicOCSPResponse');
  const certificates = readCertificates(reader.optional(constructed(0), 'certs')?.content);
  reader.finish();
  return { tbs: tbs.bytes, signatureAlgorithm, signature, certificates, ...parseData(tbs) };
}

function readCertificates(content: Uint8Array | undefined): readonly Certificate[] {
  if (content === undefined) return [];
  const list = openDer(content, TAG.SEQUENCE, 'certs');
  const certificates: Certificate[] = [];
  while (!list.done) {
    if (certificates.length === 8) throw malformed('BasicOCSPResponse', 'expected at most 8 certificates, got more');
    certificates.push(parseCertificate(list.take(TAG.SEQUENCE, 'Certificate').bytes));
  }
  return certificates;
}

function parseData(tbs: Tlv): Pick<OcspResponse, 'responder' | 'producedAt' | 'responses' | 'extensions' | 'nonce'> {
  const what = 'ResponseData';
  const reader = new DerReader(tbs.content, what);
  readVersion(reader, what);
  const responder = readResponder(reader.any('responderID'));
  const producedAt = generalized(reader, 'producedAt');
  const list = reader.enter(TAG.SEQUENCE, 'responses');
  const responses: SingleResponse[] = [];
  while (!list.done) {
    if (responses.length === 64) throw malformed(what, 'expected at most 64 answers, got more');
    responses.push(readSingle(list.enter(TAG.SEQUENCE, 'SingleResponse')));
  }
  const extensions = readExtensions(reader, 1, 'responseExtensions');
  reader.finish();
  const nonce = nonceOf(extensions);
  return { responder, producedAt, responses, extensions, ...(nonce && { nonce }) };
}

function readResponder(element: Tlv): OcspResponse['responder'] {
  if (element.tag === constructed(1)) return { name: element.content };
  if (element.tag === constructed(2)) return { keyHash: readDer(element.content, TAG.OCTET_STRING, 'responderID') };
  throw malformed('ResponseData', `expected a name or a key as responder, got tag 0x${element.tag.toString(16)}`);
}

function generalized(reader: DerReader, field: string): Date {
  return timeValue(reader.take(TAG.GENERALIZED_TIME, field), field, { anyYear: true });
}

function readSingle(reader: DerReader): SingleResponse {
  const certId = readCertId(reader.take(TAG.SEQUENCE, 'certID').bytes);
  const status = readStatus(reader.any('certStatus'));
  const thisUpdate = generalized(reader, 'thisUpdate');
  const next = reader.optional(constructed(0), 'nextUpdate');
  const critical = readExtensions(reader, 1, 'singleExtensions').find((each) => each.critical);
  reader.finish();
  if (critical !== undefined) {
    throw new PkiError('unsupported', `decode SingleResponse: expected known critical extensions, got ${critical.oid}`);
  }
  return { certId, ...status, thisUpdate, ...(next && { nextUpdate: explicitTime(next) }) };
}

function explicitTime(element: Tlv): Date {
  const reader = new DerReader(element.content, 'nextUpdate');
  const time = generalized(reader, 'nextUpdate');
  reader.finish();
  return time;
}

function readStatus(element: Tlv): CertificateStatus {
  switch (element.tag) {
    case primitive(0):
      return { status: 'good' };
    case primitive(2):
      return UNKNOWN;
    case constructed(1):
      return readRevoked(new DerReader(element.content, 'RevokedInfo'));
    default:
      throw malformed('SingleResponse', `expected good, revoked or unknown, got tag 0x${element.tag.toString(16)}`);
  }
}

function readRevoked(reader: DerReader): CertificateStatus {
  const since = generalized(reader, 'revocationTime');
  const explicit = reader.optional(constructed(0), 'revocationReason');
  reader.finish();
  if (explicit === undefined) return { status: 'revoked', since };
  const number = smallInteger(readDer(explicit.content, TAG.ENUMERATED, 'revocationReason'), 'revocationReason');
  const reason = CRL_REASONS[number];
  if (reason === undefined) throw malformed('RevokedInfo', `expected a reason of RFC 5280 5.3.1, got ${number}`);
  return { status: 'revoked', since, reason };
}

const UNKNOWN: CertificateStatus = { status: 'unknown' };
