/** One authorisation in a command and in a response. TPM 2.0 Part 2, clause 10.13. */
import { type Infer, struct } from '@casemate/wire';
import { TpmaSession } from './attributes.js';
import { Tpm2bAuth, Tpm2bNonce } from './digests.js';
import { TpmiShAuthSessionOrPassword } from './handles.js';

/**
 * An authorisation as a command carries it; for a password, `sessionHandle` is TPM_RS_PW and `hmac` the password. TPM
 * 2.0 Part 2, table 135.
 */
export const TpmsAuthCommand = struct('TPMS_AUTH_COMMAND', {
  sessionHandle: TpmiShAuthSessionOrPassword,
  nonce: Tpm2bNonce,
  sessionAttributes: TpmaSession,
  hmac: Tpm2bAuth,
});
/** The value type of {@link TpmsAuthCommand}. */
export type TpmsAuthCommand = Infer<typeof TpmsAuthCommand>;

/** An authorisation as a response carries it. TPM 2.0 Part 2, table 136. */
export const TpmsAuthResponse = struct('TPMS_AUTH_RESPONSE', {
  nonce: Tpm2bNonce,
  sessionAttributes: TpmaSession,
  hmac: Tpm2bAuth,
});
/** The value type of {@link TpmsAuthResponse}. */
export type TpmsAuthResponse = Infer<typeof TpmsAuthResponse>;
