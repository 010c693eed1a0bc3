/** Command audit. TPM 2.0 Part 3, clause 21. */
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiAlgHashOrNull } from '../structures/algorithms.js';
import { TpmiRhProvision } from '../structures/handles.js';
import { TpmlCc } from '../structures/lists.js';

/** Chooses the hash algorithm of command audit, or which commands are audited. TPM 2.0 Part 3, tables 108 and 109. */
export const SetCommandCodeAuditStatus = specified(
  'TPM2_SetCommandCodeAuditStatus',
  TPM_CC.SetCommandCodeAuditStatus,
  () => ({
    effects: { nv: true },
    handles: [user('auth', TpmiRhProvision)],
    parameters: { auditAlg: TpmiAlgHashOrNull, setList: TpmlCc, clearList: TpmlCc },
  }),
);
