/** Attached components. TPM 2.0 Part 3, clause 32. */
import { u32 } from '@casemate/wire';
import { dup, plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmlAcCapabilities, TpmsAcOutput } from '../structures/attached-component.js';
import { TpmAt } from '../structures/constants.js';
import { Tpm2bMaxBuffer, Tpm2bName } from '../structures/digests.js';
import { TpmiDhObject, TpmiRhAc, TpmiRhNvAuth, TpmiShPolicy, TpmiYesNo } from '../structures/handles.js';

/** Lists what an attached component can do. TPM 2.0 Part 3, tables 240 and 241. */
export const AcGetCapability = specified('TPM2_AC_GetCapability', TPM_CC.AC_GetCapability, () => ({
  handles: [plain('ac', TpmiRhAc)],
  parameters: { capability: TpmAt, count: u32 },
  response: { moreData: TpmiYesNo, capabilitiesData: TpmlAcCapabilities },
}));

/** Sends an object to an attached component. TPM 2.0 Part 3, tables 242 and 243. */
export const AcSend = specified('TPM2_AC_Send', TPM_CC.AC_Send, () => ({
  handles: [dup('sendObject', TpmiDhObject), user('authHandle', TpmiRhNvAuth), plain('ac', TpmiRhAc)],
  parameters: { acDataIn: Tpm2bMaxBuffer },
  response: { acDataOut: TpmsAcOutput },
}));

/** Ties a policy to sending an object to a certain attached component. TPM 2.0 Part 3, tables 244 and 245. */
export const PolicyAcSendSelect = specified('TPM2_Policy_AC_SendSelect', TPM_CC.Policy_AC_SendSelect, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { objectName: Tpm2bName, authHandleName: Tpm2bName, acName: Tpm2bName, includeObject: TpmiYesNo },
}));
