/** Lists; their values are arrays. TPM 2.0 Part 2, clause 10.9. */
import { array, checked, type Infer, u32 } from '@casemate/wire';
import { TpmaCc } from './attributes.js';
import { TpmAlgId, TpmCc, TpmEccCurve, TpmHandle } from './constants.js';
import { Tpm2bDigest, TpmtHa } from './digests.js';
import { LIMITS } from './limits.js';
import { TpmsPcrSelection } from './pcr.js';
import {
  TpmsActData,
  TpmsAlgProperty,
  TpmsTaggedPcrSelect,
  TpmsTaggedPolicy,
  TpmsTaggedProperty,
} from './properties.js';

const CAPABILITIES = { max: LIMITS.MAX_CAP_ELEMENTS } as const;

/** Command codes. TPM 2.0 Part 2, table 106. */
export const TpmlCc = array('TPML_CC', u32, TpmCc, CAPABILITIES);
/** The value type of {@link TpmlCc}. */
export type TpmlCc = Infer<typeof TpmlCc>;

/** Command attributes. TPM 2.0 Part 2, table 107. */
export const TpmlCca = array('TPML_CCA', u32, TpmaCc, CAPABILITIES);
/** The value type of {@link TpmlCca}. */
export type TpmlCca = Infer<typeof TpmlCca>;

/** Algorithms. TPM 2.0 Part 2, table 108. */
export const TpmlAlg = array('TPML_ALG', u32, TpmAlgId, { max: LIMITS.MAX_ALG_LIST_SIZE });
/** The value type of {@link TpmlAlg}. */
export type TpmlAlg = Infer<typeof TpmlAlg>;

/** Handles. TPM 2.0 Part 2, table 109. */
export const TpmlHandle = array('TPML_HANDLE', u32, TpmHandle, CAPABILITIES);
/** The value type of {@link TpmlHandle}. */
export type TpmlHandle = Infer<typeof TpmlHandle>;

/** Up to eight digests. TPM 2.0 Part 2, table 110. */
export const TpmlDigest = array('TPML_DIGEST', u32, Tpm2bDigest, { max: LIMITS.MAX_DIGESTS });
/** The value type of {@link TpmlDigest}. */
export type TpmlDigest = Infer<typeof TpmlDigest>;

/** Two to eight digests, the branches of TPM2_PolicyOR. TPM 2.0 Part 2, table 110. */
export const TpmlDigestOfBranches = checked('TPML_DIGEST', TpmlDigest, (digests) =>
  // What is no array at all, the list itself refuses.
  digests?.length < 2 ? `expected at least 2 elements, got ${digests.length}` : undefined,
);
/** The value type of {@link TpmlDigestOfBranches}. */
export type TpmlDigestOfBranches = Infer<typeof TpmlDigestOfBranches>;

/** Digests with their algorithms. TPM 2.0 Part 2, table 111. */
export const TpmlDigestValues = array('TPML_DIGEST_VALUES', u32, TpmtHa, { max: LIMITS.HASH_COUNT });
/** The value type of {@link TpmlDigestValues}. */
export type TpmlDigestValues = Infer<typeof TpmlDigestValues>;

/** PCRs of several banks. TPM 2.0 Part 2, table 112. */
export const TpmlPcrSelection = array('TPML_PCR_SELECTION', u32, TpmsPcrSelection, { max: LIMITS.HASH_COUNT });
/** The value type of {@link TpmlPcrSelection}. */
export type TpmlPcrSelection = Infer<typeof TpmlPcrSelection>;

/** Algorithms with their attributes. TPM 2.0 Part 2, table 113. */
export const TpmlAlgProperty = array('TPML_ALG_PROPERTY', u32, TpmsAlgProperty, CAPABILITIES);
/** The value type of {@link TpmlAlgProperty}. */
export type TpmlAlgProperty = Infer<typeof TpmlAlgProperty>;

/** TPM properties with their values. TPM 2.0 Part 2, table 114. */
export const TpmlTaggedTpmProperty = array('TPML_TAGGED_TPM_PROPERTY', u32, TpmsTaggedProperty, CAPABILITIES);
/** The value type of {@link TpmlTaggedTpmProperty}. */
export type TpmlTaggedTpmProperty = Infer<typeof TpmlTaggedTpmProperty>;

/** PCR properties with the PCRs that have them. TPM 2.0 Part 2, table 115. */
export const TpmlTaggedPcrProperty = array('TPML_TAGGED_PCR_PROPERTY', u32, TpmsTaggedPcrSelect, CAPABILITIES);
/** The value type of {@link TpmlTaggedPcrProperty}. */
export type TpmlTaggedPcrProperty = Infer<typeof TpmlTaggedPcrProperty>;

/** Curves. TPM 2.0 Part 2, table 116. */
export const TpmlEccCurve = array('TPML_ECC_CURVE', u32, TpmEccCurve, CAPABILITIES);
/** The value type of {@link TpmlEccCurve}. */
export type TpmlEccCurve = Infer<typeof TpmlEccCurve>;

/** Permanent handles with their policies. TPM 2.0 Part 2, table 117. */
export const TpmlTaggedPolicy = array('TPML_TAGGED_POLICY', u32, TpmsTaggedPolicy, CAPABILITIES);
/** The value type of {@link TpmlTaggedPolicy}. */
export type TpmlTaggedPolicy = Infer<typeof TpmlTaggedPolicy>;

/** States of countdown timers. TPM 2.0 Part 2, table 118. */
export const TpmlActData = array('TPML_ACT_DATA', u32, TpmsActData, CAPABILITIES);
/** The value type of {@link TpmlActData}. */
export type TpmlActData = Infer<typeof TpmlActData>;
