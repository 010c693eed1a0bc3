/** The authorisations that follow the parameters of commands and responses. TPM 1.2 Main Part 1, clause 13.2. */
import { type Infer, struct, u32 } from '@casemate/wire';
import { TpmAuthdata, TpmBool, TpmNonce } from './base.js';

/** An authorisation of a command, 45 bytes. TPM 1.2 Part 1, clause 13.2. */
export const AuthCommand12 = struct('authorization', {
  authHandle: u32,
  nonceOdd: TpmNonce,
  continueAuthSession: TpmBool,
  hmac: TpmAuthdata,
});
/** The value type of {@link AuthCommand12}. */
export type AuthCommand12 = Infer<typeof AuthCommand12>;

/** An authorisation of a response, 41 bytes. TPM 1.2 Part 1, clause 13.2. */
export const AuthResponse12 = struct('authorization', {
  nonceEven: TpmNonce,
  continueAuthSession: TpmBool,
  hmac: TpmAuthdata,
});
/** The value type of {@link AuthResponse12}. */
export type AuthResponse12 = Infer<typeof AuthResponse12>;
