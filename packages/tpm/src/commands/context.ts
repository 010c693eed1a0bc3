/** Context management. TPM 2.0 Part 3, clause 28. */
import { plain, returned, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmsContext } from '../structures/context.js';
import { TpmiDhContext, TpmiDhObject, TpmiDhPersistent, TpmiRhProvision } from '../structures/handles.js';

/** Saves an object or session outside the TPM. TPM 2.0 Part 3, tables 194 and 195. */
export const ContextSave = specified('TPM2_ContextSave', TPM_CC.ContextSave, () => ({
  sessions: 'never',
  handles: [plain('saveHandle', TpmiDhContext)],
  response: { context: TpmsContext },
}));

/** Loads what {@link ContextSave} saved. TPM 2.0 Part 3, tables 196 and 197. */
export const ContextLoad = specified('TPM2_ContextLoad', TPM_CC.ContextLoad, () => ({
  sessions: 'never',
  parameters: { context: TpmsContext },
  responseHandles: [returned('loadedHandle', TpmiDhContext)],
}));

/** Removes a transient object or session from the TPM. TPM 2.0 Part 3, tables 198 and 199. */
export const FlushContext = specified('TPM2_FlushContext', TPM_CC.FlushContext, () => ({
  sessions: 'never',
  parameters: { flushHandle: TpmiDhContext },
}));

/** Makes a transient object persistent, or removes a persistent one. TPM 2.0 Part 3, tables 200 and 201. */
export const EvictControl = specified('TPM2_EvictControl', TPM_CC.EvictControl, () => ({
  effects: { nv: true },
  handles: [user('auth', TpmiRhProvision), plain('objectHandle', TpmiDhObject)],
  parameters: { persistentHandle: TpmiDhPersistent },
}));
