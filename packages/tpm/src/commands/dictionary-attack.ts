/** Dictionary attack protection. TPM 2.0 Part 3, clause 25. */
import { u32 } from '@casemate/wire';
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiRhLockout } from '../structures/handles.js';

/** Sets the count of wrong authorisations back and ends lockout. TPM 2.0 Part 3, tables 180 and 181. */
export const DictionaryAttackLockReset = specified(
  'TPM2_DictionaryAttackLockReset',
  TPM_CC.DictionaryAttackLockReset,
  () => ({
    effects: { nv: true },
    handles: [user('lockHandle', TpmiRhLockout)],
  }),
);

/**
 * Sets how many wrong authorisations are allowed and how fast they are forgotten; times in seconds. TPM 2.0 Part 3,
 * tables 182 and 183.
 */
export const DictionaryAttackParameters = specified(
  'TPM2_DictionaryAttackParameters',
  TPM_CC.DictionaryAttackParameters,
  () => ({
    effects: { nv: true },
    handles: [user('lockHandle', TpmiRhLockout)],
    parameters: { newMaxTries: u32, newRecoveryTime: u32, lockoutRecovery: u32 },
  }),
);
