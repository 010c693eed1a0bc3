/** The one error of this package. */

/**
 * Why a TPM could not be opened, kept or served.
 *
 * - `state-damaged`: the stored state fails its integrity check; it is left as it is
 * - `state-version`: the stored state has a version that this package does not know
 * - `state-locked`: another opener holds the state
 * - `state-failed`: the state could not be read or written
 * - `wrong-key`: the state was encrypted with another key, or changed since
 * - `seed-mismatch`: the seeds asked for are not the seeds of the stored TPM
 * - `bad-option`: an option or a command line argument is missing or malformed
 * - `closed`: the TPM was used after it was closed
 * - `failed`: the TPM cannot answer because an earlier write of its state failed
 * - `listen-failed`: the server could not listen where it was told to
 */
export type UtpmErrorCode =
  | 'state-damaged'
  | 'state-version'
  | 'state-locked'
  | 'state-failed'
  | 'wrong-key'
  | 'seed-mismatch'
  | 'bad-option'
  | 'closed'
  | 'failed'
  | 'listen-failed';

/** Thrown by everything in this package that is not an answer of the TPM itself; those are response codes. */
export class UtpmError extends Error {
  /** Always `UtpmError`. */
  override readonly name = 'UtpmError';
  /** What went wrong, to switch on. */
  readonly code: UtpmErrorCode;

  /** `message` says verb, object, expected and got. */
  constructor(code: UtpmErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
