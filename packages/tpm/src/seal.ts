/** Sealing: data that a TPM gives back only under an authorization value or a policy (Part 1, section 27.6). */

import { Unseal } from './commands/object.js';
import { TPM_ALG } from './constants/algorithms.js';
import { defaultHashes } from './default-crypto.js';
import { createKey, loadKey, type TpmObject, type WrappedKey } from './object.js';
import { type Policy, policyDigest, type SatisfyOptions, satisfyPolicy } from './policy.js';
import { TpmError } from './response-code.js';
import { startSession } from './start-session.js';
import { LIMITS } from './structures/limits.js';
import { sealedTemplate } from './templates.js';
import type { Tpm } from './tpm.js';

/** What to seal, and for whom. */
export interface SealOptions {
  /** The storage key that wraps it, such as the SRK. */
  readonly parent: TpmObject;
  /** 1 to 128 bytes. */
  readonly data: Uint8Array;
  /** What must hold when it is unsealed. Without one, the authorization value alone opens it. */
  readonly policy?: Policy;
  /** Its authorization value, empty unless given; under a policy it counts only where that has `auth-value` or `password`. */
  readonly auth?: Uint8Array | string;
}

/** What to unseal, and how. */
export interface UnsealOptions extends SatisfyOptions {
  /** The storage key that wrapped it. */
  readonly parent: TpmObject;
  /** What {@link seal} gave. */
  readonly sealed: WrappedKey;
  /** The policy that it was sealed under. */
  readonly policy?: Policy;
  /** Its authorization value. */
  readonly auth?: Uint8Array | string;
}

/**
 * Seals data; the data go to the TPM encrypted to the parent. Throws `TpmError` `usage` for more than a TPM takes, which
 * {@link sealLarge} seals, and what {@link Tpm.execute} throws.
 */
export async function seal(tpm: Tpm, options: SealOptions): Promise<WrappedKey> {
  const { parent, data, policy, auth } = options;
  if (data.length === 0 || data.length > MAX_SEALED) {
    throw new TpmError('usage', `seal: expected 1 to ${MAX_SEALED} bytes (sealLarge takes more), got ${data.length}`);
  }
  const digest = policy && policyDigest(policy, 'sha256', tpm.crypto ?? defaultHashes);
  // A guess at an empty value is worth nothing, so only a value that was given is protected against guessing.
  const template = sealedTemplate({ ...(digest && { policy: digest }), noDA: auth === undefined });
  await using session = await startSession(tpm, { type: 'hmac', ...saltOf(parent), decrypt: true });
  const create = { template, sealed: data, ...(auth !== undefined && { auth }) };
  // A parent with an authorisation of its own keeps it; the salted session then only encrypts.
  const created = parent.auth
    ? await createKey(tpm, parent, { ...create, sessions: [session] })
    : await createKey(tpm, { ...parent, auth: session }, create);
  return { private: created.private, public: created.public };
}

/**
 * Unseals data; they come from the TPM encrypted to the parent. Throws what {@link Tpm.execute} throws: among others
 * `TPM_RC_POLICY_FAIL`, and `TPM_RC_VALUE` for PCRs that differ.
 */
export async function unseal(tpm: Tpm, options: UnsealOptions): Promise<Uint8Array> {
  const { parent, sealed, policy, auth } = options;
  await using object = await loadKey(tpm, parent, sealed, auth === undefined ? {} : { auth });
  const type = policy ? 'policy' : 'hmac';
  await using session = await startSession(tpm, { type, ...saltOf(parent), encrypt: true });
  if (policy) await satisfyPolicy(tpm, session, policy, options);
  const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
  return outData;
}

/** The parent as a salt key, where it can be one. */
export function saltOf(parent: TpmObject): { readonly salt?: TpmObject } {
  const isAsymmetric = parent.public.type === TPM_ALG.RSA || parent.public.type === TPM_ALG.ECC;
  return isAsymmetric ? { salt: parent } : {};
}

/** The specification fixes it (Part 2, table 147). */
const MAX_SEALED = LIMITS.MAX_SYM_DATA;
