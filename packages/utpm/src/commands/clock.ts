/** Clocks and timers: Part 3, clause 29. */
import { ClockSet, ReadClock, TPM_RC } from '@casemate/tpm';
import { clockInfo } from '../attest.js';
import { clockOf, setClock, timeOf } from '../clock.js';
import { handler } from '../handler.js';
import { refuseParameter } from '../refusal.js';

// Part 3, 29.3.1: Clock may not be set so far that it could run over.
const MAX_CLOCK = 0xffff_0000_0000_0000n;

/** TPM2_ReadClock (29.1). */
export const readClock = handler(ReadClock, (tpm) => ({
  currentTime: { time: timeOf(tpm), clockInfo: clockInfo(tpm) },
}));

/** TPM2_ClockSet (29.2): forward only. */
export const clockSet = handler(ClockSet, (tpm, { newTime }) => {
  if (newTime > MAX_CLOCK || newTime < clockOf(tpm)) refuseParameter(TPM_RC.VALUE, 1);
  setClock(tpm, newTime);
  return {};
});
