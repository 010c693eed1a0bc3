/** The one error of this package, with a closed set of codes that also travels between isolate and application. */

/** Every {@link TrustvisorErrorCode}; the position is its number in the protocol. */
export const TRUSTVISOR_ERROR_CODES = [
  'refused',
  'sealed-state',
  'replay',
  'fault',
  'timeout',
  'aborted',
  'memory',
  'unsupported-engine',
  'protocol',
  'closed',
  'input',
  'store',
  'tpm',
  'busy',
] as const;

/**
 * Why Trustvisor failed.
 *
 * - `refused`: a condition of safe operation is not met (no TPM, wrong PCRs, a missing index, an image that does not load)
 * - `sealed-state`: a sealed blob is damaged or forged
 * - `replay`: the state is authentic but not the latest, or belongs to another history or another PAL
 * - `fault`: the PAL trapped or broke a rule of its interface; `fault` says how
 * - `timeout`: the PAL ran longer than its time limit
 * - `aborted`: the caller's signal ended the call
 * - `memory`: an image or a run needs more memory than is allowed
 * - `unsupported-engine`: the engine or the kind of image is not there
 * - `protocol`: the other end of the stream sent what it may not
 * - `closed`: the Trustvisor or the PAL was closed, or the isolate ended
 * - `input`: an argument is out of range
 * - `store`: the untrusted store failed
 * - `tpm`: the platform TPM failed
 * - `busy`: too many calls are waiting
 */
export type TrustvisorErrorCode = (typeof TRUSTVISOR_ERROR_CODES)[number];

/** Every {@link PalFault}; the position is its number in the protocol. */
export const PAL_FAULTS = [
  'unreachable',
  'out-of-bounds',
  'division',
  'indirect-call',
  'conversion',
  'stack-overflow',
  'malformed-output',
  'service',
  'other',
  'privileged',
] as const;

/**
 * How a PAL ended when it broke a rule; `service` is a service call at a time when there is none, `privileged` an instruction
 * or an I/O port that is not for PALs.
 */
export type PalFault = (typeof PAL_FAULTS)[number];

/** Thrown by every function of this package; switch on `code`. */
export class TrustvisorError extends Error {
  /** Always `TrustvisorError`. */
  override readonly name = 'TrustvisorError';
  /** Why it failed. */
  readonly code: TrustvisorErrorCode;
  /** How the PAL ended, where `code` is `fault`. */
  readonly fault: PalFault | undefined;

  /** `message` says verb, object, expected, got. */
  constructor(
    code: TrustvisorErrorCode,
    message: string,
    options: ErrorOptions & { readonly fault?: PalFault | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fault = options.fault;
  }
}
