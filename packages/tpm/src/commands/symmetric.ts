/** Symmetric primitives. TPM 2.0 Part 3, clause 15. */
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import {
  TpmiAlgCipherModeOrNull,
  TpmiAlgHash,
  TpmiAlgHashOrNull,
  TpmiAlgMacSchemeOrNull,
} from '../structures/algorithms.js';
import { Tpm2bDigest, Tpm2bIv, Tpm2bMaxBuffer } from '../structures/digests.js';
import { TpmiDhObject, TpmiRhHierarchyOrNull, TpmiYesNo } from '../structures/handles.js';
import { TpmtTkHashcheck } from '../structures/tickets.js';

/**
 * Encrypts or decrypts with a block cipher; {@link EncryptDecrypt2} lets a session encrypt the data too. TPM 2.0 Part
 * 3, tables 58 and 59.
 */
export const EncryptDecrypt = specified('TPM2_EncryptDecrypt', TPM_CC.EncryptDecrypt, () => ({
  handles: [user('keyHandle', TpmiDhObject)],
  parameters: { decrypt: TpmiYesNo, mode: TpmiAlgCipherModeOrNull, ivIn: Tpm2bIv, inData: Tpm2bMaxBuffer },
  response: { outData: Tpm2bMaxBuffer, ivOut: Tpm2bIv },
}));

/** Encrypts or decrypts with a block cipher. TPM 2.0 Part 3, tables 60 and 61. */
export const EncryptDecrypt2 = specified('TPM2_EncryptDecrypt2', TPM_CC.EncryptDecrypt2, () => ({
  handles: [user('keyHandle', TpmiDhObject)],
  parameters: { inData: Tpm2bMaxBuffer, decrypt: TpmiYesNo, mode: TpmiAlgCipherModeOrNull, ivIn: Tpm2bIv },
  response: { outData: Tpm2bMaxBuffer, ivOut: Tpm2bIv },
}));

/** Hashes data, with a ticket where a restricted key may sign the digest. TPM 2.0 Part 3, tables 62 and 63. */
export const Hash = specified('TPM2_Hash', TPM_CC.Hash, () => ({
  parameters: { data: Tpm2bMaxBuffer, hashAlg: TpmiAlgHash, hierarchy: TpmiRhHierarchyOrNull },
  response: { outHash: Tpm2bDigest, validation: TpmtTkHashcheck },
}));

/** Computes an HMAC. TPM 2.0 Part 3, tables 64 and 65. */
export const Hmac = specified('TPM2_HMAC', TPM_CC.HMAC, () => ({
  handles: [user('handle', TpmiDhObject)],
  parameters: { buffer: Tpm2bMaxBuffer, hashAlg: TpmiAlgHashOrNull },
  response: { outHMAC: Tpm2bDigest },
}));

/**
 * Computes an HMAC or a cipher-based MAC; on a TPM without cipher-based MACs the code means {@link Hmac}. TPM 2.0 Part
 * 3, tables 66 and 67.
 */
export const Mac = specified('TPM2_MAC', TPM_CC.MAC, () => ({
  handles: [user('handle', TpmiDhObject)],
  parameters: { buffer: Tpm2bMaxBuffer, inScheme: TpmiAlgMacSchemeOrNull },
  response: { outMAC: Tpm2bDigest },
}));
