/** Sealed and bound data. TPM 1.2 Main Part 2, clause 9. */
import { constant, type Infer, optionalSized, rest, struct, u8, u16, u32 } from '@casemate/wire';
import { TPM_PT, TPM_TAG } from '../constants.js';
import { MAX_DATA, sizedData, TpmStructVer } from './base.js';
import { eitherVersion } from './either.js';
import { TpmPcrInfo, TpmPcrInfoLong } from './pcr.js';

/** Sealed data in the form of TPM 1.1. TPM 1.2 Part 2, clause 9.1. */
export const TpmStoredData = struct('TPM_STORED_DATA', {
  ver: TpmStructVer,
  sealInfo: optionalSized('TPM_PCR_INFO', u32, TpmPcrInfo),
  encData: sizedData('TPM_STORED_DATA', 1024),
});
/** The value type of {@link TpmStoredData}. */
export type TpmStoredData = Infer<typeof TpmStoredData>;

/** Sealed data in the form of TPM 1.2, bound to localities too. TPM 1.2 Part 2, clause 9.2. */
export const TpmStoredData12 = struct('TPM_STORED_DATA12', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.STORED_DATA12),
  et: u16,
  sealInfo: optionalSized('TPM_PCR_INFO_LONG', u32, TpmPcrInfoLong),
  encData: sizedData('TPM_STORED_DATA12', 1024),
});
/** The value type of {@link TpmStoredData12}. */
export type TpmStoredData12 = Infer<typeof TpmStoredData12>;

/** {@link TpmStoredData} or {@link TpmStoredData12}; one with a `tag` is the latter. */
export const TpmAnyStoredData = eitherVersion('TPM_STORED_DATA', TpmStoredData, TPM_TAG.STORED_DATA12, TpmStoredData12);
/** The value type of {@link TpmAnyStoredData}. */
export type TpmAnyStoredData = Infer<typeof TpmAnyStoredData>;

/** What is encrypted to a binding key. TPM 1.2 Part 2, clause 9.5. */
export const TpmBoundData = struct('TPM_BOUND_DATA', {
  ver: TpmStructVer,
  payload: constant('TPM_PAYLOAD_TYPE', u8, TPM_PT.BIND),
  payloadData: rest('TPM_BOUND_DATA', MAX_DATA),
});
/** The value type of {@link TpmBoundData}. */
export type TpmBoundData = Infer<typeof TpmBoundData>;
