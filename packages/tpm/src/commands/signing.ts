/** Signing and verification. TPM 2.0 Part 3, clause 20. */
import { plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmtSigSchemeOrNull } from '../structures/asymmetric.js';
import { Tpm2bDigest } from '../structures/digests.js';
import { TpmiDhObject } from '../structures/handles.js';
import { TpmtSignature } from '../structures/signatures.js';
import { TpmtTkHashcheck, TpmtTkVerified } from '../structures/tickets.js';

/** Verifies a signature and returns a ticket that says so. TPM 2.0 Part 3, tables 104 and 105. */
export const VerifySignature = specified('TPM2_VerifySignature', TPM_CC.VerifySignature, () => ({
  handles: [plain('keyHandle', TpmiDhObject)],
  parameters: { digest: Tpm2bDigest, signature: TpmtSignature },
  response: { validation: TpmtTkVerified },
}));

/** Signs a digest. TPM 2.0 Part 3, tables 106 and 107. */
export const Sign = specified('TPM2_Sign', TPM_CC.Sign, () => ({
  handles: [user('keyHandle', TpmiDhObject)],
  parameters: { digest: Tpm2bDigest, inScheme: TpmtSigSchemeOrNull, validation: TpmtTkHashcheck },
  response: { signature: TpmtSignature },
}));
