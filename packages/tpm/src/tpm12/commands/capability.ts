/** Capabilities. TPM 1.2 Main Part 3, clause 7. */
import { u32 } from '@casemate/wire';
import { command12 } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData } from '../structures/base.js';

/** What the TPM is and has; the areas are `TPM_CAP`. TPM 1.2 Part 3, clause 7.1. */
export const GetCapability = command12({
  name: 'TPM_GetCapability',
  ordinal: TPM_ORD.GetCapability,
  parameters: { capArea: u32, subCap: sizedData('subCap', 64) },
  response: { resp: sizedData('resp') },
});
