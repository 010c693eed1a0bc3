/** Authenticated countdown timers. TPM 2.0 Part 3, clause 33. */
import { u32 } from '@casemate/wire';
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiRhAct } from '../structures/handles.js';

/** Sets an authenticated countdown timer, in seconds. TPM 2.0 Part 3, tables 246 and 247. */
export const ActSetTimeout = specified('TPM2_ACT_SetTimeout', TPM_CC.ACT_SetTimeout, () => ({
  handles: [user('actHandle', TpmiRhAct)],
  parameters: { startTimeout: u32 },
}));
