/** The one error of this package: which step refused, what it expected and what it got. */

/**
 * Why a step was refused.
 *
 * - `malformed`: bytes are not the structure that they should be
 * - `unsupported`: a well-formed structure uses an algorithm or option that this package does not handle
 * - `bad-input`: the caller's arguments contradict themselves or their types
 * - `not-allowed`: a profile, policy or issuer does not permit what was asked for
 * - `bad-signature`: a signature, MAC or credential does not verify
 * - `key-mismatch`: a private key and a certificate, or two messages of one enrolment, do not belong together
 * - `untrusted`: nothing that the caller trusts vouches for a key
 * - `replayed`: a one-time value was used before, is unknown, or is too old
 * - `exists`: something is already there and would be overwritten
 * - `conflict`: something was changed meanwhile, or is not in the state that the step starts from
 * - `not-found`: a store has no such entry
 * - `locked`: another process holds the store
 * - `wrong-passphrase`: a protected key does not open with this passphrase
 * - `key-store`: the TPM, token or file that holds a key cannot be reached, or refuses
 */
export type PkiErrorCode =
  | 'malformed'
  | 'unsupported'
  | 'bad-input'
  | 'not-allowed'
  | 'bad-signature'
  | 'key-mismatch'
  | 'untrusted'
  | 'replayed'
  | 'exists'
  | 'conflict'
  | 'not-found'
  | 'locked'
  | 'wrong-passphrase'
  | 'key-store';

/** Thrown by every function of this package that throws at all; switch on `code`, never on the text. */
export class PkiError extends Error {
  /** Always `PkiError`. */
  override readonly name = 'PkiError';
  /** Which kind of refusal this is. */
  readonly code: PkiErrorCode;

  /** `message` says verb, object, expected and got; `cause` keeps the error underneath. */
  constructor(code: PkiErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The refusal of a parser: `decode WHAT: PROBLEM`. */
export function malformed(what: string, problem: string, cause?: unknown): PkiError {
  return new PkiError('malformed', `decode ${what}: ${problem}`, cause);
}
