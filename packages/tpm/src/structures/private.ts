/** Sensitive areas of objects, plain and wrapped, and credentials. TPM 2.0 Part 2, clauses 12.3 and 12.4. */
import { type Infer, optionalSized, rest, sizedBytes, struct, u16, union } from '@casemate/wire';
import { TPM_ALG } from '../constants/algorithms.js';
import { TpmiAlgPublic } from './algorithms.js';
import { Tpm2bEccParameter, Tpm2bPrivateKeyRsa } from './asymmetric.js';
import { Tpm2bAuth, Tpm2bDigest } from './digests.js';
import { LIMITS } from './limits.js';
import { Tpm2bSensitiveData, Tpm2bSymKey } from './symmetric.js';

/** A private key in a form of the vendor's own. TPM 2.0 Part 2, table 204. */
export const Tpm2bPrivateVendorSpecific = sizedBytes('TPM2B_PRIVATE_VENDOR_SPECIFIC', u16, {
  max: LIMITS.RSA_PRIVATE_SIZE,
});
/** The value type of {@link Tpm2bPrivateVendorSpecific}. */
export type Tpm2bPrivateVendorSpecific = Infer<typeof Tpm2bPrivateVendorSpecific>;

/** The secret of each type of object. TPM 2.0 Part 2, table 205. */
export const TpmuSensitiveComposite = {
  [TPM_ALG.RSA]: Tpm2bPrivateKeyRsa,
  [TPM_ALG.ECC]: Tpm2bEccParameter,
  [TPM_ALG.KEYEDHASH]: Tpm2bSensitiveData,
  [TPM_ALG.SYMCIPHER]: Tpm2bSymKey,
} as const;

/** A sensitive area, a union on `sensitiveType`. TPM 2.0 Part 2, table 206. */
export const TpmtSensitive = struct('TPMT_SENSITIVE', {
  sensitiveType: TpmiAlgPublic,
  authValue: Tpm2bAuth,
  seedValue: Tpm2bDigest,
  sensitive: union('sensitiveType', TpmuSensitiveComposite),
});
/** The value type of {@link TpmtSensitive}. */
export type TpmtSensitive = Infer<typeof TpmtSensitive>;

/** {@link TpmtSensitive} behind its size; size 0 is `undefined`. TPM 2.0 Part 2, table 207. */
export const Tpm2bSensitive = optionalSized('TPM2B_SENSITIVE', u16, TpmtSensitive);
/** The value type of {@link Tpm2bSensitive}. */
export type Tpm2bSensitive = Infer<typeof Tpm2bSensitive>;

/**
 * What a wrapped sensitive area holds, before encryption and where both integrity values are there. A TPM may use another form.
 * TPM 2.0 Part 2, table 208 (`_PRIVATE`).
 */
export const TpmPrivate = struct('_PRIVATE', {
  integrityOuter: Tpm2bDigest,
  integrityInner: Tpm2bDigest,
  sensitive: Tpm2bSensitive,
});
/** The value type of {@link TpmPrivate}. */
export type TpmPrivate = Infer<typeof TpmPrivate>;

/** A wrapped sensitive area, left as bytes: only its TPM can read it. TPM 2.0 Part 2, table 209. */
export const Tpm2bPrivate = sizedBytes('TPM2B_PRIVATE', u16, { max: LIMITS.MAX_PRIVATE_BYTES });
/** The value type of {@link Tpm2bPrivate}. */
export type Tpm2bPrivate = Infer<typeof Tpm2bPrivate>;

/**
 * A credential blob: the HMAC of the encrypted credential and the target's name, then the encrypted credential up to the end. Encrypted
 * is a whole `TPM2B_DIGEST`, so its size is not readable from outside. TPM 2.0 Part 2, table 210; Part 1, clause 24.
 */
export const TpmsIdObject = struct('TPMS_ID_OBJECT', {
  integrityHMAC: Tpm2bDigest,
  encIdentity: rest('encIdentity', 2 + LIMITS.MAX_DIGEST_BYTES),
});
/** The value type of {@link TpmsIdObject}. */
export type TpmsIdObject = Infer<typeof TpmsIdObject>;

/** An encoded {@link TpmsIdObject}. TPM 2.0 Part 2, table 211. */
export const Tpm2bIdObject = sizedBytes('TPM2B_ID_OBJECT', u16, { max: 2 * (2 + LIMITS.MAX_DIGEST_BYTES) });
/** The value type of {@link Tpm2bIdObject}. */
export type Tpm2bIdObject = Infer<typeof Tpm2bIdObject>;
