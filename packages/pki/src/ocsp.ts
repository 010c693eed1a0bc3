/** Believing an OCSP answer about one certificate (RFC 6960 sections 3.2 and 4.2.2.2). */
import { parseSignatureIdentifier } from './algorithm.js';
import { equalBytes } from './bytes.js';
import { asCertificate, type Certificate, type CertificateInput } from './certificate.js';
import { certificateProblem } from './certificate-rules.js';
import { PkiError } from './error.js';
import { nameText } from './name.js';
import { isOfIssuer, responderKeyHash } from './ocsp-request.js';
import { type OcspResponse, parseOcspResponse, type SingleResponse } from './ocsp-response.js';
import { EXTENDED_KEY_USAGE, OCSP } from './oid.js';
import type { RevocationStatus } from './revocation.js';
import { verifySignature } from './signature.js';

/** What an OCSP answer is checked against. */
export interface OcspOptions {
  /** The moment of the check. */
  readonly time: Date;
  /** The nonce of the question, which the answer must then repeat. */
  readonly nonce?: Uint8Array;
}

/**
 * What an OCSP answer says about `certificate`, which `issuer` issued. The answer counts where the issuer signed it, or a responder
 * with a certificate of the issuer, for OCSP signing, that says that it need not be checked itself (id-pkix-ocsp-nocheck).
 * `no-crl` is never answered: an answer that is not about the certificate, or cannot be read or believed, is `unusable`.
 */
export async function ocspStatus(
  certificate: CertificateInput,
  issuer: CertificateInput,
  response: Uint8Array,
  options: OcspOptions,
): Promise<RevocationStatus> {
  const ca = asCertificate(issuer);
  try {
    const answer = parseOcspResponse(response);
    const problem = answerProblem(answer, options) ?? (await signerProblem(answer, ca, options.time));
    if (problem !== undefined) return unusable(ca, problem);
    return statusIn(answer, asCertificate(certificate).serialNumber, ca, options.time);
  } catch (error) {
    if (error instanceof PkiError) return unusable(ca, `cannot be used: ${error.message}`);
    throw error;
  }
}

function unusable(issuer: Certificate, problem: string): RevocationStatus {
  return { status: 'unusable', reason: `the OCSP answer for ${nameText(issuer.subject)} ${problem}` };
}

function answerProblem(answer: OcspResponse, { nonce }: OcspOptions): string | undefined {
  const critical = answer.extensions.find((each) => each.critical && each.oid !== OCSP.nonce);
  if (critical !== undefined) return `has the critical extension ${critical.oid}`;
  if (nonce === undefined) return undefined;
  return answer.nonce !== undefined && equalBytes(answer.nonce, nonce) ? undefined : 'does not repeat the nonce';
}

async function signerProblem(answer: OcspResponse, ca: Certificate, time: Date): Promise<string | undefined> {
  const signer = [ca, ...answer.certificates].find((each) => isNamed(answer, each));
  if (signer === undefined) return 'is of a responder whose certificate is not there';
  if (!(await isSigned(signer, answer.signatureAlgorithm, answer.tbs, answer.signature))) return 'has a bad signature';
  if (equalBytes(signer.publicKey, ca.publicKey)) return undefined;
  return delegationProblem(signer, ca, time);
}

function isNamed({ responder }: OcspResponse, certificate: Certificate): boolean {
  return 'name' in responder
    ? equalBytes(responder.name, certificate.subject.der)
    : equalBytes(responder.keyHash, responderKeyHash(certificate.publicKey));
}

async function delegationProblem(signer: Certificate, ca: Certificate, time: Date): Promise<string | undefined> {
  const name = nameText(signer.subject);
  const isResponder = signer.extendedKeyUsage?.includes(EXTENDED_KEY_USAGE.OCSPSigning) === true;
  // A CA with this usage, of which there have been many, must not speak for the CA above it.
  if (!isResponder || signer.basicConstraints?.ca === true) return `is of ${name}, no OCSP responder`;
  if (!equalBytes(signer.issuer.der, ca.subject.der)) return `is of ${name}, which another CA certified`;
  if (time < signer.notBefore || time > signer.notAfter) return `is of ${name}, whose certificate is not valid now`;
  const problem = certificateProblem(signer, 'leaf', time);
  if (problem !== undefined) return `is of ${name}, whose certificate is not acceptable: ${problem.message}`;
  if (!signer.extensions.some((each) => each.oid === OCSP.noCheck)) return `is of ${name}, which may be revoked itself`;
  const isIssued = await isSigned(ca, signer.signatureAlgorithm, signer.tbs, signer.signature);
  return isIssued ? undefined : `is of ${name}, whose certificate is not the CA's`;
}

async function isSigned(
  signer: Certificate,
  algorithm: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const scheme = parseSignatureIdentifier(algorithm, 'signatureAlgorithm');
  return verifySignature(signer.publicKey, scheme, data, signature);
}

function statusIn(answer: OcspResponse, serialNumber: bigint, ca: Certificate, time: Date): RevocationStatus {
  const own = answer.responses.find((each) => each.certId.serialNumber === serialNumber && isOfIssuer(each.certId, ca));
  if (own === undefined) return unusable(ca, 'is about other certificates');
  const problem = timeProblem(own, time);
  if (problem !== undefined) return unusable(ca, problem);
  switch (own.status) {
    case 'good':
      return { status: 'good' };
    case 'revoked':
      return { status: 'revoked', since: own.since, reason: own.reason ?? 'unspecified' };
    case 'unknown':
      return unusable(ca, 'does not know the certificate');
  }
}

function timeProblem({ thisUpdate, nextUpdate }: SingleResponse, time: Date): string | undefined {
  if (time < thisUpdate) return `is from the future, ${thisUpdate.toISOString()}`;
  if (nextUpdate === undefined || time > nextUpdate) return 'is out of date';
  return undefined;
}
