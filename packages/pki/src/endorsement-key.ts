/** Whether an endorsement key is one, and whether anybody vouches for it (TCG EK Credential Profile 2.5). */
import { type EkKind, ekTemplate, publicKeySpki, TPM_ALG, TpmtPublic } from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { equalBytes, toHex } from './bytes.js';
import { type Certificate, type CertificateInput, parseCertificate } from './certificate.js';
import type { Crl } from './crl.js';
import { tpmIdentity } from './device-name.js';
import { PkiError } from './error.js';
import { validatePath } from './path.js';

/** Whose endorsement keys an authority believes. Each way is enough; without any, every key is refused. */
export interface EkTrust {
  /** Roots of TPM manufacturers; the EK certificate must lead to one of them. */
  readonly anchors?: readonly CertificateInput[];
  /** Intermediates of TPM manufacturers. */
  readonly intermediates?: readonly CertificateInput[];
  /** CRLs of TPM manufacturers, DER. */
  readonly crls?: readonly (Uint8Array | Crl)[];
  /** The makers whose TPMs are taken, as `id:494E5443`; every maker under the anchors without it. */
  readonly manufacturers?: readonly string[];
  /** Keys known from elsewhere, each as {@link ekDigest} gives it. */
  readonly trustedEks?: readonly string[];
  /** Takes any key that looks like an EK. A program can look like one: nothing then says that there is a TPM at all. */
  readonly insecureAcceptUnknownEk?: boolean;
}

/** The identity of an endorsement key: SHA-256 of its SubjectPublicKeyInfo DER, lower-case hexadecimal. */
export function ekDigest(ekPublic: TpmtPublic): string {
  return toHex(sha256(publicKeySpki(ekPublic)));
}

/**
 * Throws {@link PkiError}: `not-allowed` where the public area is not made from an EK template of the profile, `untrusted` where
 * nothing in `trust` vouches for the key, `key-mismatch` where the certificate is another key's, `malformed`.
 */
export async function assertTrustedEk(
  ekPublic: TpmtPublic,
  certificate: Uint8Array,
  trust: EkTrust,
  time: Date,
): Promise<void> {
  assertEkTemplate(ekPublic);
  const digest = ekDigest(ekPublic);
  // A certificate that is given must be right, whatever else vouches for the key.
  const problem =
    certificate.length === 0 ? 'it has no certificate' : await certificateProblem(ekPublic, certificate, trust, time);
  if (problem === undefined || trust.trustedEks?.includes(digest) || trust.insecureAcceptUnknownEk === true) return;
  throw new PkiError(
    'untrusted',
    `trust endorsement key ${digest}: expected one that is vouched for, got one that is not: ${problem}`,
  );
}

/** The TPM enforces the attributes of a key only if it made the key from them; `unique` is the key itself. */
function assertEkTemplate(ekPublic: TpmtPublic): void {
  if (KINDS.some((kind) => isMadeFrom(ekTemplate(kind), ekPublic))) return;
  throw new PkiError(
    'not-allowed',
    'check endorsement key: expected a template of the EK Credential Profile, got another',
  );
}

function isMadeFrom(template: TpmtPublic, key: TpmtPublic): boolean {
  if (template.type === TPM_ALG.RSA && key.type === TPM_ALG.RSA) {
    return equalBytes(encode(TpmtPublic, { ...template, unique: key.unique }), encode(TpmtPublic, key));
  }
  if (template.type === TPM_ALG.ECC && key.type === TPM_ALG.ECC) {
    return equalBytes(encode(TpmtPublic, { ...template, unique: key.unique }), encode(TpmtPublic, key));
  }
  return false;
}

async function certificateProblem(
  ekPublic: TpmtPublic,
  der: Uint8Array,
  trust: EkTrust,
  time: Date,
): Promise<string | undefined> {
  const certificate = parseCertificate(der);
  if (!equalBytes(certificate.publicKey, publicKeySpki(ekPublic))) {
    throw new PkiError(
      'key-mismatch',
      'check endorsement key: expected the certificate of this key, got that of another',
    );
  }
  const { anchors = [], intermediates = [], crls = [] } = trust;
  const result = await validatePath(certificate, intermediates, anchors, { purpose: 'tpm-ek', time, crls });
  return result.ok ? identityProblem(certificate, trust) : result.problem.message;
}

/** TCG EK Credential Profile 3.2.9: the alternative name says which TPM it is. */
function identityProblem({ subjectAltName }: Certificate, { manufacturers }: EkTrust): string | undefined {
  const identity = tpmIdentity(subjectAltName);
  if (identity === undefined) return 'expected manufacturer, model and version in the certificate, got none';
  const wanted = identity.manufacturer.toUpperCase();
  if (manufacturers?.every((each) => each.toUpperCase() !== wanted) !== true) return undefined;
  return `expected a TPM of ${manufacturers.join(', ')}, got one of ${identity.manufacturer}`;
}

const KINDS = [
  'rsa-2048',
  'ecc-p256',
  'rsa-2048-high',
  'rsa-3072-high',
  'rsa-4096-high',
  'ecc-p256-high',
  'ecc-p384-high',
  'ecc-p521-high',
] as const satisfies readonly EkKind[];
