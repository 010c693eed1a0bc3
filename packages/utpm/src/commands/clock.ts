/** Clocks and timers: Part 3, clause 29. */
import { ClockRateAdjust, ClockSet, ReadClock, TPM_CLOCK_ADJUST, TPM_RC } from '@casemate/tpm';
import { clockInfo } from '../attest.js';
import { adjustClockRate, clockOf, setClock, timeOf } from '../clock.js';
import { handler } from '../handler.js';
import { refuseParameter } from '../refusal.js';

// Part 3, 29.3.1: Clock may not be set so far that it could run over.
const MAX_CLOCK = 0xffff_0000_0000_0000n;

/** TPM2_ReadClock (29.1). */
export const readClock = /* @__PURE__ */ handler(ReadClock, (tpm) => ({
  currentTime: { time: timeOf(tpm), clockInfo: clockInfo(tpm) },
}));

/** TPM2_ClockSet (29.2): forward only. */
export const clockSet = /* @__PURE__ */ handler(ClockSet, (tpm, { newTime }) => {
  if (newTime > MAX_CLOCK || newTime < clockOf(tpm)) refuseParameter(TPM_RC.VALUE, 1);
  setClock(tpm, newTime);
  return {};
});

const STEPS: Readonly<Record<number, number>> = {
  [TPM_CLOCK_ADJUST.COARSE_SLOWER]: 300,
  [TPM_CLOCK_ADJUST.MEDIUM_SLOWER]: 30,
  [TPM_CLOCK_ADJUST.FINE_SLOWER]: 1,
  [TPM_CLOCK_ADJUST.NO_CHANGE]: 0,
  [TPM_CLOCK_ADJUST.FINE_FASTER]: -1,
  [TPM_CLOCK_ADJUST.MEDIUM_FASTER]: -30,
  [TPM_CLOCK_ADJUST.COARSE_FASTER]: -300,
};

/** TPM2_ClockRateAdjust (29.3): steps of 1, 0.1 and 0.003 percent, up to a sixth; the rate lasts until the TPM is powered off. */
export const clockRateAdjust = /* @__PURE__ */ handler(ClockRateAdjust, (tpm, { rateAdjust }) => {
  adjustClockRate(tpm, STEPS[rateAdjust] ?? 0);
  return {};
});
