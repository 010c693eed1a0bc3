/** Dictionary attack functions: Part 3, clause 25. */
import { DictionaryAttackLockReset, DictionaryAttackParameters } from '@casemate/tpm';
import { timeOf } from '../clock.js';
import { handler } from '../handler.js';
import { markDirty } from '../tpm.js';

/** TPM2_DictionaryAttackLockReset (25.2). */
export const dictionaryAttackLockReset = /* @__PURE__ */ handler(DictionaryAttackLockReset, (tpm) => {
  tpm.permanent.lockout = { ...tpm.permanent.lockout, failedTries: 0 };
  markDirty(tpm);
  return {};
});

/** TPM2_DictionaryAttackParameters (25.3). */
export const dictionaryAttackParameters = /* @__PURE__ */ handler(DictionaryAttackParameters, (tpm, request) => {
  const { newMaxTries: maxTries, newRecoveryTime: recoveryTime, lockoutRecovery } = request;
  tpm.permanent.lockout = { ...tpm.permanent.lockout, maxTries, recoveryTime, lockoutRecovery };
  tpm.volatile.selfHealTime = Number(timeOf(tpm));
  markDirty(tpm);
  return {};
});
