/** Asymmetric schemes, RSA and ECC values. TPM 2.0 Part 2, clause 11.2. */
import { empty, type Infer, sized, sizedBytes, struct, u16, union } from '@casemate/wire';
import { TPM_ALG } from '../constants/algorithms.js';
import {
  TpmiAlgAsymScheme,
  TpmiAlgAsymSchemeOrNull,
  TpmiAlgEccScheme,
  TpmiAlgEccSchemeOrNull,
  TpmiAlgKdf,
  TpmiAlgKdfOrNull,
  TpmiAlgRsaDecrypt,
  TpmiAlgRsaDecryptOrNull,
  TpmiAlgRsaScheme,
  TpmiAlgRsaSchemeOrNull,
  TpmiAlgSigScheme,
  TpmiAlgSigSchemeOrNull,
} from './algorithms.js';
import { TpmEccCurve } from './constants.js';
import { TpmsEmpty } from './digests.js';
import { LIMITS } from './limits.js';
import { TpmsSchemeEcdaa, TpmsSchemeHash, TpmsSchemeHmac } from './symmetric.js';

/** The scheme of RSASSA-PKCS1-v1_5. TPM 2.0 Part 2, table 159. */
export const TpmsSigSchemeRsassa = TpmsSchemeHash;
/** The value type of {@link TpmsSigSchemeRsassa}. */
export type TpmsSigSchemeRsassa = Infer<typeof TpmsSigSchemeRsassa>;

/** The scheme of RSASSA-PSS. TPM 2.0 Part 2, table 159. */
export const TpmsSigSchemeRsapss = TpmsSchemeHash;
/** The value type of {@link TpmsSigSchemeRsapss}. */
export type TpmsSigSchemeRsapss = Infer<typeof TpmsSigSchemeRsapss>;

/** The scheme of ECDSA. TPM 2.0 Part 2, table 160. */
export const TpmsSigSchemeEcdsa = TpmsSchemeHash;
/** The value type of {@link TpmsSigSchemeEcdsa}. */
export type TpmsSigSchemeEcdsa = Infer<typeof TpmsSigSchemeEcdsa>;

/** The scheme of SM2 signatures. TPM 2.0 Part 2, table 160. */
export const TpmsSigSchemeSm2 = TpmsSchemeHash;
/** The value type of {@link TpmsSigSchemeSm2}. */
export type TpmsSigSchemeSm2 = Infer<typeof TpmsSigSchemeSm2>;

/** The scheme of EC Schnorr. TPM 2.0 Part 2, table 160. */
export const TpmsSigSchemeEcschnorr = TpmsSchemeHash;
/** The value type of {@link TpmsSigSchemeEcschnorr}. */
export type TpmsSigSchemeEcschnorr = Infer<typeof TpmsSigSchemeEcschnorr>;

/** The scheme of ECDAA. TPM 2.0 Part 2, table 160. */
export const TpmsSigSchemeEcdaa = TpmsSchemeEcdaa;
/** The value type of {@link TpmsSigSchemeEcdaa}. */
export type TpmsSigSchemeEcdaa = Infer<typeof TpmsSigSchemeEcdaa>;

const rsaSigSchemes = {
  [TPM_ALG.RSASSA]: TpmsSigSchemeRsassa,
  [TPM_ALG.RSAPSS]: TpmsSigSchemeRsapss,
} as const;
const eccSigSchemes = {
  [TPM_ALG.ECDSA]: TpmsSigSchemeEcdsa,
  [TPM_ALG.ECDAA]: TpmsSigSchemeEcdaa,
  [TPM_ALG.SM2]: TpmsSigSchemeSm2,
  [TPM_ALG.ECSCHNORR]: TpmsSigSchemeEcschnorr,
} as const;
const sigSchemes = { ...rsaSigSchemes, ...eccSigSchemes, [TPM_ALG.HMAC]: TpmsSchemeHmac } as const;

/** The details of each signature scheme. TPM 2.0 Part 2, table 161. */
export const TpmuSigScheme = { ...sigSchemes, [TPM_ALG.NULL]: empty } as const;

/** A signature scheme. TPM 2.0 Part 2, table 162. */
export const TpmtSigScheme = struct('TPMT_SIG_SCHEME', {
  scheme: TpmiAlgSigScheme,
  details: union('scheme', sigSchemes),
});
/** The value type of {@link TpmtSigScheme}. */
export type TpmtSigScheme = Infer<typeof TpmtSigScheme>;

/** A signature scheme, or TPM_ALG_NULL alone for the key's own. TPM 2.0 Part 2, table 162. */
export const TpmtSigSchemeOrNull = struct('TPMT_SIG_SCHEME+', {
  scheme: TpmiAlgSigSchemeOrNull,
  details: union('scheme', TpmuSigScheme),
});
/** The value type of {@link TpmtSigSchemeOrNull}. */
export type TpmtSigSchemeOrNull = Infer<typeof TpmtSigSchemeOrNull>;

/** The scheme of RSAES-OAEP. TPM 2.0 Part 2, table 163. */
export const TpmsEncSchemeOaep = TpmsSchemeHash;
/** The value type of {@link TpmsEncSchemeOaep}. */
export type TpmsEncSchemeOaep = Infer<typeof TpmsEncSchemeOaep>;

/** The scheme of RSAES-PKCS1-v1_5, which has no details. TPM 2.0 Part 2, table 163. */
export const TpmsEncSchemeRsaes = TpmsEmpty;
/** The value type of {@link TpmsEncSchemeRsaes}. */
export type TpmsEncSchemeRsaes = Infer<typeof TpmsEncSchemeRsaes>;

/** The scheme of ECDH. TPM 2.0 Part 2, table 164. */
export const TpmsKeySchemeEcdh = TpmsSchemeHash;
/** The value type of {@link TpmsKeySchemeEcdh}. */
export type TpmsKeySchemeEcdh = Infer<typeof TpmsKeySchemeEcdh>;

/** The scheme of ECMQV. TPM 2.0 Part 2, table 164. */
export const TpmsKeySchemeEcmqv = TpmsSchemeHash;
/** The value type of {@link TpmsKeySchemeEcmqv}. */
export type TpmsKeySchemeEcmqv = Infer<typeof TpmsKeySchemeEcmqv>;

/** The scheme of MGF1. TPM 2.0 Part 2, table 165. */
export const TpmsKdfSchemeMgf1 = TpmsSchemeHash;
/** The value type of {@link TpmsKdfSchemeMgf1}. */
export type TpmsKdfSchemeMgf1 = Infer<typeof TpmsKdfSchemeMgf1>;

/** The scheme of the concatenation KDF of SP 800-56A. TPM 2.0 Part 2, table 165. */
export const TpmsKdfSchemeKdf1Sp80056a = TpmsSchemeHash;
/** The value type of {@link TpmsKdfSchemeKdf1Sp80056a}. */
export type TpmsKdfSchemeKdf1Sp80056a = Infer<typeof TpmsKdfSchemeKdf1Sp80056a>;

/** The scheme of KDF2. TPM 2.0 Part 2, table 165. */
export const TpmsKdfSchemeKdf2 = TpmsSchemeHash;
/** The value type of {@link TpmsKdfSchemeKdf2}. */
export type TpmsKdfSchemeKdf2 = Infer<typeof TpmsKdfSchemeKdf2>;

/** The scheme of the counter mode KDF of SP 800-108. TPM 2.0 Part 2, table 165. */
export const TpmsKdfSchemeKdf1Sp800108 = TpmsSchemeHash;
/** The value type of {@link TpmsKdfSchemeKdf1Sp800108}. */
export type TpmsKdfSchemeKdf1Sp800108 = Infer<typeof TpmsKdfSchemeKdf1Sp800108>;

const kdfSchemes = {
  [TPM_ALG.MGF1]: TpmsKdfSchemeMgf1,
  [TPM_ALG.KDF1_SP800_56A]: TpmsKdfSchemeKdf1Sp80056a,
  [TPM_ALG.KDF2]: TpmsKdfSchemeKdf2,
  [TPM_ALG.KDF1_SP800_108]: TpmsKdfSchemeKdf1Sp800108,
} as const;

/** The details of each key derivation function. TPM 2.0 Part 2, table 166. */
export const TpmuKdfScheme = { ...kdfSchemes, [TPM_ALG.NULL]: empty } as const;

/** A key derivation function. TPM 2.0 Part 2, table 167. */
export const TpmtKdfScheme = struct('TPMT_KDF_SCHEME', {
  scheme: TpmiAlgKdf,
  details: union('scheme', kdfSchemes),
});
/** The value type of {@link TpmtKdfScheme}. */
export type TpmtKdfScheme = Infer<typeof TpmtKdfScheme>;

/** A key derivation function, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 167. */
export const TpmtKdfSchemeOrNull = struct('TPMT_KDF_SCHEME+', {
  scheme: TpmiAlgKdfOrNull,
  details: union('scheme', TpmuKdfScheme),
});
/** The value type of {@link TpmtKdfSchemeOrNull}. */
export type TpmtKdfSchemeOrNull = Infer<typeof TpmtKdfSchemeOrNull>;

const keySchemes = { [TPM_ALG.ECDH]: TpmsKeySchemeEcdh, [TPM_ALG.ECMQV]: TpmsKeySchemeEcmqv } as const;
const encSchemes = { [TPM_ALG.RSAES]: TpmsEncSchemeRsaes, [TPM_ALG.OAEP]: TpmsEncSchemeOaep } as const;
const rsaSchemes = { ...rsaSigSchemes, ...encSchemes } as const;
const eccSchemes = { ...eccSigSchemes, ...keySchemes } as const;
const asymSchemes = { ...rsaSchemes, ...eccSchemes } as const;

/** The details of each asymmetric scheme. TPM 2.0 Part 2, table 169. */
export const TpmuAsymScheme = { ...asymSchemes, [TPM_ALG.NULL]: empty } as const;

/** An asymmetric scheme. TPM 2.0 Part 2, table 170. */
export const TpmtAsymScheme = struct('TPMT_ASYM_SCHEME', {
  scheme: TpmiAlgAsymScheme,
  details: union('scheme', asymSchemes),
});
/** The value type of {@link TpmtAsymScheme}. */
export type TpmtAsymScheme = Infer<typeof TpmtAsymScheme>;

/** An asymmetric scheme, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 170. */
export const TpmtAsymSchemeOrNull = struct('TPMT_ASYM_SCHEME+', {
  scheme: TpmiAlgAsymSchemeOrNull,
  details: union('scheme', TpmuAsymScheme),
});
/** The value type of {@link TpmtAsymSchemeOrNull}. */
export type TpmtAsymSchemeOrNull = Infer<typeof TpmtAsymSchemeOrNull>;

/** An RSA scheme. TPM 2.0 Part 2, table 172. */
export const TpmtRsaScheme = struct('TPMT_RSA_SCHEME', {
  scheme: TpmiAlgRsaScheme,
  details: union('scheme', rsaSchemes),
});
/** The value type of {@link TpmtRsaScheme}. */
export type TpmtRsaScheme = Infer<typeof TpmtRsaScheme>;

/** An RSA scheme, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 172. */
export const TpmtRsaSchemeOrNull = struct('TPMT_RSA_SCHEME+', {
  scheme: TpmiAlgRsaSchemeOrNull,
  details: union('scheme', { ...rsaSchemes, [TPM_ALG.NULL]: empty }),
});
/** The value type of {@link TpmtRsaSchemeOrNull}. */
export type TpmtRsaSchemeOrNull = Infer<typeof TpmtRsaSchemeOrNull>;

/** An RSA encryption scheme. TPM 2.0 Part 2, table 174. */
export const TpmtRsaDecrypt = struct('TPMT_RSA_DECRYPT', {
  scheme: TpmiAlgRsaDecrypt,
  details: union('scheme', encSchemes),
});
/** The value type of {@link TpmtRsaDecrypt}. */
export type TpmtRsaDecrypt = Infer<typeof TpmtRsaDecrypt>;

/** An RSA encryption scheme, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 174. */
export const TpmtRsaDecryptOrNull = struct('TPMT_RSA_DECRYPT+', {
  scheme: TpmiAlgRsaDecryptOrNull,
  details: union('scheme', { ...encSchemes, [TPM_ALG.NULL]: empty }),
});
/** The value type of {@link TpmtRsaDecryptOrNull}. */
export type TpmtRsaDecryptOrNull = Infer<typeof TpmtRsaDecryptOrNull>;

/** A modulus, ciphertext or signature of RSA, big-endian, at most 512 bytes. TPM 2.0 Part 2, table 175. */
export const Tpm2bPublicKeyRsa = sizedBytes('TPM2B_PUBLIC_KEY_RSA', u16, { max: LIMITS.MAX_RSA_KEY_BYTES });
/** The value type of {@link Tpm2bPublicKeyRsa}. */
export type Tpm2bPublicKeyRsa = Infer<typeof Tpm2bPublicKeyRsa>;

/** The private part of an RSA key: one prime factor, big-endian. TPM 2.0 Part 2, table 177. */
export const Tpm2bPrivateKeyRsa = sizedBytes('TPM2B_PRIVATE_KEY_RSA', u16, { max: LIMITS.RSA_PRIVATE_SIZE });
/** The value type of {@link Tpm2bPrivateKeyRsa}. */
export type Tpm2bPrivateKeyRsa = Infer<typeof Tpm2bPrivateKeyRsa>;

/** A coordinate or scalar, big-endian, at most 80 bytes. TPM 2.0 Part 2, table 178. */
export const Tpm2bEccParameter = sizedBytes('TPM2B_ECC_PARAMETER', u16, { max: LIMITS.MAX_ECC_KEY_BYTES });
/** The value type of {@link Tpm2bEccParameter}. */
export type Tpm2bEccParameter = Infer<typeof Tpm2bEccParameter>;

/** A point; both coordinates are empty where there is none. TPM 2.0 Part 2, table 179. */
export const TpmsEccPoint = struct('TPMS_ECC_POINT', { x: Tpm2bEccParameter, y: Tpm2bEccParameter });
/** The value type of {@link TpmsEccPoint}. */
export type TpmsEccPoint = Infer<typeof TpmsEccPoint>;

/** {@link TpmsEccPoint} behind its size. TPM 2.0 Part 2, table 180. */
export const Tpm2bEccPoint = sized('TPM2B_ECC_POINT', u16, TpmsEccPoint);
/** The value type of {@link Tpm2bEccPoint}. */
export type Tpm2bEccPoint = Infer<typeof Tpm2bEccPoint>;

/** A scheme of an ECC key. TPM 2.0 Part 2, table 183. */
export const TpmtEccScheme = struct('TPMT_ECC_SCHEME', {
  scheme: TpmiAlgEccScheme,
  details: union('scheme', eccSchemes),
});
/** The value type of {@link TpmtEccScheme}. */
export type TpmtEccScheme = Infer<typeof TpmtEccScheme>;

/** A scheme of an ECC key, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 183. */
export const TpmtEccSchemeOrNull = struct('TPMT_ECC_SCHEME+', {
  scheme: TpmiAlgEccSchemeOrNull,
  details: union('scheme', { ...eccSchemes, [TPM_ALG.NULL]: empty }),
});
/** The value type of {@link TpmtEccSchemeOrNull}. */
export type TpmtEccSchemeOrNull = Infer<typeof TpmtEccSchemeOrNull>;

/** The numbers that define a curve, and what it is used with; `keySize` in bits. TPM 2.0 Part 2, table 184. */
export const TpmsAlgorithmDetailEcc = struct('TPMS_ALGORITHM_DETAIL_ECC', {
  curveID: TpmEccCurve,
  keySize: u16,
  kdf: TpmtKdfSchemeOrNull,
  sign: TpmtEccSchemeOrNull,
  p: Tpm2bEccParameter,
  a: Tpm2bEccParameter,
  b: Tpm2bEccParameter,
  gX: Tpm2bEccParameter,
  gY: Tpm2bEccParameter,
  n: Tpm2bEccParameter,
  h: Tpm2bEccParameter,
});
/** The value type of {@link TpmsAlgorithmDetailEcc}. */
export type TpmsAlgorithmDetailEcc = Infer<typeof TpmsAlgorithmDetailEcc>;
