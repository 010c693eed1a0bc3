/** Clock and time. TPM 2.0 Part 2, clause 10.11. */
import { type Infer, struct, u32, u64 } from '@casemate/wire';
import { TpmiYesNo } from './handles.js';

/** `clock` in milliseconds; `safe` says that no higher value was ever reported. TPM 2.0 Part 2, table 121. */
export const TpmsClockInfo = struct('TPMS_CLOCK_INFO', {
  clock: u64,
  resetCount: u32,
  restartCount: u32,
  safe: TpmiYesNo,
});
/** The value type of {@link TpmsClockInfo}. */
export type TpmsClockInfo = Infer<typeof TpmsClockInfo>;

/** `time` in milliseconds since the last reset. TPM 2.0 Part 2, table 122. */
export const TpmsTimeInfo = struct('TPMS_TIME_INFO', { time: u64, clockInfo: TpmsClockInfo });
/** The value type of {@link TpmsTimeInfo}. */
export type TpmsTimeInfo = Infer<typeof TpmsTimeInfo>;
