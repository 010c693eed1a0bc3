/** Single properties that a TPM reports. TPM 2.0 Part 2, clause 10.8. */
import { type Infer, struct, u32 } from '@casemate/wire';
import { TpmaAct, TpmaAlgorithm } from './attributes.js';
import { TpmAlgId, TpmHandle, TpmPt, TpmPtPcr } from './constants.js';
import { TpmtHaOrNull } from './digests.js';
import { PcrSelect } from './pcr.js';

/** An algorithm with its attributes. TPM 2.0 Part 2, table 101. */
export const TpmsAlgProperty = struct('TPMS_ALG_PROPERTY', { alg: TpmAlgId, algProperties: TpmaAlgorithm });
/** The value type of {@link TpmsAlgProperty}. */
export type TpmsAlgProperty = Infer<typeof TpmsAlgProperty>;

/** A TPM property with its value. TPM 2.0 Part 2, table 102. */
export const TpmsTaggedProperty = struct('TPMS_TAGGED_PROPERTY', { property: TpmPt, value: u32 });
/** The value type of {@link TpmsTaggedProperty}. */
export type TpmsTaggedProperty = Infer<typeof TpmsTaggedProperty>;

/** A PCR property with the PCRs that have it. TPM 2.0 Part 2, table 103. */
export const TpmsTaggedPcrSelect = struct('TPMS_TAGGED_PCR_SELECT', { tag: TpmPtPcr, pcrSelect: PcrSelect });
/** The value type of {@link TpmsTaggedPcrSelect}. */
export type TpmsTaggedPcrSelect = Infer<typeof TpmsTaggedPcrSelect>;

/** A permanent handle with its policy; TPM_ALG_NULL where it has none. TPM 2.0 Part 2, table 104. */
export const TpmsTaggedPolicy = struct('TPMS_TAGGED_POLICY', { handle: TpmHandle, policyHash: TpmtHaOrNull });
/** The value type of {@link TpmsTaggedPolicy}. */
export type TpmsTaggedPolicy = Infer<typeof TpmsTaggedPolicy>;

/** The state of a countdown timer; `timeout` in seconds. TPM 2.0 Part 2, table 105. */
export const TpmsActData = struct('TPMS_ACT_DATA', { handle: TpmHandle, timeout: u32, attributes: TpmaAct });
/** The value type of {@link TpmsActData}. */
export type TpmsActData = Infer<typeof TpmsActData>;
