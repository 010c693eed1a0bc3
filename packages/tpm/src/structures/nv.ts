/** NV indexes. TPM 2.0 Part 2, clause 13. */
import { type Infer, sized, struct, u16, u32 } from '@casemate/wire';
import { TpmiAlgHash } from './algorithms.js';
import { TpmaNv } from './attributes.js';
import { Tpm2bDigest } from './digests.js';
import { TpmiRhNvIndex } from './handles.js';

/** The contents of a PIN index: tries used and allowed. TPM 2.0 Part 2, table 214. */
export const TpmsNvPinCounterParameters = struct('TPMS_NV_PIN_COUNTER_PARAMETERS', { pinCount: u32, pinLimit: u32 });
/** The value type of {@link TpmsNvPinCounterParameters}. */
export type TpmsNvPinCounterParameters = Infer<typeof TpmsNvPinCounterParameters>;

/** The public area of an NV index; `dataSize` in bytes. TPM 2.0 Part 2, table 216. */
export const TpmsNvPublic = struct('TPMS_NV_PUBLIC', {
  nvIndex: TpmiRhNvIndex,
  nameAlg: TpmiAlgHash,
  attributes: TpmaNv,
  authPolicy: Tpm2bDigest,
  dataSize: u16,
});
/** The value type of {@link TpmsNvPublic}. */
export type TpmsNvPublic = Infer<typeof TpmsNvPublic>;

/** {@link TpmsNvPublic} behind its size. TPM 2.0 Part 2, table 217. */
export const Tpm2bNvPublic = sized('TPM2B_NV_PUBLIC', u16, TpmsNvPublic);
/** The value type of {@link Tpm2bNvPublic}. */
export type Tpm2bNvPublic = Infer<typeof Tpm2bNvPublic>;
