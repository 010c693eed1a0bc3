/** Start-up and shutdown. TPM 2.0 Part 3, clause 9. */
import { specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmSu } from '../structures/constants.js';

/**
 * Starts the TPM after a reset, from scratch or from the state that {@link Shutdown} saved. TPM 2.0 Part 3, tables 5
 * and 6.
 */
export const Startup = specified('TPM2_Startup', TPM_CC.Startup, () => ({
  sessions: 'never',
  effects: { nv: true },
  parameters: { startupType: TpmSu },
}));

/** Prepares the TPM for loss of power. TPM 2.0 Part 3, tables 7 and 8. */
export const Shutdown = specified('TPM2_Shutdown', TPM_CC.Shutdown, () => ({
  effects: { nv: true },
  parameters: { shutdownType: TpmSu },
}));
