/** Time and Clock: Part 1, clause 36. */
import { IMPLEMENTATION } from './implementation.js';
import { ORDERLY } from './permanent.js';
import { markDirty, type Tpm } from './tpm.js';

/** What a rate is told against, and how far it may be off: the numbers of libtpms, so that the steps are of its size. */
export const RATE = { nominal: 30_000, limit: 5000 } as const;

/** Milliseconds since the TPM was powered on, by its own clock. */
export function timeOf(tpm: Tpm): bigint {
  const { poweredOn, clockRate = RATE.nominal } = tpm.volatile;
  return BigInt(Math.floor(((tpm.now() - poweredOn) * RATE.nominal) / clockRate));
}

/** Makes the clock slower by `step` of 30000, or faster where it is negative; Time goes on from where it is. */
export function adjustClockRate(tpm: Tpm, step: number): void {
  const elapsed = Number(timeOf(tpm));
  const wanted = (tpm.volatile.clockRate ?? RATE.nominal) + step;
  const clockRate = Math.min(RATE.nominal + RATE.limit, Math.max(RATE.nominal - RATE.limit, wanted));
  tpm.volatile.clockRate = clockRate;
  tpm.volatile.poweredOn = tpm.now() - (elapsed * clockRate) / RATE.nominal;
}

/** Milliseconds that the TPM has been powered in its life, as far as it knows. */
export function clockOf(tpm: Tpm): bigint {
  return BigInt.asUintN(64, timeOf(tpm) + tpm.volatile.clockOffset);
}

/**
 * Clock for a command that tells it or depends on it. What was told must not be told again after a crash, so permanent state keeps up:
 * within one update interval, which a start after a crash then skips. Crossing into a new interval also makes Clock safe again. After a
 * TPM2_Shutdown the next start skips nothing, so that all that is told then is kept.
 */
export function useClock(tpm: Tpm): { readonly clock: bigint; readonly safe: boolean } {
  const clock = clockOf(tpm);
  if (clock / IMPLEMENTATION.CLOCK_UPDATE !== tpm.permanent.clock / IMPLEMENTATION.CLOCK_UPDATE) {
    tpm.volatile.isClockSafe = true;
    storeClock(tpm, clock);
  } else if (isShutDown(tpm) && clock !== tpm.permanent.clock) storeClock(tpm, clock);
  return { clock, safe: tpm.volatile.isClockSafe };
}

/** Writes Clock to permanent state. */
export function storeClock(tpm: Tpm, clock: bigint): void {
  tpm.permanent.clock = clock;
  tpm.permanent.isClockSafe = tpm.volatile.isClockSafe;
  markDirty(tpm);
}

/** Sets Clock to a later time (TPM2_ClockSet). */
export function setClock(tpm: Tpm, clock: bigint): void {
  tpm.volatile.clockOffset = BigInt.asUintN(64, clock - timeOf(tpm));
  storeClock(tpm, clock);
}

/** Has TPM2_Shutdown run, and nothing since that a shutdown would have to keep? */
export function isShutDown({ permanent: { orderly } }: Tpm): boolean {
  return orderly === ORDERLY.CLEAR || orderly === ORDERLY.STATE;
}

/** Clock at power-on: as it was stored, or after a crash at the end of the interval that was begun, and then not safe. */
export function startClock(tpm: Tpm): void {
  const { clock } = tpm.permanent;
  const isOrderly = isShutDown(tpm);
  const start = isOrderly ? clock : clock | (IMPLEMENTATION.CLOCK_UPDATE - 1n);
  tpm.volatile.clockOffset = start;
  tpm.volatile.isClockSafe = isOrderly ? tpm.permanent.isClockSafe : false;
}
