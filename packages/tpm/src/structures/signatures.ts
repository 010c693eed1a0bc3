/** Signatures, and secrets encrypted to a key. TPM 2.0 Part 2, clauses 11.3 and 11.4. */
import { empty, type Infer, sizedBytes, struct, u16, union } from '@casemate/wire';
import { TPM_ALG } from '../constants/algorithms.js';
import { TpmiAlgHash, TpmiAlgSigScheme, TpmiAlgSigSchemeOrNull } from './algorithms.js';
import { Tpm2bEccParameter, Tpm2bPublicKeyRsa } from './asymmetric.js';
import { TpmtHa } from './digests.js';
import { LIMITS } from './limits.js';

/** An RSA signature with its hash algorithm. TPM 2.0 Part 2, table 185. */
export const TpmsSignatureRsa = struct('TPMS_SIGNATURE_RSA', { hash: TpmiAlgHash, sig: Tpm2bPublicKeyRsa });
/** The value type of {@link TpmsSignatureRsa}. */
export type TpmsSignatureRsa = Infer<typeof TpmsSignatureRsa>;

/** An RSASSA-PKCS1-v1_5 signature. TPM 2.0 Part 2, table 186. */
export const TpmsSignatureRsassa = TpmsSignatureRsa;
/** The value type of {@link TpmsSignatureRsassa}. */
export type TpmsSignatureRsassa = Infer<typeof TpmsSignatureRsassa>;

/** An RSASSA-PSS signature. TPM 2.0 Part 2, table 186. */
export const TpmsSignatureRsapss = TpmsSignatureRsa;
/** The value type of {@link TpmsSignatureRsapss}. */
export type TpmsSignatureRsapss = Infer<typeof TpmsSignatureRsapss>;

/** A signature of two numbers with its hash algorithm. TPM 2.0 Part 2, table 187. */
export const TpmsSignatureEcc = struct('TPMS_SIGNATURE_ECC', {
  hash: TpmiAlgHash,
  signatureR: Tpm2bEccParameter,
  signatureS: Tpm2bEccParameter,
});
/** The value type of {@link TpmsSignatureEcc}. */
export type TpmsSignatureEcc = Infer<typeof TpmsSignatureEcc>;

/** An ECDSA signature. TPM 2.0 Part 2, table 188. */
export const TpmsSignatureEcdsa = TpmsSignatureEcc;
/** The value type of {@link TpmsSignatureEcdsa}. */
export type TpmsSignatureEcdsa = Infer<typeof TpmsSignatureEcdsa>;

/** An ECDAA signature. TPM 2.0 Part 2, table 188. */
export const TpmsSignatureEcdaa = TpmsSignatureEcc;
/** The value type of {@link TpmsSignatureEcdaa}. */
export type TpmsSignatureEcdaa = Infer<typeof TpmsSignatureEcdaa>;

/** An SM2 signature. TPM 2.0 Part 2, table 188. */
export const TpmsSignatureSm2 = TpmsSignatureEcc;
/** The value type of {@link TpmsSignatureSm2}. */
export type TpmsSignatureSm2 = Infer<typeof TpmsSignatureSm2>;

/** An EC Schnorr signature. TPM 2.0 Part 2, table 188. */
export const TpmsSignatureEcschnorr = TpmsSignatureEcc;
/** The value type of {@link TpmsSignatureEcschnorr}. */
export type TpmsSignatureEcschnorr = Infer<typeof TpmsSignatureEcschnorr>;

const signatures = {
  [TPM_ALG.RSASSA]: TpmsSignatureRsassa,
  [TPM_ALG.RSAPSS]: TpmsSignatureRsapss,
  [TPM_ALG.ECDSA]: TpmsSignatureEcdsa,
  [TPM_ALG.ECDAA]: TpmsSignatureEcdaa,
  [TPM_ALG.SM2]: TpmsSignatureSm2,
  [TPM_ALG.ECSCHNORR]: TpmsSignatureEcschnorr,
  [TPM_ALG.HMAC]: TpmtHa,
} as const;

/** The signature of each scheme. TPM 2.0 Part 2, table 189. */
export const TpmuSignature = { ...signatures, [TPM_ALG.NULL]: empty } as const;

/** A signature, a union on `sigAlg`. TPM 2.0 Part 2, table 190. */
export const TpmtSignature = struct('TPMT_SIGNATURE', {
  sigAlg: TpmiAlgSigScheme,
  signature: union('sigAlg', signatures),
});
/** The value type of {@link TpmtSignature}. */
export type TpmtSignature = Infer<typeof TpmtSignature>;

/**
 * A signature, or TPM_ALG_NULL alone, which is what a TPM returns for an attestation without a signer. TPM 2.0 Part 2,
 * table 190.
 */
export const TpmtSignatureOrNull = struct('TPMT_SIGNATURE+', {
  sigAlg: TpmiAlgSigSchemeOrNull,
  signature: union('sigAlg', TpmuSignature),
});
/** The value type of {@link TpmtSignatureOrNull}. */
export type TpmtSignatureOrNull = Infer<typeof TpmtSignatureOrNull>;

/**
 * A secret encrypted to a key: for RSA the ciphertext of OAEP, for ECC an encoded `TPMS_ECC_POINT`, for a symmetric parent an encrypted
 * `TPM2B_DIGEST`. TPM 2.0 Part 2, tables 191 and 192.
 */
export const Tpm2bEncryptedSecret = sizedBytes('TPM2B_ENCRYPTED_SECRET', u16, { max: LIMITS.MAX_RSA_KEY_BYTES });
/** The value type of {@link Tpm2bEncryptedSecret}. */
export type Tpm2bEncryptedSecret = Infer<typeof Tpm2bEncryptedSecret>;
