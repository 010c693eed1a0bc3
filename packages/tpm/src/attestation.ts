/** Attestations by a TPM: quotes of PCRs and certificates of keys (Part 3, chapter 18). */
import { decode } from '@casemate/wire';
import type { Authorization, Entity, HandleInput } from './authorization.js';
import { equalBytes } from './bytes.js';
import {
  Certify,
  CertifyCreation,
  GetCommandAuditDigest,
  GetSessionAuditDigest,
  GetTime,
  Quote,
} from './commands/attestation.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_RH } from './constants/handles.js';
import { TPM_ST } from './constants/sessions.js';
import { defaultHashes } from './default-crypto.js';
import { entityName } from './name.js';
import type { Creation, TpmObject } from './object.js';
import { orderedPcrValues, type PcrIndexes, type PcrValues, pcrSelection, readPcrs } from './pcr.js';
import { TpmError } from './response-code.js';
import { encodeSignature } from './signature.js';
import { TpmsAttest } from './structures/attestation.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** A signed statement of a TPM about its PCRs, with the values that it covers. */
export interface QuoteResult {
  /** The TPMS_ATTEST that is signed. */
  readonly quoted: Uint8Array;
  /** The TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** The values whose digest was quoted. */
  readonly pcrs: PcrValues;
}

/** A signed statement of a TPM that it holds an object. */
export interface CertifyResult {
  /** The TPMS_ATTEST that is signed. */
  readonly certified: Uint8Array;
  /** The TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
}

/**
 * Has PCRs signed together with a nonce, and reads their values. Where a PCR changes in between, both are done again.
 * Throws `TpmError` `integrity` where the statement is not about what was asked for.
 */
export async function quote(
  tpm: Tpm,
  ak: TpmObject,
  options: ExecuteOptions & { readonly nonce: Uint8Array; readonly pcrs: PcrIndexes },
): Promise<QuoteResult> {
  const request = { qualifyingData: options.nonce, inScheme: KEYS_OWN_SCHEME, PCRselect: pcrSelection(options.pcrs) };
  for (let attempt = 0; attempt < 10; attempt++) {
    const pcrs = await readPcrs(tpm, options.pcrs, options);
    const { quoted, signature } = await tpm.execute(Quote, { signHandle: ak, ...request }, options);
    const result = { quoted, signature: encodeSignature(signature), pcrs };
    if (coversValues(tpm, result, options.nonce, quoteHash(signature))) return result;
  }
  throw new TpmError('integrity', 'quote: expected the digest of the PCRs, got another one in each of 10 attempts');
}

/** Has the TPM sign that it holds `object`, by `signer`. The administrator of the object authorises it. */
export async function certify(
  tpm: Tpm,
  options: ExecuteOptions & {
    readonly object: HandleInput;
    readonly signer: HandleInput;
    readonly nonce: Uint8Array;
  },
): Promise<CertifyResult> {
  const { object, signer, nonce } = options;
  const handles = { objectHandle: object, signHandle: signer };
  const request = { ...handles, qualifyingData: nonce, inScheme: KEYS_OWN_SCHEME };
  const { certifyInfo, signature } = await tpm.execute(Certify, request, options);
  const attest = decode(TpmsAttest, certifyInfo);
  const isExpected = attest.type === TPM_ST.ATTEST_CERTIFY && equalBytes(attest.extraData, nonce);
  if (!isExpected || (typeof object === 'object' && !equalBytes(attest.attested.name, entityName(object)))) {
    throw new TpmError('integrity', 'certify: the TPM signed another statement than the one that was asked for');
  }
  return { certified: certifyInfo, signature: encodeSignature(signature) };
}

/** A signed statement of a TPM. */
export interface Attestation {
  /** The TPMS_ATTEST that is signed. */
  readonly attest: Uint8Array;
  /** The TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
}

/** Who signs a statement, about what moment. */
export interface AttestOptions extends ExecuteOptions {
  /** The signing key. */
  readonly signer: HandleInput;
  /** The verifier's nonce, at most 66 bytes. */
  readonly nonce: Uint8Array;
}

/**
 * Has the TPM sign that it made `object` itself, under the circumstances of its creation. Throws what {@link Tpm.execute}
 * throws; `TPM_RC_TICKET` where the object or the circumstances are others.
 */
export async function certifyCreation(
  tpm: Tpm,
  options: AttestOptions & { readonly object: HandleInput; readonly creation: Creation },
): Promise<Attestation> {
  const { object, creation } = options;
  const request = { creationHash: creation.hash, creationTicket: creation.ticket, ...about(options) };
  const handles = { signHandle: options.signer, objectHandle: object };
  const { certifyInfo, signature } = await tpm.execute(CertifyCreation, { ...handles, ...request }, options);
  return attestation('certify creation', certifyInfo, signature, options.nonce);
}

/** Has the TPM sign its time, clock and firmware version. The endorsement hierarchy authorises. */
export async function attestTime(tpm: Tpm, options: AttestOptions & PrivacyOptions): Promise<Attestation> {
  const handles = { privacyAdminHandle: privacyAdmin(options), signHandle: options.signer };
  const { timeInfo, signature } = await tpm.execute(GetTime, { ...handles, ...about(options) }, options);
  return attestation('attest time', timeInfo, signature, options.nonce);
}

/** Has the TPM sign the audit digest of an HMAC session, which the commands under it have extended. */
export async function attestSession(
  tpm: Tpm,
  options: AttestOptions & PrivacyOptions & { readonly session: HandleInput },
): Promise<Attestation> {
  const handles = { privacyAdminHandle: privacyAdmin(options), signHandle: options.signer };
  const request = { ...handles, sessionHandle: options.session, ...about(options) };
  const { auditInfo, signature } = await tpm.execute(GetSessionAuditDigest, request, options);
  return attestation('attest session', auditInfo, signature, options.nonce);
}

/** Has the TPM sign the digest of all commands that are audited, which starts a new digest. */
export async function attestCommands(tpm: Tpm, options: AttestOptions & PrivacyOptions): Promise<Attestation> {
  const handles = { privacyHandle: privacyAdmin(options), signHandle: options.signer };
  const { auditInfo, signature } = await tpm.execute(GetCommandAuditDigest, { ...handles, ...about(options) }, options);
  return attestation('attest commands', auditInfo, signature, options.nonce);
}

/** How the endorsement hierarchy, which guards what identifies the TPM, authorises. */
export interface PrivacyOptions {
  /** Default: the empty password. */
  readonly endorsementAuth?: Authorization;
}

function privacyAdmin({ endorsementAuth: auth }: PrivacyOptions): Entity {
  return { handle: TPM_RH.ENDORSEMENT, auth };
}

function about({ nonce }: AttestOptions) {
  return { qualifyingData: nonce, inScheme: KEYS_OWN_SCHEME };
}

/** Checks that the statement answers the nonce, and encodes the signature. */
export function attestation(
  subject: string,
  attest: Uint8Array,
  signature: { readonly sigAlg: number },
  nonce: Uint8Array,
): Attestation {
  if (equalBytes(decode(TpmsAttest, attest).extraData, nonce)) return { attest, signature: encodeSignature(signature) };
  throw new TpmError('integrity', `${subject}: the TPM signed another statement than the one that was asked for`);
}

function coversValues(tpm: Tpm, result: QuoteResult, nonce: Uint8Array, hash: number): boolean {
  const attest = decode(TpmsAttest, result.quoted);
  if (attest.type !== TPM_ST.ATTEST_QUOTE || !equalBytes(attest.extraData, nonce)) {
    throw new TpmError('integrity', 'quote: the TPM signed another statement than the one that was asked for');
  }
  const digest = (tpm.crypto ?? defaultHashes).hash(hash, ...orderedPcrValues(result.pcrs));
  return equalBytes(attest.attested.pcrDigest, digest);
}

/** A quote's digest is made with the hash of its signature. */
function quoteHash(signature: { readonly sigAlg: number; readonly signature?: unknown }): number {
  const { signature: details } = signature;
  if (typeof details === 'object' && details !== null && 'hash' in details && typeof details.hash === 'number') {
    return details.hash;
  }
  throw new TpmError('usage', 'quote: expected a signing key with a hash, got another scheme');
}

const KEYS_OWN_SCHEME = { scheme: TPM_ALG.NULL } as const;
