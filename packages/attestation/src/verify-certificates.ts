/** Whose keys are these: certificate chains of the attestation key and of the device, from anchors that the verifier already had. */

import { type Certificate, nameText, PkiError, parseCertificate, validatePath, verifyDocument } from '@casemate/pki';
import { publicKeySpki, TpmError, TpmtPublic } from '@casemate/tpm';
import { decode, WireError } from '@casemate/wire';
import { deviceProofData, evidenceNonce } from './binding.js';
import { type Check, failed, passed } from './check.js';
import type { CertifiedKey } from './claims.js';
import type { Evidence } from './evidence.js';
import { equalBytes } from './octets.js';
import type { VerifyOptions } from './verify.js';

/** What was established about the keys. */
export interface CertificatesResult {
  /** All of them named `certificate`. */
  readonly checks: readonly Check[];
  /** There when its checks held. */
  readonly attestationKey: CertifiedKey | undefined;
  /** There when its checks held. */
  readonly device: CertifiedKey | undefined;
}

/** Validates both chains, and that they belong to the key that quoted and to the key that signed the proof. */
export async function verifyCertificates(evidence: Evidence, options: VerifyOptions): Promise<CertificatesResult> {
  const ak = await orProblem(() => attestationKeyOf(evidence, options));
  const device = await orProblem(() => deviceOf(evidence, options));
  const link = typeof ak === 'string' || typeof device === 'string' ? undefined : identityProblem(ak, device);
  return {
    checks: [
      report('the attestation key', ak),
      report('the device', device),
      ...(link === undefined ? [] : [failed('certificate', link)]),
    ],
    attestationKey: typeof ak === 'string' ? undefined : certifiedKey(ak),
    device: typeof device === 'string' || link !== undefined ? undefined : certifiedKey(device),
  };
}

/** The parts of a certificate that claims carry. */
export function certifiedKey(certificate: Certificate): CertifiedKey {
  return { certificate: certificate.der, subject: nameText(certificate.subject), uris: urisOf(certificate) };
}

/** The chain of the attestation key; its certificate must be for the key that the quote is verified with. */
async function attestationKeyOf(
  evidence: Evidence,
  { anchors, time, crls }: VerifyOptions,
): Promise<Certificate | string> {
  const [leaf, ...intermediates] = evidence.akCertificates;
  if (!leaf) return 'no certificate is given';
  const options = { purpose: 'tpm-ak', time, ...(crls ? { crls } : {}) } as const;
  const result = await validatePath(leaf, intermediates, anchors.attestation, options);
  if (!result.ok) return result.problem.message;
  const certificate = parseCertificate(leaf);
  if (certificate.basicConstraints?.ca) return 'the certificate is that of a CA';
  const spki = publicKeySpki(decode(TpmtPublic, evidence.attestationKey));
  return equalBytes(spki, certificate.publicKey)
    ? certificate
    : 'the certificate is for another key than the one that quoted';
}

/** The chain of the device, and its signature for this challenge and report. */
async function deviceOf(evidence: Evidence, { anchors, time, crls }: VerifyOptions): Promise<Certificate | string> {
  const [leaf, ...intermediates] = evidence.deviceCertificates;
  if (!leaf) return 'no certificate is given';
  const result = await verifyDocument(deviceProofData(evidenceNonce(evidence.nonce, evidence)), evidence.deviceProof, {
    anchors: anchors.device,
    intermediates,
    purpose: 'client-auth',
    time,
    ...(crls ? { crls } : {}),
  });
  if (!result.ok) return result.problem.message;
  if (!equalBytes(result.signer.der, leaf)) return 'the answer is signed under another certificate';
  return result.signer.basicConstraints?.ca ? 'the certificate is that of a CA' : result.signer;
}

async function orProblem<T>(run: () => Promise<T | string>): Promise<T | string> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof PkiError || error instanceof WireError || error instanceof TpmError) return error.message;
    throw error;
  }
}

/** Where the CA named the device in both certificates, it must be the same device. */
function identityProblem(ak: Certificate, device: Certificate): string | undefined {
  const named = urisOf(ak);
  const own = urisOf(device);
  if (named.length === 0 || named.some((uri) => own.includes(uri))) return undefined;
  return `the attestation key is certified for ${named.join(', ')}, the device for ${own.join(', ')}`;
}

function report(whose: string, certificate: Certificate | string): Check {
  if (typeof certificate === 'string') return failed('certificate', `${whose}: ${certificate}`);
  return passed('certificate', `${whose} is certified for ${nameText(certificate.subject)}`);
}

function urisOf(certificate: Certificate): readonly string[] {
  return (certificate.subjectAltName ?? []).flatMap((name) => (name.type === 'uri' ? [name.value] : []));
}
