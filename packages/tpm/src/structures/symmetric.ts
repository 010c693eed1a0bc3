/** Symmetric algorithms with their parameters, and sensitive data given at creation. TPM 2.0 Part 2, clause 11.1. */
import { empty, type Infer, sized, sizedBytes, struct, u16, union } from '@casemate/wire';
import { TPM_ALG } from '../constants/algorithms.js';
import {
  TpmiAesKeyBits,
  TpmiAlgHash,
  TpmiAlgKdfOrNull,
  TpmiAlgKeyedhashScheme,
  TpmiAlgKeyedhashSchemeOrNull,
  TpmiAlgSym,
  TpmiAlgSymModeOrNull,
  TpmiAlgSymObject,
  TpmiAlgSymObjectOrNull,
  TpmiAlgSymOrNull,
  TpmiCamelliaKeyBits,
  TpmiSm4KeyBits,
  TpmiTdesKeyBits,
} from './algorithms.js';
import { Tpm2bAuth } from './digests.js';
import { LIMITS } from './limits.js';

const blockCipherKeyBits = {
  [TPM_ALG.TDES]: TpmiTdesKeyBits,
  [TPM_ALG.AES]: TpmiAesKeyBits,
  [TPM_ALG.SM4]: TpmiSm4KeyBits,
  [TPM_ALG.CAMELLIA]: TpmiCamelliaKeyBits,
} as const;
const symKeyBits = { ...blockCipherKeyBits, [TPM_ALG.XOR]: TpmiAlgHash } as const;

/** Key size of a block cipher, or the hash algorithm of XOR. TPM 2.0 Part 2, table 138. */
export const TpmuSymKeyBits = { ...symKeyBits, [TPM_ALG.NULL]: empty } as const;

const blockCipherMode = {
  [TPM_ALG.TDES]: TpmiAlgSymModeOrNull,
  [TPM_ALG.AES]: TpmiAlgSymModeOrNull,
  [TPM_ALG.SM4]: TpmiAlgSymModeOrNull,
  [TPM_ALG.CAMELLIA]: TpmiAlgSymModeOrNull,
} as const;
const symMode = { ...blockCipherMode, [TPM_ALG.XOR]: empty } as const;

/** Mode of a block cipher; XOR has none. TPM 2.0 Part 2, table 139. */
export const TpmuSymMode = { ...symMode, [TPM_ALG.NULL]: empty } as const;

/**
 * Further parameters of a symmetric algorithm: none has any, so no structure carries the union. TPM 2.0 Part 2, table
 * 140.
 */
export const TpmuSymDetails = {
  [TPM_ALG.TDES]: empty,
  [TPM_ALG.AES]: empty,
  [TPM_ALG.SM4]: empty,
  [TPM_ALG.CAMELLIA]: empty,
  [TPM_ALG.XOR]: empty,
  [TPM_ALG.NULL]: empty,
} as const;

/** A symmetric algorithm for a session; for XOR, `keyBits` is a hash algorithm. TPM 2.0 Part 2, table 141. */
export const TpmtSymDef = struct('TPMT_SYM_DEF', {
  algorithm: TpmiAlgSym,
  keyBits: union('algorithm', symKeyBits),
  mode: union('algorithm', symMode),
});
/** The value type of {@link TpmtSymDef}. */
export type TpmtSymDef = Infer<typeof TpmtSymDef>;

/** A symmetric algorithm for a session, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 141. */
export const TpmtSymDefOrNull = struct('TPMT_SYM_DEF+', {
  algorithm: TpmiAlgSymOrNull,
  keyBits: union('algorithm', TpmuSymKeyBits),
  mode: union('algorithm', TpmuSymMode),
});
/** The value type of {@link TpmtSymDefOrNull}. */
export type TpmtSymDefOrNull = Infer<typeof TpmtSymDefOrNull>;

/** A block cipher for an object. TPM 2.0 Part 2, table 142. */
export const TpmtSymDefObject = struct('TPMT_SYM_DEF_OBJECT', {
  algorithm: TpmiAlgSymObject,
  keyBits: union('algorithm', blockCipherKeyBits),
  mode: union('algorithm', blockCipherMode),
});
/** The value type of {@link TpmtSymDefObject}. */
export type TpmtSymDefObject = Infer<typeof TpmtSymDefObject>;

/** A block cipher for an object, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 142. */
export const TpmtSymDefObjectOrNull = struct('TPMT_SYM_DEF_OBJECT+', {
  algorithm: TpmiAlgSymObjectOrNull,
  keyBits: union('algorithm', { ...blockCipherKeyBits, [TPM_ALG.NULL]: empty }),
  mode: union('algorithm', { ...blockCipherMode, [TPM_ALG.NULL]: empty }),
});
/** The value type of {@link TpmtSymDefObjectOrNull}. */
export type TpmtSymDefObjectOrNull = Infer<typeof TpmtSymDefObjectOrNull>;

/** A symmetric key, at most 32 bytes. TPM 2.0 Part 2, table 143. */
export const Tpm2bSymKey = sizedBytes('TPM2B_SYM_KEY', u16, { max: LIMITS.MAX_SYM_KEY_BYTES });
/** The value type of {@link Tpm2bSymKey}. */
export type Tpm2bSymKey = Infer<typeof Tpm2bSymKey>;

/** Parameters of a block cipher object. TPM 2.0 Part 2, table 144. */
export const TpmsSymcipherParms = struct('TPMS_SYMCIPHER_PARMS', { sym: TpmtSymDefObject });
/** The value type of {@link TpmsSymcipherParms}. */
export type TpmsSymcipherParms = Infer<typeof TpmsSymcipherParms>;

/** A label or context of a derivation, at most 32 bytes. TPM 2.0 Part 2, table 145. */
export const Tpm2bLabel = sizedBytes('TPM2B_LABEL', u16, { max: LIMITS.LABEL_MAX_BUFFER });
/** The value type of {@link Tpm2bLabel}. */
export type Tpm2bLabel = Infer<typeof Tpm2bLabel>;

/** What sets a derived object apart from its siblings. TPM 2.0 Part 2, table 146. */
export const TpmsDerive = struct('TPMS_DERIVE', { label: Tpm2bLabel, context: Tpm2bLabel });
/** The value type of {@link TpmsDerive}. */
export type TpmsDerive = Infer<typeof TpmsDerive>;

/** An encoded {@link TpmsDerive}. TPM 2.0 Part 2, table 147. */
export const Tpm2bDerive = sizedBytes('TPM2B_DERIVE', u16, { max: 2 * (2 + LIMITS.LABEL_MAX_BUFFER) });
/** The value type of {@link Tpm2bDerive}. */
export type Tpm2bDerive = Infer<typeof Tpm2bDerive>;

/**
 * Data to seal or an HMAC key, at most 128 bytes; for a derived object an encoded {@link TpmsDerive}. TPM 2.0 Part 2,
 * tables 148 and 149.
 */
export const Tpm2bSensitiveData = sizedBytes('TPM2B_SENSITIVE_DATA', u16, { max: LIMITS.MAX_SYM_DATA });
/** The value type of {@link Tpm2bSensitiveData}. */
export type Tpm2bSensitiveData = Infer<typeof Tpm2bSensitiveData>;

/** The authorisation value and secret data of a new object. TPM 2.0 Part 2, table 150. */
export const TpmsSensitiveCreate = struct('TPMS_SENSITIVE_CREATE', { userAuth: Tpm2bAuth, data: Tpm2bSensitiveData });
/** The value type of {@link TpmsSensitiveCreate}. */
export type TpmsSensitiveCreate = Infer<typeof TpmsSensitiveCreate>;

/** {@link TpmsSensitiveCreate} behind its size. TPM 2.0 Part 2, table 151. */
export const Tpm2bSensitiveCreate = sized('TPM2B_SENSITIVE_CREATE', u16, TpmsSensitiveCreate);
/** The value type of {@link Tpm2bSensitiveCreate}. */
export type Tpm2bSensitiveCreate = Infer<typeof Tpm2bSensitiveCreate>;

/** A scheme that needs only a hash algorithm. TPM 2.0 Part 2, table 152. */
export const TpmsSchemeHash = struct('TPMS_SCHEME_HASH', { hashAlg: TpmiAlgHash });
/** The value type of {@link TpmsSchemeHash}. */
export type TpmsSchemeHash = Infer<typeof TpmsSchemeHash>;

/** The scheme of ECDAA; `count` is the counter of TPM2_Commit. TPM 2.0 Part 2, table 153. */
export const TpmsSchemeEcdaa = struct('TPMS_SCHEME_ECDAA', { hashAlg: TpmiAlgHash, count: u16 });
/** The value type of {@link TpmsSchemeEcdaa}. */
export type TpmsSchemeEcdaa = Infer<typeof TpmsSchemeEcdaa>;

/** The scheme of HMAC. TPM 2.0 Part 2, table 155. */
export const TpmsSchemeHmac = struct('TPMS_SCHEME_HMAC', { hashAlg: TpmiAlgHash });
/** The value type of {@link TpmsSchemeHmac}. */
export type TpmsSchemeHmac = Infer<typeof TpmsSchemeHmac>;

/** The scheme of XOR obfuscation. TPM 2.0 Part 2, table 156. */
export const TpmsSchemeXor = struct('TPMS_SCHEME_XOR', { hashAlg: TpmiAlgHash, kdf: TpmiAlgKdfOrNull });
/** The value type of {@link TpmsSchemeXor}. */
export type TpmsSchemeXor = Infer<typeof TpmsSchemeXor>;

const keyedhashSchemes = { [TPM_ALG.HMAC]: TpmsSchemeHmac, [TPM_ALG.XOR]: TpmsSchemeXor } as const;

/** The details of each keyed-hash scheme. TPM 2.0 Part 2, table 157. */
export const TpmuSchemeKeyedhash = { ...keyedhashSchemes, [TPM_ALG.NULL]: empty } as const;

/** A keyed-hash scheme. TPM 2.0 Part 2, table 158. */
export const TpmtKeyedhashScheme = struct('TPMT_KEYEDHASH_SCHEME', {
  scheme: TpmiAlgKeyedhashScheme,
  details: union('scheme', keyedhashSchemes),
});
/** The value type of {@link TpmtKeyedhashScheme}. */
export type TpmtKeyedhashScheme = Infer<typeof TpmtKeyedhashScheme>;

/** A keyed-hash scheme, or TPM_ALG_NULL alone. TPM 2.0 Part 2, table 158. */
export const TpmtKeyedhashSchemeOrNull = struct('TPMT_KEYEDHASH_SCHEME+', {
  scheme: TpmiAlgKeyedhashSchemeOrNull,
  details: union('scheme', TpmuSchemeKeyedhash),
});
/** The value type of {@link TpmtKeyedhashSchemeOrNull}. */
export type TpmtKeyedhashSchemeOrNull = Infer<typeof TpmtKeyedhashSchemeOrNull>;
