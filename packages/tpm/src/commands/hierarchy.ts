/** Hierarchies. TPM 2.0 Part 3, clause 24. */
import { returned, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiAlgHashOrNull } from '../structures/algorithms.js';
import { TpmHandle } from '../structures/constants.js';
import { Tpm2bCreationData } from '../structures/creation.js';
import { Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bName } from '../structures/digests.js';
import {
  TpmiRhClear,
  TpmiRhEnables,
  TpmiRhHierarchy,
  TpmiRhHierarchyAuth,
  TpmiRhHierarchyOrNull,
  TpmiRhHierarchyPolicy,
  TpmiRhPlatform,
  TpmiYesNo,
} from '../structures/handles.js';
import { TpmlPcrSelection } from '../structures/lists.js';
import { Tpm2bPublic } from '../structures/public.js';
import { Tpm2bSensitiveCreate } from '../structures/symmetric.js';
import { TpmtTkCreation } from '../structures/tickets.js';

/** Creates an object from the seed of a hierarchy and loads it. TPM 2.0 Part 3, tables 164 and 165. */
export const CreatePrimary = specified('TPM2_CreatePrimary', TPM_CC.CreatePrimary, () => ({
  handles: [user('primaryHandle', TpmiRhHierarchyOrNull)],
  parameters: {
    inSensitive: Tpm2bSensitiveCreate,
    inPublic: Tpm2bPublic,
    outsideInfo: Tpm2bData,
    creationPCR: TpmlPcrSelection,
  },
  responseHandles: [returned('objectHandle', TpmHandle)],
  response: {
    outPublic: Tpm2bPublic,
    creationData: Tpm2bCreationData,
    creationHash: Tpm2bDigest,
    creationTicket: TpmtTkCreation,
    name: Tpm2bName,
  },
}));

/** Enables or disables a hierarchy. TPM 2.0 Part 3, tables 166 and 167. */
export const HierarchyControl = specified('TPM2_HierarchyControl', TPM_CC.HierarchyControl, () => ({
  effects: { nv: true, extensive: true },
  handles: [user('authHandle', TpmiRhHierarchy)],
  parameters: { enable: TpmiRhEnables, state: TpmiYesNo },
}));

/** Gives a hierarchy a policy. TPM 2.0 Part 3, tables 168 and 169. */
export const SetPrimaryPolicy = specified('TPM2_SetPrimaryPolicy', TPM_CC.SetPrimaryPolicy, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhHierarchyPolicy)],
  parameters: { authPolicy: Tpm2bDigest, hashAlg: TpmiAlgHashOrNull },
}));

/** Replaces the seed of the platform hierarchy. TPM 2.0 Part 3, tables 170 and 171. */
export const ChangePps = specified('TPM2_ChangePPS', TPM_CC.ChangePPS, () => ({
  effects: { nv: true, extensive: true },
  handles: [user('authHandle', TpmiRhPlatform)],
}));

/** Replaces the seed of the endorsement hierarchy. TPM 2.0 Part 3, tables 172 and 173. */
export const ChangeEps = specified('TPM2_ChangeEPS', TPM_CC.ChangeEPS, () => ({
  effects: { nv: true, extensive: true },
  handles: [user('authHandle', TpmiRhPlatform)],
}));

/** Removes all that belongs to the owner. TPM 2.0 Part 3, tables 174 and 175. */
export const Clear = specified('TPM2_Clear', TPM_CC.Clear, () => ({
  effects: { nv: true, extensive: true },
  handles: [user('authHandle', TpmiRhClear)],
}));

/** Allows or forbids {@link Clear}. TPM 2.0 Part 3, tables 176 and 177. */
export const ClearControl = specified('TPM2_ClearControl', TPM_CC.ClearControl, () => ({
  effects: { nv: true },
  handles: [user('auth', TpmiRhClear)],
  parameters: { disable: TpmiYesNo },
}));

/** Gives a hierarchy or the lockout another authorisation value. TPM 2.0 Part 3, tables 178 and 179. */
export const HierarchyChangeAuth = specified('TPM2_HierarchyChangeAuth', TPM_CC.HierarchyChangeAuth, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhHierarchyAuth)],
  parameters: { newAuth: Tpm2bAuth },
}));
