/** Clocks and timers. TPM 2.0 Part 3, clause 29. */
import { u64 } from '@casemate/wire';
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmsTimeInfo } from '../structures/clock.js';
import { TpmClockAdjust } from '../structures/constants.js';
import { TpmiRhProvision } from '../structures/handles.js';

/** Reads time and clock. TPM 2.0 Part 3, tables 202 and 203. */
export const ReadClock = specified('TPM2_ReadClock', TPM_CC.ReadClock, () => ({
  response: { currentTime: TpmsTimeInfo },
}));

/** Sets the clock forward, in milliseconds. TPM 2.0 Part 3, tables 204 and 205. */
export const ClockSet = specified('TPM2_ClockSet', TPM_CC.ClockSet, () => ({
  effects: { nv: true },
  handles: [user('auth', TpmiRhProvision)],
  parameters: { newTime: u64 },
}));

/** Makes the clock run a little faster or slower. TPM 2.0 Part 3, tables 206 and 207. */
export const ClockRateAdjust = specified('TPM2_ClockRateAdjust', TPM_CC.ClockRateAdjust, () => ({
  handles: [user('auth', TpmiRhProvision)],
  parameters: { rateAdjust: TpmClockAdjust },
}));
