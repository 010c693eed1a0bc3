/** Asymmetric primitives. TPM 2.0 Part 3, clause 14. */
import { u16 } from '@casemate/wire';
import { plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiEccCurve, TpmiEccKeyExchange } from '../structures/algorithms.js';
import {
  Tpm2bEccPoint,
  Tpm2bPublicKeyRsa,
  TpmsAlgorithmDetailEcc,
  TpmtKdfSchemeOrNull,
  TpmtRsaDecryptOrNull,
} from '../structures/asymmetric.js';
import { Tpm2bData, Tpm2bDigest, Tpm2bMaxBuffer } from '../structures/digests.js';
import { TpmiDhObject } from '../structures/handles.js';

/** Encrypts with an RSA public key. TPM 2.0 Part 3, tables 45 and 46. */
export const RsaEncrypt = specified('TPM2_RSA_Encrypt', TPM_CC.RSA_Encrypt, () => ({
  handles: [plain('keyHandle', TpmiDhObject)],
  parameters: { message: Tpm2bPublicKeyRsa, inScheme: TpmtRsaDecryptOrNull, label: Tpm2bData },
  response: { outData: Tpm2bPublicKeyRsa },
}));

/** Decrypts with an RSA private key. TPM 2.0 Part 3, tables 47 and 48. */
export const RsaDecrypt = specified('TPM2_RSA_Decrypt', TPM_CC.RSA_Decrypt, () => ({
  handles: [user('keyHandle', TpmiDhObject)],
  parameters: { cipherText: Tpm2bPublicKeyRsa, inScheme: TpmtRsaDecryptOrNull, label: Tpm2bData },
  response: { message: Tpm2bPublicKeyRsa },
}));

/** Makes an ephemeral key and the secret that it shares with a public key. TPM 2.0 Part 3, tables 49 and 50. */
export const EcdhKeyGen = specified('TPM2_ECDH_KeyGen', TPM_CC.ECDH_KeyGen, () => ({
  handles: [plain('keyHandle', TpmiDhObject)],
  response: { zPoint: Tpm2bEccPoint, pubPoint: Tpm2bEccPoint },
}));

/** Computes the secret that a private key shares with a point. TPM 2.0 Part 3, tables 51 and 52. */
export const EcdhZGen = specified('TPM2_ECDH_ZGen', TPM_CC.ECDH_ZGen, () => ({
  handles: [user('keyHandle', TpmiDhObject)],
  parameters: { inPoint: Tpm2bEccPoint },
  response: { outPoint: Tpm2bEccPoint },
}));

/** Returns the numbers that define a curve. TPM 2.0 Part 3, tables 53 and 54. */
export const EccParameters = specified('TPM2_ECC_Parameters', TPM_CC.ECC_Parameters, () => ({
  parameters: { curveID: TpmiEccCurve },
  response: { parameters: TpmsAlgorithmDetailEcc },
}));

/** Completes a key exchange in two phases, begun with {@link EcEphemeral}. TPM 2.0 Part 3, tables 55 and 56. */
export const ZGen2Phase = specified('TPM2_ZGen_2Phase', TPM_CC.ZGen_2Phase, () => ({
  handles: [user('keyA', TpmiDhObject)],
  parameters: { inQsB: Tpm2bEccPoint, inQeB: Tpm2bEccPoint, inScheme: TpmiEccKeyExchange, counter: u16 },
  response: { outZ1: Tpm2bEccPoint, outZ2: Tpm2bEccPoint },
}));

/** Encrypts with an ECC public key. TPM 2.0 Part 3, tables 57 and 58. */
export const EccEncrypt = specified('TPM2_ECC_Encrypt', TPM_CC.ECC_Encrypt, () => ({
  handles: [plain('keyHandle', TpmiDhObject)],
  parameters: { plainText: Tpm2bMaxBuffer, inScheme: TpmtKdfSchemeOrNull },
  response: { C1: Tpm2bEccPoint, C2: Tpm2bMaxBuffer, C3: Tpm2bDigest },
}));

/** Decrypts with an ECC private key. TPM 2.0 Part 3, tables 59 and 60. */
export const EccDecrypt = specified('TPM2_ECC_Decrypt', TPM_CC.ECC_Decrypt, () => ({
  handles: [user('keyHandle', TpmiDhObject)],
  parameters: { C1: Tpm2bEccPoint, C2: Tpm2bMaxBuffer, C3: Tpm2bDigest, inScheme: TpmtKdfSchemeOrNull },
  response: { plainText: Tpm2bMaxBuffer },
}));
