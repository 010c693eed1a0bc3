/** Data of attached components. TPM 2.0 Part 2, clause 16. */
import { array, type Infer, struct, u32 } from '@casemate/wire';
import { TpmAt } from './constants.js';
import { LIMITS } from './limits.js';

/** One answer of an attached component. TPM 2.0 Part 2, table 227. */
export const TpmsAcOutput = struct('TPMS_AC_OUTPUT', { tag: TpmAt, data: u32 });
/** The value type of {@link TpmsAcOutput}. */
export type TpmsAcOutput = Infer<typeof TpmsAcOutput>;

/** What an attached component can do. TPM 2.0 Part 2, table 228. */
export const TpmlAcCapabilities = array('TPML_AC_CAPABILITIES', u32, TpmsAcOutput, {
  max: LIMITS.MAX_AC_CAPABILITIES,
});
/** The value type of {@link TpmlAcCapabilities}. */
export type TpmlAcCapabilities = Infer<typeof TpmlAcCapabilities>;
