/**
 * Interface types of algorithms: which algorithms a field may hold. TPM 2.0 Part 2, clauses 9.27 to 9.37. `…OrNull` is
 * the type with its conditional value (`+`).
 */
import { type Infer, oneOf, u16 } from '@casemate/wire';
import { TPM_ALG, TPM_ECC_CURVE } from '../constants/algorithms.js';
import { TPM_ST } from '../constants/sessions.js';

const HASHES = [
  TPM_ALG.SHA1,
  TPM_ALG.SHA256,
  TPM_ALG.SHA384,
  TPM_ALG.SHA512,
  TPM_ALG.SM3_256,
  TPM_ALG.SHA3_256,
  TPM_ALG.SHA3_384,
  TPM_ALG.SHA3_512,
] as const;
const BLOCK_CIPHERS = [TPM_ALG.TDES, TPM_ALG.AES, TPM_ALG.SM4, TPM_ALG.CAMELLIA] as const;
const CIPHER_MODES = [TPM_ALG.CTR, TPM_ALG.OFB, TPM_ALG.CBC, TPM_ALG.CFB, TPM_ALG.ECB] as const;
const KDFS = [TPM_ALG.MGF1, TPM_ALG.KDF1_SP800_56A, TPM_ALG.KDF2, TPM_ALG.KDF1_SP800_108] as const;
const RSA_SIGNING = [TPM_ALG.RSASSA, TPM_ALG.RSAPSS] as const;
const ECC_SIGNING = [TPM_ALG.ECDSA, TPM_ALG.ECDAA, TPM_ALG.SM2, TPM_ALG.ECSCHNORR] as const;
const RSA_ENCRYPTING = [TPM_ALG.RSAES, TPM_ALG.OAEP] as const;
const KEY_EXCHANGES = [TPM_ALG.ECDH, TPM_ALG.ECMQV] as const;
const { NULL } = TPM_ALG;

/** A hash algorithm. TPM 2.0 Part 2, table 66. */
export const TpmiAlgHash = oneOf('TPMI_ALG_HASH', u16, HASHES);
/** The value type of {@link TpmiAlgHash}. */
export type TpmiAlgHash = Infer<typeof TpmiAlgHash>;

/** A hash algorithm, or TPM_ALG_NULL. TPM 2.0 Part 2, table 66. */
export const TpmiAlgHashOrNull = oneOf('TPMI_ALG_HASH+', u16, [...HASHES, NULL]);
/** The value type of {@link TpmiAlgHashOrNull}. */
export type TpmiAlgHashOrNull = Infer<typeof TpmiAlgHashOrNull>;

/** An asymmetric algorithm. TPM 2.0 Part 2, table 67. */
export const TpmiAlgAsym = oneOf('TPMI_ALG_ASYM', u16, [TPM_ALG.RSA, TPM_ALG.ECC]);
/** The value type of {@link TpmiAlgAsym}. */
export type TpmiAlgAsym = Infer<typeof TpmiAlgAsym>;

/** An asymmetric algorithm, or TPM_ALG_NULL. TPM 2.0 Part 2, table 67. */
export const TpmiAlgAsymOrNull = oneOf('TPMI_ALG_ASYM+', u16, [TPM_ALG.RSA, TPM_ALG.ECC, NULL]);
/** The value type of {@link TpmiAlgAsymOrNull}. */
export type TpmiAlgAsymOrNull = Infer<typeof TpmiAlgAsymOrNull>;

/** A block cipher or XOR. TPM 2.0 Part 2, table 68. */
export const TpmiAlgSym = oneOf('TPMI_ALG_SYM', u16, [...BLOCK_CIPHERS, TPM_ALG.XOR]);
/** The value type of {@link TpmiAlgSym}. */
export type TpmiAlgSym = Infer<typeof TpmiAlgSym>;

/** A block cipher, XOR or TPM_ALG_NULL. TPM 2.0 Part 2, table 68. */
export const TpmiAlgSymOrNull = oneOf('TPMI_ALG_SYM+', u16, [...BLOCK_CIPHERS, TPM_ALG.XOR, NULL]);
/** The value type of {@link TpmiAlgSymOrNull}. */
export type TpmiAlgSymOrNull = Infer<typeof TpmiAlgSymOrNull>;

/** A block cipher. TPM 2.0 Part 2, table 69. */
export const TpmiAlgSymObject = oneOf('TPMI_ALG_SYM_OBJECT', u16, BLOCK_CIPHERS);
/** The value type of {@link TpmiAlgSymObject}. */
export type TpmiAlgSymObject = Infer<typeof TpmiAlgSymObject>;

/** A block cipher, or TPM_ALG_NULL. TPM 2.0 Part 2, table 69. */
export const TpmiAlgSymObjectOrNull = oneOf('TPMI_ALG_SYM_OBJECT+', u16, [...BLOCK_CIPHERS, NULL]);
/** The value type of {@link TpmiAlgSymObjectOrNull}. */
export type TpmiAlgSymObjectOrNull = Infer<typeof TpmiAlgSymObjectOrNull>;

/** A mode of a block cipher, for encryption or for a MAC. TPM 2.0 Part 2, table 70. */
export const TpmiAlgSymMode = oneOf('TPMI_ALG_SYM_MODE', u16, [...CIPHER_MODES, TPM_ALG.CMAC]);
/** The value type of {@link TpmiAlgSymMode}. */
export type TpmiAlgSymMode = Infer<typeof TpmiAlgSymMode>;

/** A mode of a block cipher, or TPM_ALG_NULL. TPM 2.0 Part 2, table 70. */
export const TpmiAlgSymModeOrNull = oneOf('TPMI_ALG_SYM_MODE+', u16, [...CIPHER_MODES, TPM_ALG.CMAC, NULL]);
/** The value type of {@link TpmiAlgSymModeOrNull}. */
export type TpmiAlgSymModeOrNull = Infer<typeof TpmiAlgSymModeOrNull>;

/** A key derivation or mask generation function. TPM 2.0 Part 2, table 71. */
export const TpmiAlgKdf = oneOf('TPMI_ALG_KDF', u16, KDFS);
/** The value type of {@link TpmiAlgKdf}. */
export type TpmiAlgKdf = Infer<typeof TpmiAlgKdf>;

/** A key derivation or mask generation function, or TPM_ALG_NULL. TPM 2.0 Part 2, table 71. */
export const TpmiAlgKdfOrNull = oneOf('TPMI_ALG_KDF+', u16, [...KDFS, NULL]);
/** The value type of {@link TpmiAlgKdfOrNull}. */
export type TpmiAlgKdfOrNull = Infer<typeof TpmiAlgKdfOrNull>;

/** A signature scheme. TPM 2.0 Part 2, table 72. */
export const TpmiAlgSigScheme = oneOf('TPMI_ALG_SIG_SCHEME', u16, [...RSA_SIGNING, ...ECC_SIGNING, TPM_ALG.HMAC]);
/** The value type of {@link TpmiAlgSigScheme}. */
export type TpmiAlgSigScheme = Infer<typeof TpmiAlgSigScheme>;

/** A signature scheme, or TPM_ALG_NULL. TPM 2.0 Part 2, table 72. */
export const TpmiAlgSigSchemeOrNull = oneOf('TPMI_ALG_SIG_SCHEME+', u16, [
  ...RSA_SIGNING,
  ...ECC_SIGNING,
  TPM_ALG.HMAC,
  NULL,
]);
/** The value type of {@link TpmiAlgSigSchemeOrNull}. */
export type TpmiAlgSigSchemeOrNull = Infer<typeof TpmiAlgSigSchemeOrNull>;

/** A key exchange on a curve. TPM 2.0 Part 2, table 73. */
export const TpmiEccKeyExchange = oneOf('TPMI_ECC_KEY_EXCHANGE', u16, [...KEY_EXCHANGES, TPM_ALG.SM2]);
/** The value type of {@link TpmiEccKeyExchange}. */
export type TpmiEccKeyExchange = Infer<typeof TpmiEccKeyExchange>;

/** A key exchange on a curve, or TPM_ALG_NULL. TPM 2.0 Part 2, table 73. */
export const TpmiEccKeyExchangeOrNull = oneOf('TPMI_ECC_KEY_EXCHANGE+', u16, [...KEY_EXCHANGES, TPM_ALG.SM2, NULL]);
/** The value type of {@link TpmiEccKeyExchangeOrNull}. */
export type TpmiEccKeyExchangeOrNull = Infer<typeof TpmiEccKeyExchangeOrNull>;

/** The tag of a command: without or with sessions. TPM 2.0 Part 2, table 74. */
export const TpmiStCommandTag = oneOf('TPMI_ST_COMMAND_TAG', u16, [TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS]);
/** The value type of {@link TpmiStCommandTag}. */
export type TpmiStCommandTag = Infer<typeof TpmiStCommandTag>;

/** A hash for HMAC or a cipher-based MAC. TPM 2.0 Part 2, table 75. */
export const TpmiAlgMacScheme = oneOf('TPMI_ALG_MAC_SCHEME', u16, [TPM_ALG.CMAC, ...HASHES]);
/** The value type of {@link TpmiAlgMacScheme}. */
export type TpmiAlgMacScheme = Infer<typeof TpmiAlgMacScheme>;

/** A hash for HMAC, a cipher-based MAC, or TPM_ALG_NULL. TPM 2.0 Part 2, table 75. */
export const TpmiAlgMacSchemeOrNull = oneOf('TPMI_ALG_MAC_SCHEME+', u16, [TPM_ALG.CMAC, ...HASHES, NULL]);
/** The value type of {@link TpmiAlgMacSchemeOrNull}. */
export type TpmiAlgMacSchemeOrNull = Infer<typeof TpmiAlgMacSchemeOrNull>;

/** A mode of encryption. TPM 2.0 Part 2, table 76. */
export const TpmiAlgCipherMode = oneOf('TPMI_ALG_CIPHER_MODE', u16, CIPHER_MODES);
/** The value type of {@link TpmiAlgCipherMode}. */
export type TpmiAlgCipherMode = Infer<typeof TpmiAlgCipherMode>;

/** A mode of encryption, or TPM_ALG_NULL. TPM 2.0 Part 2, table 76. */
export const TpmiAlgCipherModeOrNull = oneOf('TPMI_ALG_CIPHER_MODE+', u16, [...CIPHER_MODES, NULL]);
/** The value type of {@link TpmiAlgCipherModeOrNull}. */
export type TpmiAlgCipherModeOrNull = Infer<typeof TpmiAlgCipherModeOrNull>;

/** The size of an AES key in bits. TPM 2.0 Part 2, table 137; sizes from the TCG Algorithm Registry, table 21. */
export const TpmiAesKeyBits = oneOf('TPMI_AES_KEY_BITS', u16, [128, 192, 256]);
/** The value type of {@link TpmiAesKeyBits}. */
export type TpmiAesKeyBits = Infer<typeof TpmiAesKeyBits>;

/** The size of an SM4 key in bits. TPM 2.0 Part 2, table 137; sizes from the TCG Algorithm Registry, table 22. */
export const TpmiSm4KeyBits = oneOf('TPMI_SM4_KEY_BITS', u16, [128]);
/** The value type of {@link TpmiSm4KeyBits}. */
export type TpmiSm4KeyBits = Infer<typeof TpmiSm4KeyBits>;

/** The size of a Camellia key in bits. TPM 2.0 Part 2, table 137; sizes from the TCG Algorithm Registry, table 23. */
export const TpmiCamelliaKeyBits = oneOf('TPMI_CAMELLIA_KEY_BITS', u16, [128, 192, 256]);
/** The value type of {@link TpmiCamelliaKeyBits}. */
export type TpmiCamelliaKeyBits = Infer<typeof TpmiCamelliaKeyBits>;

/** The size of a triple DES key in bits. TPM 2.0 Part 2, table 137; sizes from the TCG Algorithm Registry, table 24. */
export const TpmiTdesKeyBits = oneOf('TPMI_TDES_KEY_BITS', u16, [128, 192]);
/** The value type of {@link TpmiTdesKeyBits}. */
export type TpmiTdesKeyBits = Infer<typeof TpmiTdesKeyBits>;

/** What a keyed-hash object does: sign with HMAC or obfuscate with XOR. TPM 2.0 Part 2, table 154. */
export const TpmiAlgKeyedhashScheme = oneOf('TPMI_ALG_KEYEDHASH_SCHEME', u16, [TPM_ALG.HMAC, TPM_ALG.XOR]);
/** The value type of {@link TpmiAlgKeyedhashScheme}. */
export type TpmiAlgKeyedhashScheme = Infer<typeof TpmiAlgKeyedhashScheme>;

/** What a keyed-hash object does, or TPM_ALG_NULL for either or for data. TPM 2.0 Part 2, table 154. */
export const TpmiAlgKeyedhashSchemeOrNull = oneOf('TPMI_ALG_KEYEDHASH_SCHEME+', u16, [TPM_ALG.HMAC, TPM_ALG.XOR, NULL]);
/** The value type of {@link TpmiAlgKeyedhashSchemeOrNull}. */
export type TpmiAlgKeyedhashSchemeOrNull = Infer<typeof TpmiAlgKeyedhashSchemeOrNull>;

/** Any asymmetric scheme. TPM 2.0 Part 2, table 168. */
export const TpmiAlgAsymScheme = oneOf('TPMI_ALG_ASYM_SCHEME', u16, [
  ...KEY_EXCHANGES,
  ...RSA_SIGNING,
  ...ECC_SIGNING,
  ...RSA_ENCRYPTING,
]);
/** The value type of {@link TpmiAlgAsymScheme}. */
export type TpmiAlgAsymScheme = Infer<typeof TpmiAlgAsymScheme>;

/** Any asymmetric scheme, or TPM_ALG_NULL. TPM 2.0 Part 2, table 168. */
export const TpmiAlgAsymSchemeOrNull = oneOf('TPMI_ALG_ASYM_SCHEME+', u16, [
  ...KEY_EXCHANGES,
  ...RSA_SIGNING,
  ...ECC_SIGNING,
  ...RSA_ENCRYPTING,
  NULL,
]);
/** The value type of {@link TpmiAlgAsymSchemeOrNull}. */
export type TpmiAlgAsymSchemeOrNull = Infer<typeof TpmiAlgAsymSchemeOrNull>;

/** An RSA scheme. TPM 2.0 Part 2, table 171. */
export const TpmiAlgRsaScheme = oneOf('TPMI_ALG_RSA_SCHEME', u16, [...RSA_ENCRYPTING, ...RSA_SIGNING]);
/** The value type of {@link TpmiAlgRsaScheme}. */
export type TpmiAlgRsaScheme = Infer<typeof TpmiAlgRsaScheme>;

/** An RSA scheme, or TPM_ALG_NULL. TPM 2.0 Part 2, table 171. */
export const TpmiAlgRsaSchemeOrNull = oneOf('TPMI_ALG_RSA_SCHEME+', u16, [...RSA_ENCRYPTING, ...RSA_SIGNING, NULL]);
/** The value type of {@link TpmiAlgRsaSchemeOrNull}. */
export type TpmiAlgRsaSchemeOrNull = Infer<typeof TpmiAlgRsaSchemeOrNull>;

/** An RSA encryption scheme. TPM 2.0 Part 2, table 173. */
export const TpmiAlgRsaDecrypt = oneOf('TPMI_ALG_RSA_DECRYPT', u16, RSA_ENCRYPTING);
/** The value type of {@link TpmiAlgRsaDecrypt}. */
export type TpmiAlgRsaDecrypt = Infer<typeof TpmiAlgRsaDecrypt>;

/** An RSA encryption scheme, or TPM_ALG_NULL. TPM 2.0 Part 2, table 173. */
export const TpmiAlgRsaDecryptOrNull = oneOf('TPMI_ALG_RSA_DECRYPT+', u16, [...RSA_ENCRYPTING, NULL]);
/** The value type of {@link TpmiAlgRsaDecryptOrNull}. */
export type TpmiAlgRsaDecryptOrNull = Infer<typeof TpmiAlgRsaDecryptOrNull>;

/**
 * The size of an RSA key in bits. TPM 2.0 Part 2, table 176; sizes from the TCG Algorithm Registry, table 3, up to
 * 4096.
 */
export const TpmiRsaKeyBits = oneOf('TPMI_RSA_KEY_BITS', u16, [1024, 2048, 3072, 4096]);
/** The value type of {@link TpmiRsaKeyBits}. */
export type TpmiRsaKeyBits = Infer<typeof TpmiRsaKeyBits>;

/** A scheme of an ECC key. TPM 2.0 Part 2, table 181. */
export const TpmiAlgEccScheme = oneOf('TPMI_ALG_ECC_SCHEME', u16, [...ECC_SIGNING, ...KEY_EXCHANGES]);
/** The value type of {@link TpmiAlgEccScheme}. */
export type TpmiAlgEccScheme = Infer<typeof TpmiAlgEccScheme>;

/** A scheme of an ECC key, or TPM_ALG_NULL. TPM 2.0 Part 2, table 181. */
export const TpmiAlgEccSchemeOrNull = oneOf('TPMI_ALG_ECC_SCHEME+', u16, [...ECC_SIGNING, ...KEY_EXCHANGES, NULL]);
/** The value type of {@link TpmiAlgEccSchemeOrNull}. */
export type TpmiAlgEccSchemeOrNull = Infer<typeof TpmiAlgEccSchemeOrNull>;

/** An assigned curve. TPM 2.0 Part 2, table 182. */
export const TpmiEccCurve = oneOf('TPMI_ECC_CURVE', u16, [
  TPM_ECC_CURVE.NIST_P192,
  TPM_ECC_CURVE.NIST_P224,
  TPM_ECC_CURVE.NIST_P256,
  TPM_ECC_CURVE.NIST_P384,
  TPM_ECC_CURVE.NIST_P521,
  TPM_ECC_CURVE.BN_P256,
  TPM_ECC_CURVE.BN_P638,
  TPM_ECC_CURVE.SM2_P256,
  TPM_ECC_CURVE.TEST_P192,
]);
/** The value type of {@link TpmiEccCurve}. */
export type TpmiEccCurve = Infer<typeof TpmiEccCurve>;

/** The type of an object. TPM 2.0 Part 2, table 193. */
export const TpmiAlgPublic = oneOf('TPMI_ALG_PUBLIC', u16, [
  TPM_ALG.RSA,
  TPM_ALG.KEYEDHASH,
  TPM_ALG.ECC,
  TPM_ALG.SYMCIPHER,
]);
/** The value type of {@link TpmiAlgPublic}. */
export type TpmiAlgPublic = Infer<typeof TpmiAlgPublic>;
