/** Sessions. TPM 2.0 Part 3, clause 11. */
import { plain, returned, specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiAlgHash } from '../structures/algorithms.js';
import { TpmSe } from '../structures/constants.js';
import { Tpm2bNonce } from '../structures/digests.js';
import { TpmiDhEntityOrNull, TpmiDhObjectOrNull, TpmiShAuthSession, TpmiShPolicy } from '../structures/handles.js';
import { Tpm2bEncryptedSecret } from '../structures/signatures.js';
import { TpmtSymDefOrNull } from '../structures/symmetric.js';

/** Opens an HMAC, policy or trial session, optionally salted and bound. TPM 2.0 Part 3, tables 15 and 16. */
export const StartAuthSession = specified('TPM2_StartAuthSession', TPM_CC.StartAuthSession, () => ({
  handles: [plain('tpmKey', TpmiDhObjectOrNull), plain('bind', TpmiDhEntityOrNull)],
  parameters: {
    nonceCaller: Tpm2bNonce,
    encryptedSalt: Tpm2bEncryptedSecret,
    sessionType: TpmSe,
    symmetric: TpmtSymDefOrNull,
    authHash: TpmiAlgHash,
  },
  responseHandles: [returned('sessionHandle', TpmiShAuthSession)],
  response: { nonceTPM: Tpm2bNonce },
}));

/** Sets a policy session back to its initial state. TPM 2.0 Part 3, tables 17 and 18. */
export const PolicyRestart = specified('TPM2_PolicyRestart', TPM_CC.PolicyRestart, () => ({
  handles: [plain('sessionHandle', TpmiShPolicy)],
}));
