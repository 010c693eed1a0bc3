/** What TPM2_GetCapability answers. TPM 2.0 Part 2, clause 10.10. */
import { type Infer, rest, struct, union } from '@casemate/wire';
import { TPM_CAP } from '../constants/capabilities.js';
import { TpmCap } from './constants.js';
import { LIMITS } from './limits.js';
import {
  TpmlActData,
  TpmlAlgProperty,
  TpmlCc,
  TpmlCca,
  TpmlEccCurve,
  TpmlHandle,
  TpmlPcrSelection,
  TpmlTaggedPcrProperty,
  TpmlTaggedPolicy,
  TpmlTaggedTpmProperty,
} from './lists.js';

/** The list of each capability group. TPM 2.0 Part 2, table 119. */
export const TpmuCapabilities = {
  [TPM_CAP.ALGS]: TpmlAlgProperty,
  [TPM_CAP.HANDLES]: TpmlHandle,
  [TPM_CAP.COMMANDS]: TpmlCca,
  [TPM_CAP.PP_COMMANDS]: TpmlCc,
  [TPM_CAP.AUDIT_COMMANDS]: TpmlCc,
  [TPM_CAP.PCRS]: TpmlPcrSelection,
  [TPM_CAP.TPM_PROPERTIES]: TpmlTaggedTpmProperty,
  [TPM_CAP.PCR_PROPERTIES]: TpmlTaggedPcrProperty,
  [TPM_CAP.ECC_CURVES]: TpmlEccCurve,
  [TPM_CAP.AUTH_POLICIES]: TpmlTaggedPolicy,
  [TPM_CAP.ACT]: TpmlActData,
} as const;

/**
 * A capability group with its list; for `TPM_CAP.VENDOR_PROPERTY` the bytes up to the end of the response, whose form is the vendor's own.
 * TPM 2.0 Part 2, table 120.
 */
export const TpmsCapabilityData = struct('TPMS_CAPABILITY_DATA', {
  capability: TpmCap,
  data: union('capability', {
    ...TpmuCapabilities,
    [TPM_CAP.VENDOR_PROPERTY]: rest('vendorProperty', LIMITS.MAX_COMMAND_SIZE),
  }),
});
/** The value type of {@link TpmsCapabilityData}. */
export type TpmsCapabilityData = Infer<typeof TpmsCapabilityData>;
