/** Integrity collection: PCRs. TPM 2.0 Part 3, clause 22. */
import { u32 } from '@casemate/wire';
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiAlgHashOrNull } from '../structures/algorithms.js';
import { Tpm2bDigest, Tpm2bEvent } from '../structures/digests.js';
import { TpmiDhPcr, TpmiDhPcrOrNull, TpmiRhPlatform, TpmiYesNo } from '../structures/handles.js';
import { TpmlDigest, TpmlDigestValues, TpmlPcrSelection } from '../structures/lists.js';

/** Extends a PCR with one digest for each bank. TPM 2.0 Part 3, tables 110 and 111. */
export const PcrExtend = specified('TPM2_PCR_Extend', TPM_CC.PCR_Extend, () => ({
  effects: { nv: true },
  handles: [user('pcrHandle', TpmiDhPcrOrNull)],
  parameters: { digests: TpmlDigestValues },
}));

/** Hashes an event for each bank, extends a PCR and returns the digests. TPM 2.0 Part 3, tables 112 and 113. */
export const PcrEvent = specified('TPM2_PCR_Event', TPM_CC.PCR_Event, () => ({
  effects: { nv: true },
  handles: [user('pcrHandle', TpmiDhPcrOrNull)],
  parameters: { eventData: Tpm2bEvent },
  response: { digests: TpmlDigestValues },
}));

/** Reads PCRs, as many of the selected as fit into one response. TPM 2.0 Part 3, tables 114 and 115. */
export const PcrRead = specified('TPM2_PCR_Read', TPM_CC.PCR_Read, () => ({
  parameters: { pcrSelectionIn: TpmlPcrSelection },
  response: { pcrUpdateCounter: u32, pcrSelectionOut: TpmlPcrSelection, pcrValues: TpmlDigest },
}));

/** Chooses the banks and PCRs that there are from the next reset. TPM 2.0 Part 3, tables 116 and 117. */
export const PcrAllocate = specified('TPM2_PCR_Allocate', TPM_CC.PCR_Allocate, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhPlatform)],
  parameters: { pcrAllocation: TpmlPcrSelection },
  response: { allocationSuccess: TpmiYesNo, maxPCR: u32, sizeNeeded: u32, sizeAvailable: u32 },
}));

/** Gives a group of PCRs a policy. TPM 2.0 Part 3, tables 118 and 119. */
export const PcrSetAuthPolicy = specified('TPM2_PCR_SetAuthPolicy', TPM_CC.PCR_SetAuthPolicy, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhPlatform)],
  parameters: { authPolicy: Tpm2bDigest, hashAlg: TpmiAlgHashOrNull, pcrNum: TpmiDhPcr },
}));

/** Gives a group of PCRs an authorisation value. TPM 2.0 Part 3, tables 120 and 121. */
export const PcrSetAuthValue = specified('TPM2_PCR_SetAuthValue', TPM_CC.PCR_SetAuthValue, () => ({
  handles: [user('pcrHandle', TpmiDhPcr)],
  parameters: { auth: Tpm2bDigest },
}));

/** Sets a PCR back to its initial value, where locality allows. TPM 2.0 Part 3, tables 122 and 123. */
export const PcrReset = specified('TPM2_PCR_Reset', TPM_CC.PCR_Reset, () => ({
  effects: { nv: true },
  handles: [user('pcrHandle', TpmiDhPcr)],
}));
