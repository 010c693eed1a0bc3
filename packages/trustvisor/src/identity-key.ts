/** A micro-TPM's identity key, as the command that makes it: Part 3, clause 24.1. A PAL's thread runs it without the TPM client. */
import { akTemplate, CreatePrimary, encodeRequest, TPM_RH, TPM_RS } from '@casemate/tpm';

const NONE = new Uint8Array(0);

/** TPM2_CreatePrimary of a restricted P-256 signing key in the endorsement hierarchy. */
export function identityKeyCommand(): Uint8Array {
  const password = { sessionHandle: TPM_RS.PW, nonce: NONE, sessionAttributes: 0, hmac: NONE };
  const sensitive = { userAuth: NONE, data: NONE };
  const parameters = {
    inSensitive: sensitive,
    inPublic: akTemplate('ecc-p256'),
    outsideInfo: NONE,
    creationPCR: [],
  };
  return encodeRequest(CreatePrimary, { handles: [TPM_RH.ENDORSEMENT], auths: [password], parameters }).slice();
}
