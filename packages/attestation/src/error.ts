/** The one error of this package. */

/**
 * Why a call was refused.
 *
 * - `malformed`: bytes or text are not the structure that they should be, or exceed its bounds
 * - `bad-input`: the caller's arguments contradict themselves or their types
 * - `unsupported`: the TPM has a PCR bank whose hash cannot be computed here
 * - `log-mismatch`: a measurement log does not replay to the PCR values of the TPM, with or without its last event
 * - `unsettled`: an extend failed half way, so that log and TPM may differ; open the log again before measuring more
 */
export type AttestationErrorCode = 'malformed' | 'bad-input' | 'unsupported' | 'log-mismatch' | 'unsettled';

/** Thrown by every function of this package; switch on `code`. A failed check of evidence is not an error but a result. */
export class AttestationError extends Error {
  /** Always `AttestationError`. */
  override readonly name = 'AttestationError';
  /** What went wrong, as a word of a closed list. */
  readonly code: AttestationErrorCode;

  /** `message` says verb, object, expected, got. */
  constructor(code: AttestationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
