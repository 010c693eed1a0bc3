/** Selections of PCRs. TPM 2.0 Part 2, clause 10.6. */
import { type Infer, sizedBytes, struct, u8 } from '@casemate/wire';
import { TpmiAlgHash } from './algorithms.js';
import { LIMITS } from './limits.js';

/** A bit map behind its size in one octet (`sizeofSelect`): PCR n is bit n mod 8 of byte n div 8. */
export const PcrSelect = sizedBytes('pcrSelect', u8, { min: LIMITS.PCR_SELECT_MIN, max: LIMITS.PCR_SELECT_MAX });
/** The value type of {@link PcrSelect}. */
export type PcrSelect = Infer<typeof PcrSelect>;

/** PCRs as a bit map. TPM 2.0 Part 2, table 93. */
export const TpmsPcrSelect = struct('TPMS_PCR_SELECT', { pcrSelect: PcrSelect });
/** The value type of {@link TpmsPcrSelect}. */
export type TpmsPcrSelect = Infer<typeof TpmsPcrSelect>;

/** PCRs of one bank. TPM 2.0 Part 2, table 94. */
export const TpmsPcrSelection = struct('TPMS_PCR_SELECTION', { hash: TpmiAlgHash, pcrSelect: PcrSelect });
/** The value type of {@link TpmsPcrSelection}. */
export type TpmsPcrSelection = Infer<typeof TpmsPcrSelection>;
