/** Duplication. TPM 2.0 Part 3, clause 13. */
import { dup, plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { Tpm2bData, Tpm2bName } from '../structures/digests.js';
import { TpmiDhObject, TpmiDhObjectOrNull } from '../structures/handles.js';
import { Tpm2bPrivate } from '../structures/private.js';
import { Tpm2bPublic } from '../structures/public.js';
import { Tpm2bEncryptedSecret } from '../structures/signatures.js';
import { TpmtSymDefObjectOrNull } from '../structures/symmetric.js';

/** Wraps an object for another parent, with an inner and an outer layer as wanted. TPM 2.0 Part 3, tables 37 and 38. */
export const Duplicate = specified('TPM2_Duplicate', TPM_CC.Duplicate, () => ({
  handles: [dup('objectHandle', TpmiDhObject), plain('newParentHandle', TpmiDhObjectOrNull)],
  parameters: { encryptionKeyIn: Tpm2bData, symmetricAlg: TpmtSymDefObjectOrNull },
  response: { encryptionKeyOut: Tpm2bData, duplicate: Tpm2bPrivate, outSymSeed: Tpm2bEncryptedSecret },
}));

/** Passes a duplicate on from one parent to the next without loading it. TPM 2.0 Part 3, tables 39 and 40. */
export const Rewrap = specified('TPM2_Rewrap', TPM_CC.Rewrap, () => ({
  handles: [user('oldParent', TpmiDhObjectOrNull), plain('newParent', TpmiDhObjectOrNull)],
  parameters: { inDuplicate: Tpm2bPrivate, name: Tpm2bName, inSymSeed: Tpm2bEncryptedSecret },
  response: { outDuplicate: Tpm2bPrivate, outSymSeed: Tpm2bEncryptedSecret },
}));

/** Wraps a duplicate for this parent, so that it can be loaded. TPM 2.0 Part 3, tables 41 and 42. */
export const Import = specified('TPM2_Import', TPM_CC.Import, () => ({
  handles: [user('parentHandle', TpmiDhObject)],
  parameters: {
    encryptionKey: Tpm2bData,
    objectPublic: Tpm2bPublic,
    duplicate: Tpm2bPrivate,
    inSymSeed: Tpm2bEncryptedSecret,
    symmetricAlg: TpmtSymDefObjectOrNull,
  },
  response: { outPrivate: Tpm2bPrivate },
}));
