/** Protection against dictionary attacks: Part 1, clause 19.8. */
import { TPM_RC, TPM_RH } from '@casemate/tpm';
import { timeOf } from './clock.js';
import { ORDERLY } from './permanent.js';
import { refuse } from './refusal.js';
import { markDirty, type Tpm } from './tpm.js';

/** Refuses where the TPM is in lockout for `handle`; otherwise notes that a protected authorization is about to be checked. */
export function assertNotLockedOut(tpm: Tpm, handle: number): void {
  const { lockout } = tpm.permanent;
  const isLocked = handle === TPM_RH.LOCKOUT ? lockout.isAuthEnabled === 0 : isInLockout(tpm);
  if (isLocked) refuse(TPM_RC.LOCKOUT);
  // An attacker who cuts the power before a failure is stored would try for free: this mark makes the next start count it.
  if (tpm.permanent.orderly === ORDERLY.DA_USED) return;
  tpm.permanent.orderly = ORDERLY.DA_USED;
  markDirty(tpm);
}

/** Has the counter of failures reached its limit? */
export function isInLockout(tpm: Tpm): boolean {
  const { failedTries, maxTries } = tpm.permanent.lockout;
  return failedTries >= maxTries;
}

/** Counts a failed authorization of a protected entity. */
export function registerFailure(tpm: Tpm, handle: number): void {
  const { lockout } = tpm.permanent;
  if (handle === TPM_RH.LOCKOUT) {
    tpm.volatile.lockoutTime = Number(timeOf(tpm));
    tpm.permanent.lockout = { ...lockout, isAuthEnabled: 0 };
  } else {
    // A recovery time of 0 switches the protection off.
    if (lockout.recoveryTime === 0) return;
    if (lockout.failedTries === 0) tpm.volatile.selfHealTime = Number(timeOf(tpm));
    tpm.permanent.lockout = { ...lockout, failedTries: lockout.failedTries + 1 };
  }
  markDirty(tpm);
}

/** Lowers the counter for each recovery time that has passed, and allows lockoutAuth again after its own. */
export function selfHeal(tpm: Tpm): void {
  const { lockout } = tpm.permanent;
  if (lockout.failedTries > 0 && lockout.recoveryTime > 0) healTries(tpm);
  if (lockout.isAuthEnabled === 0 && lockout.lockoutRecovery > 0) healLockoutAuth(tpm);
}

function healTries(tpm: Tpm): void {
  const { lockout } = tpm.permanent;
  const interval = lockout.recoveryTime * 1000;
  const steps = Math.floor((Number(timeOf(tpm)) - tpm.volatile.selfHealTime) / interval);
  if (steps <= 0) return;
  tpm.volatile.selfHealTime += steps * interval;
  tpm.permanent.lockout = { ...lockout, failedTries: Math.max(0, lockout.failedTries - steps) };
  markDirty(tpm);
}

function healLockoutAuth(tpm: Tpm): void {
  const { lockout } = tpm.permanent;
  if (Number(timeOf(tpm)) - tpm.volatile.lockoutTime < lockout.lockoutRecovery * 1000) return;
  tpm.permanent.lockout = { ...lockout, isAuthEnabled: 1 };
  markDirty(tpm);
}

/** What TPM2_Startup does: a crash after a protected authorization counts as a failure; TPM Reset may allow lockoutAuth again. */
export function startLockout(tpm: Tpm, isReset: boolean): void {
  const { lockout, orderly } = tpm.permanent;
  const isCounted = orderly === ORDERLY.DA_USED && lockout.recoveryTime !== 0 && !isInLockout(tpm);
  const failedTries = lockout.failedTries + Number(isCounted);
  const isAuthEnabled = isReset && lockout.lockoutRecovery === 0 ? 1 : lockout.isAuthEnabled;
  tpm.permanent.lockout = { ...lockout, failedTries, isAuthEnabled };
  tpm.volatile.selfHealTime = Number(timeOf(tpm));
  tpm.volatile.lockoutTime = Number(timeOf(tpm));
}
