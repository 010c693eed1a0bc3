/** Public areas of objects. TPM 2.0 Part 2, clause 12.2. */
import { type Infer, sized, sizedBytes, struct, u16, u32, union } from '@casemate/wire';
import { TPM_ALG } from '../constants/algorithms.js';
import { TpmiAlgHash, TpmiAlgHashOrNull, TpmiAlgPublic, TpmiEccCurve, TpmiRsaKeyBits } from './algorithms.js';
import {
  Tpm2bPublicKeyRsa,
  TpmsEccPoint,
  TpmtAsymSchemeOrNull,
  TpmtEccSchemeOrNull,
  TpmtKdfSchemeOrNull,
  TpmtRsaSchemeOrNull,
} from './asymmetric.js';
import { TpmaObject } from './attributes.js';
import { Tpm2bDigest } from './digests.js';
import { LIMITS } from './limits.js';
import { TpmsDerive, TpmsSymcipherParms, TpmtKeyedhashSchemeOrNull, TpmtSymDefObjectOrNull } from './symmetric.js';

/**
 * What tells an object from others of the same parameters; for an asymmetric key, the public key. TPM 2.0 Part 2, table
 * 194.
 */
export const TpmuPublicId = {
  [TPM_ALG.KEYEDHASH]: Tpm2bDigest,
  [TPM_ALG.SYMCIPHER]: Tpm2bDigest,
  [TPM_ALG.RSA]: Tpm2bPublicKeyRsa,
  [TPM_ALG.ECC]: TpmsEccPoint,
} as const;

/** Parameters of a keyed-hash object. TPM 2.0 Part 2, table 195. */
export const TpmsKeyedhashParms = struct('TPMS_KEYEDHASH_PARMS', { scheme: TpmtKeyedhashSchemeOrNull });
/** The value type of {@link TpmsKeyedhashParms}. */
export type TpmsKeyedhashParms = Infer<typeof TpmsKeyedhashParms>;

/** What the parameters of RSA and ECC keys have in common. TPM 2.0 Part 2, table 196. */
export const TpmsAsymParms = struct('TPMS_ASYM_PARMS', {
  symmetric: TpmtSymDefObjectOrNull,
  scheme: TpmtAsymSchemeOrNull,
});
/** The value type of {@link TpmsAsymParms}. */
export type TpmsAsymParms = Infer<typeof TpmsAsymParms>;

/** Parameters of an RSA key; `exponent` 0 stands for 65537. TPM 2.0 Part 2, table 197. */
export const TpmsRsaParms = struct('TPMS_RSA_PARMS', {
  symmetric: TpmtSymDefObjectOrNull,
  scheme: TpmtRsaSchemeOrNull,
  keyBits: TpmiRsaKeyBits,
  exponent: u32,
});
/** The value type of {@link TpmsRsaParms}. */
export type TpmsRsaParms = Infer<typeof TpmsRsaParms>;

/** Parameters of an ECC key. TPM 2.0 Part 2, table 198. */
export const TpmsEccParms = struct('TPMS_ECC_PARMS', {
  symmetric: TpmtSymDefObjectOrNull,
  scheme: TpmtEccSchemeOrNull,
  curveID: TpmiEccCurve,
  kdf: TpmtKdfSchemeOrNull,
});
/** The value type of {@link TpmsEccParms}. */
export type TpmsEccParms = Infer<typeof TpmsEccParms>;

/** The parameters of each type of object. TPM 2.0 Part 2, table 199. */
export const TpmuPublicParms = {
  [TPM_ALG.KEYEDHASH]: TpmsKeyedhashParms,
  [TPM_ALG.SYMCIPHER]: TpmsSymcipherParms,
  [TPM_ALG.RSA]: TpmsRsaParms,
  [TPM_ALG.ECC]: TpmsEccParms,
} as const;

/** A type of object with its parameters, a union on `type`. TPM 2.0 Part 2, table 200. */
export const TpmtPublicParms = struct('TPMT_PUBLIC_PARMS', {
  type: TpmiAlgPublic,
  parameters: union('type', TpmuPublicParms),
});
/** The value type of {@link TpmtPublicParms}. */
export type TpmtPublicParms = Infer<typeof TpmtPublicParms>;

/** A public area, a union on `type`. TPM 2.0 Part 2, table 201. */
export const TpmtPublic = struct('TPMT_PUBLIC', {
  type: TpmiAlgPublic,
  nameAlg: TpmiAlgHash,
  objectAttributes: TpmaObject,
  authPolicy: Tpm2bDigest,
  parameters: union('type', TpmuPublicParms),
  unique: union('type', TpmuPublicId),
});
/** The value type of {@link TpmtPublic}. */
export type TpmtPublic = Infer<typeof TpmtPublic>;

/** A public area whose `nameAlg` may be TPM_ALG_NULL: an object without a name. TPM 2.0 Part 2, table 201. */
export const TpmtPublicOrNull = struct('TPMT_PUBLIC+', {
  type: TpmiAlgPublic,
  nameAlg: TpmiAlgHashOrNull,
  objectAttributes: TpmaObject,
  authPolicy: Tpm2bDigest,
  parameters: union('type', TpmuPublicParms),
  unique: union('type', TpmuPublicId),
});
/** The value type of {@link TpmtPublicOrNull}. */
export type TpmtPublicOrNull = Infer<typeof TpmtPublicOrNull>;

/**
 * The template of an object derived by TPM2_CreateLoaded: a public area with label and context as `unique`. TPM 2.0
 * Part 2, tables 194 and 201.
 */
export const TpmtPublicDerive = struct('TPMT_PUBLIC', {
  type: TpmiAlgPublic,
  nameAlg: TpmiAlgHash,
  objectAttributes: TpmaObject,
  authPolicy: Tpm2bDigest,
  parameters: union('type', TpmuPublicParms),
  unique: TpmsDerive,
});
/** The value type of {@link TpmtPublicDerive}. */
export type TpmtPublicDerive = Infer<typeof TpmtPublicDerive>;

/** {@link TpmtPublic} behind its size. TPM 2.0 Part 2, table 202. */
export const Tpm2bPublic = sized('TPM2B_PUBLIC', u16, TpmtPublic, { max: LIMITS.MAX_TEMPLATE_BYTES });
/** The value type of {@link Tpm2bPublic}. */
export type Tpm2bPublic = Infer<typeof Tpm2bPublic>;

/** {@link TpmtPublicOrNull} behind its size. TPM 2.0 Part 2, table 202. */
export const Tpm2bPublicOrNull = sized('TPM2B_PUBLIC+', u16, TpmtPublicOrNull, { max: LIMITS.MAX_TEMPLATE_BYTES });
/** The value type of {@link Tpm2bPublicOrNull}. */
export type Tpm2bPublicOrNull = Infer<typeof Tpm2bPublicOrNull>;

/**
 * An encoded {@link TpmtPublic} or {@link TpmtPublicDerive}, left as bytes because only the parent tells which. TPM 2.0
 * Part 2, table 203.
 */
export const Tpm2bTemplate = sizedBytes('TPM2B_TEMPLATE', u16, { max: LIMITS.MAX_TEMPLATE_BYTES });
/** The value type of {@link Tpm2bTemplate}. */
export type Tpm2bTemplate = Infer<typeof Tpm2bTemplate>;
