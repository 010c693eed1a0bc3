/** Credentials: a secret that only the TPM with both an EK and a named key can read (Part 1, section 24). */
import { decode, encode } from '@casemate/wire';
import type { Authorization, Entity } from './authorization.js';
import { ActivateCredential } from './commands/object.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPMA_OBJECT } from './constants/attributes.js';
import { TPM_RH } from './constants/handles.js';
import type { TpmCrypto } from './crypto.js';
import { defaultCrypto } from './default-crypto.js';
import { hashSize } from './hashes.js';
import type { TpmObject } from './object.js';
import { wrapOuter } from './outer-wrap.js';
import { type Policy, satisfyPolicy } from './policy.js';
import { TpmError } from './response-code.js';
import { shareSecret } from './secret.js';
import { startSession } from './start-session.js';
import { Tpm2bDigest } from './structures/digests.js';
import { TpmsIdObject } from './structures/private.js';
import type { TpmtPublic } from './structures/public.js';
import type { Tpm } from './tpm.js';

/** A credential on its way to a TPM. */
export interface Credential {
  /** The contents of a TPM2B_ID_OBJECT. */
  readonly credentialBlob: Uint8Array;
  /** The contents of a TPM2B_ENCRYPTED_SECRET. */
  readonly encryptedSecret: Uint8Array;
}

/** Which keys open a credential, and how they are authorised. */
export interface ActivateOptions {
  /** The key that the seed was encrypted to. */
  readonly ek: TpmObject;
  /** The key that the credential is for; its administrator authorises it. */
  readonly ak: Entity;
  /** The credential. */
  readonly credential: Credential;
  /** How the endorsement hierarchy authorises, for an EK under the standard policy. Default: the empty password. */
  readonly endorsementAuth?: Authorization;
  /** The policy of an EK that is under another one than the standard one. */
  readonly policy?: Policy;
}

/**
 * Makes a credential without a TPM. `name` is the Name of the key that it is for, `secret` at most as long as the digest
 * of the EK's name algorithm. Throws `TpmError` `usage` for an EK that is no AES storage key, or a longer secret.
 */
export function makeCredential(
  ekPublic: TpmtPublic,
  name: Uint8Array,
  secret: Uint8Array,
  crypto: TpmCrypto = defaultCrypto,
): Credential {
  const room = hashSize(ekPublic.nameAlg);
  if (secret.length === 0 || secret.length > room) {
    throw new TpmError('usage', `make credential: expected a secret of 1 to ${room} bytes, got ${secret.length}`);
  }
  if (!isStorageKey(ekPublic)) {
    throw new TpmError('usage', 'make credential: expected an RSA or ECC storage key, got another object');
  }
  const { secret: seed, encrypted: encryptedSecret } = shareSecret(ekPublic, 'IDENTITY', crypto);
  const wrapped = wrapOuter({ parent: ekPublic, seed, name }, encode(Tpm2bDigest, secret), crypto);
  seed.fill(0);
  const idObject = { integrityHMAC: wrapped.integrity, encIdentity: wrapped.encrypted };
  return { credentialBlob: encode(TpmsIdObject, idObject), encryptedSecret };
}

/**
 * Opens a credential and gives its secret, encrypted on its way from the TPM. Throws what {@link Tpm.execute} throws;
 * `TPM_RC_INTEGRITY` says that the credential is for another key or another TPM.
 */
export async function activateCredential(tpm: Tpm, options: ActivateOptions): Promise<Uint8Array> {
  const { ek, ak, credential } = options;
  decode(TpmsIdObject, credential.credentialBlob); // whoever sent it controls its shape
  const request = { credentialBlob: credential.credentialBlob, secret: credential.encryptedSecret };
  const byAuth = options.policy === undefined && (ek.public.objectAttributes & TPMA_OBJECT.userWithAuth) !== 0;
  const type = byAuth ? 'hmac' : 'policy';
  await using session = await startSession(tpm, { type, salt: ek, encrypt: true, hash: hashNameOf(ek.public) });
  if (!byAuth) await satisfyPolicy(tpm, session, options.policy ?? endorsementPolicy(options.endorsementAuth));
  const keyHandle = { ...ek, auth: session };
  const { certInfo } = await tpm.execute(ActivateCredential, { activateHandle: ak, keyHandle, ...request });
  return certInfo;
}

/** The policy of low range EKs: whoever owns the endorsement hierarchy (TCG EK Credential Profile, annex B.3). */
export function endorsementPolicy(auth?: Authorization): Policy {
  return [{ type: 'secret', authority: { handle: TPM_RH.ENDORSEMENT, auth } }];
}

function isStorageKey({ type, objectAttributes }: TpmtPublic): boolean {
  const isAsymmetric = type === TPM_ALG.RSA || type === TPM_ALG.ECC;
  return isAsymmetric && (objectAttributes & STORAGE) === STORAGE;
}

function hashNameOf(area: TpmtPublic): 'sha256' | 'sha384' | 'sha512' {
  switch (area.nameAlg) {
    case TPM_ALG.SHA384:
      return 'sha384';
    case TPM_ALG.SHA512:
      return 'sha512';
    default:
      return 'sha256';
  }
}

const STORAGE = TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt;
