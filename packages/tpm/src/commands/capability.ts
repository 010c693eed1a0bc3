/** Capabilities. TPM 2.0 Part 3, clause 30. */
import { u32 } from '@casemate/wire';
import { specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmsCapabilityData } from '../structures/capabilities.js';
import { TpmCap } from '../structures/constants.js';
import { TpmiYesNo } from '../structures/handles.js';
import { TpmtPublicParms } from '../structures/public.js';

/** Lists what a TPM can do and what it holds. TPM 2.0 Part 3, tables 208 and 209. */
export const GetCapability = specified('TPM2_GetCapability', TPM_CC.GetCapability, () => ({
  parameters: { capability: TpmCap, property: u32, propertyCount: u32 },
  response: { moreData: TpmiYesNo, capabilityData: TpmsCapabilityData },
}));

/** Asks whether a combination of algorithm parameters is supported. TPM 2.0 Part 3, tables 210 and 211. */
export const TestParms = specified('TPM2_TestParms', TPM_CC.TestParms, () => ({
  parameters: { parameters: TpmtPublicParms },
}));
