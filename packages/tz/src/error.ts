/** The one error of this package; TrustZone API 3.0, sections 3.5 and 5.1. */
import { returnName, TZ_RETURN, type TzErrorCode } from './return-code.js';

/** The layer that an error came from, nearest first: this API, the way to the device, the device, the service itself. */
export type TzOrigin = 'api' | 'communication' | 'device' | 'service';

/** Thrown by every call. Switch on `code`; `origin` says who refused. */
export class TzError extends Error {
  /** Always `TzError`. */
  override readonly name = 'TzError';
  /** The return code by its name in the specification. */
  readonly code: TzErrorCode;
  /** The return code as a number. */
  readonly number: number;
  /** Which layer refused. */
  readonly origin: TzOrigin;
  /** With `TZ_ERROR_SERVICE`: the number that the service returned, not always one of the API's own. */
  readonly serviceReturn: number | undefined;
  /** With `TZ_ERROR_SHORT_BUFFER`: how many bytes or entries are needed. */
  readonly needed: number | undefined;

  /** `message` says verb, object, expected and got. */
  constructor(
    code: TzErrorCode,
    origin: TzOrigin,
    message: string,
    options: { readonly serviceReturn?: number; readonly needed?: number; readonly cause?: unknown } = {},
  ) {
    super(`${message} (${code}, ${origin})`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.number = TZ_RETURN[code];
    this.origin = origin;
    this.serviceReturn = options.serviceReturn;
    this.needed = options.needed;
  }
}

/** The error for a call that the specification leaves undefined and that this implementation catches. */
export function undefinedCall(call: string, expected: string, got: string): TzError {
  return new TzError('TZ_ERROR_UNDEFINED', 'api', `${call}: expected ${expected}, got ${got}`);
}

/** The error for a buffer, or a list, that what was asked for does not fit into. */
export function shortBuffer(call: string, needed: number, given: number): TzError {
  return new TzError('TZ_ERROR_SHORT_BUFFER', 'api', `${call}: expected room for ${needed}, got ${given}`, { needed });
}

/** The error for a service that answered with `serviceReturn`. */
export function serviceError(call: string, serviceReturn: number): TzError {
  const name = returnName(serviceReturn) ?? 'a code of its own';
  return new TzError('TZ_ERROR_SERVICE', 'service', `${call}: the service returned ${serviceReturn}, ${name}`, {
    serviceReturn,
  });
}
