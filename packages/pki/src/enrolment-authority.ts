/**
 * TPM enrolment, the authority's side. A device gets an attestation key certificate and a device certificate once it is shown that
 * (1) somebody trusted vouches for its EK, (2) its AK lives in the TPM of that EK, by credential activation, (3) its device key lives
 * beside the AK, by TPM2_Certify, and (4) that key signed the request.
 */
import {
  makeCredential,
  nameOf,
  publicKeySpki,
  TPM_ALG,
  TPM_ST,
  TPMA_OBJECT,
  TpmError,
  TpmsAttest,
  TpmtPublic,
  verifyAttestSignature,
} from '@casemate/tpm';
import { WireError } from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import type { AlternativeNames } from './alternative-name.js';
import { equalBytes, randomBytes, toHex } from './bytes.js';
import { type CheckedCsr, checkCsr } from './csr.js';
import { assertTrustedEk, type EkTrust, ekDigest } from './endorsement-key.js';
import {
  csrDigest,
  decodeMessage,
  EnrolmentAnswer,
  EnrolmentChallenge,
  EnrolmentRequest,
  EnrolmentState,
  encodeMessage,
} from './enrolment-message.js';
import { enrolmentProof } from './enrolment-proof.js';
import { PkiError } from './error.js';
import { assertAlternativeNames, assertSubject, createCertificate, type Issuer } from './issue.js';
import type { NameInput } from './name.js';
import { assertKeyKind, type CertificateProfile, PROFILES } from './profile.js';

/** Where open challenges are kept. Each is taken at most once, also between processes that share a store. */
export interface ChallengeStore {
  /** Keeps a state under its identifier (hexadecimal) until `expires`. */
  put(id: string, state: Uint8Array, expires: Date): Promise<void>;
  /** Removes and returns the state; undefined where there is none, or where somebody took it before. */
  take(id: string): Promise<Uint8Array | undefined>;
}

/** What one kind of certificate is issued with. */
export interface Issuance {
  /** Who signs. */
  readonly issuer: Issuer;
  /** The kind of certificate. */
  readonly profile?: CertificateProfile;
}

/** How an authority enrols. */
export interface EnrolmentPolicy {
  /** Whose endorsement keys are believed. */
  readonly trust: EkTrust;
  /** Issues for attestation keys; `PROFILES.attestationKey` without a profile. */
  readonly attestation: Issuance;
  /** Issues for device keys; `PROFILES.device` without a profile. */
  readonly device: Issuance;
  /** Keeps open challenges. */
  readonly challenges: ChallengeStore;
  /** Whether this TPM may have these names; asked before the challenge and again before issuing. Everybody may without it. */
  readonly authorize?: (candidate: EnrolmentCandidate) => boolean | Promise<boolean>;
  /** Seconds until a challenge is void; 300 without it. */
  readonly lifetime?: number;
  /** The present; the system's clock without it. */
  readonly now?: () => Date;
}

/** A device that asks to be enrolled. */
export interface EnrolmentCandidate {
  /** The TPM, as {@link ekDigest} gives it. */
  readonly ekDigest: string;
  /** The subject that it asks for, within the device profile. */
  readonly subject: NameInput;
  /** The alternative names that it asks for, within the device profile. */
  readonly subjectAltName: AlternativeNames;
}

/** What a device gets. */
export interface Enrolment extends EnrolmentCandidate {
  /** For the AK, DER. */
  readonly akCertificate: Uint8Array;
  /** For the device key, DER. */
  readonly deviceCertificate: Uint8Array;
}

/** A device whose answer was right: its EK, its AK and its device key are in one TPM, and the device key signed the request. */
export interface VerifiedEnrolment extends EnrolmentCandidate {
  /** The certification request, DER. */
  readonly csr: Uint8Array;
  /** Issues both certificates. Throws what issuing throws. */
  issue(): Promise<Enrolment>;
}

/**
 * Checks a device's request and makes the challenge for it.
 * Throws {@link PkiError}: `malformed`, `untrusted` for the EK, `not-allowed` for keys or requests that the policy does not permit,
 * `key-mismatch` where the CSR is not by the certified key, `bad-signature`.
 */
export async function challengeEnrolment(request: Uint8Array, policy: EnrolmentPolicy): Promise<Uint8Array> {
  const now = policy.now?.() ?? new Date();
  const checked = await checkRequest(request, policy);
  await assertTrustedEk(checked.ek, checked.ekCertificate, policy.trust, now);
  await assertAuthorized(checked, policy);
  const [id, secret] = [randomBytes(16), randomBytes(32)];
  const { credentialBlob, encryptedSecret } = makeCredential(checked.ek, nameOf(checked.ak), secret);
  const proofDigest = sha256(enrolmentProof(secret, id, request));
  secret.fill(0);
  const expires = new Date(now.getTime() + (policy.lifetime ?? 300) * 1000);
  const state = { magic: 0x43_4d_45_34, proofDigest, expires: BigInt(expires.getTime()), request } as const;
  await policy.challenges.put(toHex(id), encodeMessage(EnrolmentState, state), expires);
  return encodeMessage(EnrolmentChallenge, { magic: 0x43_4d_45_32, id, credentialBlob, encryptedSecret });
}

/**
 * Takes the answer to a challenge, once, and issues both certificates.
 * Throws {@link PkiError}: `replayed` for a challenge that is unknown, answered before or too old, `bad-signature` for a wrong proof,
 * and what issuing throws.
 */
export async function completeEnrolment(answer: Uint8Array, policy: EnrolmentPolicy): Promise<Enrolment> {
  return (await verifyEnrolment(answer, policy)).issue();
}

/** The first half of {@link completeEnrolment}: takes the answer, once, and checks everything. Throws the same. */
export async function verifyEnrolment(answer: Uint8Array, policy: EnrolmentPolicy): Promise<VerifiedEnrolment> {
  const { id, proof } = decodeMessage(EnrolmentAnswer, answer);
  // Taken before it is looked at: a wrong answer uses the challenge up as well.
  const kept = await policy.challenges.take(toHex(id));
  if (kept === undefined)
    throw new PkiError('replayed', 'complete enrolment: expected an open challenge, got one that is not');
  const state = decodeMessage(EnrolmentState, kept);
  const now = policy.now?.() ?? new Date();
  if (BigInt(now.getTime()) > state.expires) {
    throw new PkiError('replayed', 'complete enrolment: expected an answer in time, got a late one');
  }
  if (!equalBytes(sha256(proof), state.proofDigest)) {
    throw new PkiError('bad-signature', 'complete enrolment: expected proof of the activated credential, got another');
  }
  const checked = await checkRequest(state.request, policy);
  await assertAuthorized(checked, policy);
  return { ...candidateOf(checked), csr: checked.request, issue: () => issue(checked, policy, now) };
}

async function assertAuthorized(checked: CheckedRequest, policy: EnrolmentPolicy): Promise<void> {
  const candidate = candidateOf(checked);
  if ((await policy.authorize?.(candidate)) !== false) return;
  throw new PkiError(
    'not-allowed',
    `authorize enrolment: expected a TPM that may have these names, got ${candidate.ekDigest}`,
  );
}

function candidateOf({ ek, csr: { subject, subjectAltName } }: CheckedRequest): EnrolmentCandidate {
  return { ekDigest: ekDigest(ek), subject, subjectAltName };
}

async function issue(checked: CheckedRequest, policy: EnrolmentPolicy, now: Date): Promise<Enrolment> {
  const attestation = attestationOf(policy);
  const akCertificate = await createCertificate({
    ...attestation,
    ...namesFor(attestation.profile, checked.csr),
    publicKey: publicKeySpki(checked.ak),
    notBefore: now,
  });
  const deviceCertificate = await createCertificate({ ...checked.csr, ...deviceOf(policy), notBefore: now });
  return { akCertificate, deviceCertificate, ...candidateOf(checked) };
}

/** The names of the request that the attestation profile has a place for; the request is for the device certificate. */
function namesFor(profile: CertificateProfile, csr: CheckedCsr): Pick<CheckedCsr, 'subject' | 'subjectAltName'> {
  const kept = (names: object, allowed: object | undefined) =>
    Object.fromEntries(Object.entries(names).filter(([type]) => allowed !== undefined && Object.hasOwn(allowed, type)));
  return {
    subject: kept(csr.subject, profile.subject),
    subjectAltName: kept(csr.subjectAltName, profile.subjectAltName),
  };
}

function attestationOf(policy: EnrolmentPolicy): Required<Issuance> {
  return { issuer: policy.attestation.issuer, profile: policy.attestation.profile ?? PROFILES.attestationKey };
}

function deviceOf(policy: EnrolmentPolicy): Required<Issuance> {
  return { issuer: policy.device.issuer, profile: policy.device.profile ?? PROFILES.device };
}

interface CheckedRequest {
  readonly ek: TpmtPublic;
  readonly ekCertificate: Uint8Array;
  readonly ak: TpmtPublic;
  readonly csr: CheckedCsr;
  /** The request as it came, DER. */
  readonly request: Uint8Array;
}

/** Everything about a request that does not need its TPM's answer. */
async function checkRequest(bytes: Uint8Array, policy: EnrolmentPolicy): Promise<CheckedRequest> {
  const request = decodeMessage(EnrolmentRequest, bytes);
  const ek = parsePublic(request.ekPublic, 'ekPublic');
  const ak = parsePublic(request.akPublic, 'akPublic');
  const device = parsePublic(request.devicePublic, 'devicePublic');
  assertAttestationKey(ak);
  assertKeyKind(attestationOf(policy).profile, publicKeySpki(ak));
  assertDeviceKey(device);
  assertCertified(request, ak, device);
  const csr = await checkCsr(request.csr, deviceOf(policy).profile);
  if (!equalBytes(csr.publicKey, publicKeySpki(device))) {
    throw new PkiError(
      'key-mismatch',
      'check enrolment: expected a CSR of the key that the TPM certified, got that of another',
    );
  }
  const names = namesFor(attestationOf(policy).profile, csr);
  assertSubject(attestationOf(policy).profile, names.subject);
  assertAlternativeNames(attestationOf(policy).profile, names.subjectAltName);
  return { ek, ekCertificate: request.ekCertificate, ak, csr, request: request.csr };
}

function parsePublic(bytes: Uint8Array, what: string): TpmtPublic {
  const area = decodeMessage(TpmtPublic, bytes);
  if (area.type === TPM_ALG.RSA || area.type === TPM_ALG.ECC) return area;
  throw new PkiError(
    'not-allowed',
    `check enrolment: expected an RSA or ECC key as ${what}, got type 0x${area.type.toString(16)}`,
  );
}

const STRONG: ReadonlySet<number> = new Set([TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512]);
const RESIDENT = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.sensitiveDataOrigin;

/** A restricted signing key signs nothing that looks like a TPM's statement but the TPM's own statements. */
function assertAttestationKey(ak: TpmtPublic): void {
  assertAttributes(ak, RESIDENT | TPMA_OBJECT.restricted | TPMA_OBJECT.sign, TPMA_OBJECT.decrypt, 'attestation key');
  assertScheme(ak, 'attestation key');
}

function assertDeviceKey(device: TpmtPublic): void {
  assertAttributes(device, RESIDENT | TPMA_OBJECT.sign, TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt, 'device key');
}

function assertAttributes(area: TpmtPublic, set: number, clear: number, what: string): void {
  const { objectAttributes: attributes, nameAlg } = area;
  if ((attributes & set) !== set || (attributes & clear) !== 0) {
    const expected = `0x${set.toString(16)} set and 0x${clear.toString(16)} clear`;
    throw new PkiError(
      'not-allowed',
      `check ${what}: expected attributes ${expected}, got 0x${attributes.toString(16)}`,
    );
  }
  if (!STRONG.has(nameAlg)) {
    throw new PkiError(
      'not-allowed',
      `check ${what}: expected a name algorithm of SHA-2, got 0x${nameAlg.toString(16)}`,
    );
  }
}

/** What the key signs with; SHA-1 would let the signer choose two statements with one signature. */
function assertScheme(area: TpmtPublic, what: string): void {
  const scheme = area.type === TPM_ALG.RSA || area.type === TPM_ALG.ECC ? area.parameters.scheme : undefined;
  const hash = scheme?.scheme === TPM_ALG.NULL ? undefined : scheme?.details;
  const strong = hash !== undefined && 'hashAlg' in hash && STRONG.has(hash.hashAlg);
  if (!strong)
    throw new PkiError('not-allowed', `check ${what}: expected a signature scheme with SHA-2, got another or none`);
}

/** The AK's statement is about this device key and this CSR. */
function assertCertified(request: EnrolmentRequest, ak: TpmtPublic, device: TpmtPublic): void {
  if (!isSignedBy(ak, request)) {
    throw new PkiError(
      'bad-signature',
      'check enrolment: expected a statement signed by the attestation key, got another',
    );
  }
  const attest = decodeMessage(TpmsAttest, request.certified);
  if (attest.type !== TPM_ST.ATTEST_CERTIFY || !equalBytes(attest.extraData, csrDigest(request.csr))) {
    throw new PkiError('key-mismatch', 'check enrolment: expected a statement for this request, got one for another');
  }
  if (!equalBytes(attest.attested.name, nameOf(device))) {
    throw new PkiError(
      'key-mismatch',
      'check enrolment: expected a statement about the device key, got one about another',
    );
  }
}

function isSignedBy(ak: TpmtPublic, request: EnrolmentRequest): boolean {
  try {
    return verifyAttestSignature(ak, request.certified, request.certifySignature);
  } catch (error) {
    if (error instanceof WireError || error instanceof TpmError) return false;
    throw error;
  }
}

/**
 * Keeps challenges in memory, at most `capacity` (10,000 without it): when it is full the oldest one goes, so that a flood of
 * requests costs memory of a known size.
 */
export function memoryChallenges(capacity = 10_000): ChallengeStore {
  const states = new Map<string, { readonly state: Uint8Array; readonly expires: Date }>();
  return {
    async put(id, state, expires) {
      const [oldest] = states.keys();
      if (states.size >= capacity && oldest !== undefined) states.delete(oldest);
      states.set(id, { state, expires });
    },
    async take(id) {
      const found = states.get(id);
      states.delete(id);
      return found?.state;
    },
  };
}
