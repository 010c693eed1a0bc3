/** Miscellaneous management. TPM 2.0 Part 3, clause 26. */
import { u32 } from '@casemate/wire';
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiRhPlatform } from '../structures/handles.js';
import { TpmlCc } from '../structures/lists.js';

/** Chooses the commands that need physical presence. TPM 2.0 Part 3, tables 184 and 185. */
export const PpCommands = specified('TPM2_PP_Commands', TPM_CC.PP_Commands, () => ({
  effects: { nv: true },
  handles: [user('auth', TpmiRhPlatform)],
  parameters: { setList: TpmlCc, clearList: TpmlCc },
}));

/** Chooses a set of algorithms, by a number of the vendor's own. TPM 2.0 Part 3, tables 186 and 187. */
export const SetAlgorithmSet = specified('TPM2_SetAlgorithmSet', TPM_CC.SetAlgorithmSet, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhPlatform)],
  parameters: { algorithmSet: u32 },
}));
