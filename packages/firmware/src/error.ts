/** The one error of this package. */
import { WireError } from '@casemate/wire';

/**
 * Why a firmware structure was refused.
 *
 * - `malformed`: the bytes are not what the specification describes; `cause` holds the codec's error with path and offset
 * - `unsupported`: well formed, but of a kind that this package does not handle
 * - `inconsistent`: well formed, but in contradiction with itself (a locality event after the first measurement)
 * - `bad-input`: a value given for encoding does not fit the format
 */
export type FirmwareErrorCode = 'malformed' | 'unsupported' | 'inconsistent' | 'bad-input';

/** Thrown by every function of this package; switch on `code`. */
export class FirmwareError extends Error {
  /** Always `FirmwareError`. */
  override readonly name = 'FirmwareError';
  /** What went wrong, as a word of a closed list. */
  readonly code: FirmwareErrorCode;

  /** `message` says verb, object, expected, got. */
  constructor(code: FirmwareErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Runs `run` and turns a codec's error into one of this package; `what` is verb and object. */
export function refusing<T>(code: FirmwareErrorCode, what: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new FirmwareError(code, `${what}: ${cause.message}`, { cause });
  }
}
