/** Objects. TPM 2.0 Part 3, clause 12. */
import { admin, plain, returned, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmHandle } from '../structures/constants.js';
import { Tpm2bCreationData } from '../structures/creation.js';
import { Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bName } from '../structures/digests.js';
import { TpmiDhObject, TpmiDhParentOrNull, TpmiRhHierarchyOrNull } from '../structures/handles.js';
import { TpmlPcrSelection } from '../structures/lists.js';
import { Tpm2bIdObject, Tpm2bPrivate, Tpm2bSensitive } from '../structures/private.js';
import { Tpm2bPublic, Tpm2bPublicOrNull, Tpm2bTemplate } from '../structures/public.js';
import { Tpm2bEncryptedSecret } from '../structures/signatures.js';
import { Tpm2bSensitiveCreate, Tpm2bSensitiveData } from '../structures/symmetric.js';
import { TpmtTkCreation } from '../structures/tickets.js';

/** Creates an object under a parent, without loading it. TPM 2.0 Part 3, tables 19 and 20. */
export const Create = specified('TPM2_Create', TPM_CC.Create, () => ({
  handles: [user('parentHandle', TpmiDhObject)],
  parameters: {
    inSensitive: Tpm2bSensitiveCreate,
    inPublic: Tpm2bPublic,
    outsideInfo: Tpm2bData,
    creationPCR: TpmlPcrSelection,
  },
  response: {
    outPrivate: Tpm2bPrivate,
    outPublic: Tpm2bPublic,
    creationData: Tpm2bCreationData,
    creationHash: Tpm2bDigest,
    creationTicket: TpmtTkCreation,
  },
}));

/** Loads an object under the parent that wraps it. TPM 2.0 Part 3, tables 21 and 22. */
export const Load = specified('TPM2_Load', TPM_CC.Load, () => ({
  handles: [user('parentHandle', TpmiDhObject)],
  parameters: { inPrivate: Tpm2bPrivate, inPublic: Tpm2bPublic },
  responseHandles: [returned('objectHandle', TpmHandle)],
  response: { name: Tpm2bName },
}));

/**
 * Loads an object that no parent wraps: a public key alone, or both areas in plain. TPM 2.0 Part 3, tables 23 and 24.
 */
export const LoadExternal = specified('TPM2_LoadExternal', TPM_CC.LoadExternal, () => ({
  parameters: { inPrivate: Tpm2bSensitive, inPublic: Tpm2bPublicOrNull, hierarchy: TpmiRhHierarchyOrNull },
  responseHandles: [returned('objectHandle', TpmHandle)],
  response: { name: Tpm2bName },
}));

/** Reads the public area and names of a loaded object. TPM 2.0 Part 3, tables 25 and 26. */
export const ReadPublic = specified('TPM2_ReadPublic', TPM_CC.ReadPublic, () => ({
  handles: [plain('objectHandle', TpmiDhObject)],
  response: { outPublic: Tpm2bPublicOrNull, name: Tpm2bName, qualifiedName: Tpm2bName },
}));

/** Recovers a credential that was made for a loaded object. TPM 2.0 Part 3, tables 27 and 28. */
export const ActivateCredential = specified('TPM2_ActivateCredential', TPM_CC.ActivateCredential, () => ({
  handles: [admin('activateHandle', TpmiDhObject), user('keyHandle', TpmiDhObject)],
  parameters: { credentialBlob: Tpm2bIdObject, secret: Tpm2bEncryptedSecret },
  response: { certInfo: Tpm2bDigest },
}));

/**
 * Encrypts a credential so that only the TPM with a certain key and object recovers it. TPM 2.0 Part 3, tables 29 and
 * 30.
 */
export const MakeCredential = specified('TPM2_MakeCredential', TPM_CC.MakeCredential, () => ({
  handles: [plain('handle', TpmiDhObject)],
  parameters: { credential: Tpm2bDigest, objectName: Tpm2bName },
  response: { credentialBlob: Tpm2bIdObject, secret: Tpm2bEncryptedSecret },
}));

/** Returns the data of a sealed object. TPM 2.0 Part 3, tables 31 and 32. */
export const Unseal = specified('TPM2_Unseal', TPM_CC.Unseal, () => ({
  handles: [user('itemHandle', TpmiDhObject)],
  response: { outData: Tpm2bSensitiveData },
}));

/** Wraps an object anew with another authorisation value. TPM 2.0 Part 3, tables 33 and 34. */
export const ObjectChangeAuth = specified('TPM2_ObjectChangeAuth', TPM_CC.ObjectChangeAuth, () => ({
  handles: [admin('objectHandle', TpmiDhObject), plain('parentHandle', TpmiDhObject)],
  parameters: { newAuth: Tpm2bAuth },
  response: { outPrivate: Tpm2bPrivate },
}));

/** Creates a primary, ordinary or derived object and loads it. TPM 2.0 Part 3, tables 35 and 36. */
export const CreateLoaded = specified('TPM2_CreateLoaded', TPM_CC.CreateLoaded, () => ({
  handles: [user('parentHandle', TpmiDhParentOrNull)],
  parameters: { inSensitive: Tpm2bSensitiveCreate, inPublic: Tpm2bTemplate },
  responseHandles: [returned('objectHandle', TpmHandle)],
  response: { outPrivate: Tpm2bPrivate, outPublic: Tpm2bPublic, name: Tpm2bName },
}));
