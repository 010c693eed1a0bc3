/** The one error of this package. */

/**
 * Why a sandbox could not be planned, started or steered.
 *
 * - `bad-spec`: the description contradicts itself or is outside what the kernel can hold
 * - `operation-failed`: the launcher could not perform one operation; `operation` and `errno` say which and why
 * - `launcher-missing`: the native launcher is not there or cannot be executed
 * - `launcher-failed`: the launcher ended without an answer, or its answer makes no sense
 * - `ended`: the sandbox has ended already
 * - `used-up`: a pool of ids or networks has none left
 * - `call-failed`: the memory of a waiting system call could not be read or written; `errno` says why
 */
export type NamespaceErrorCode =
  | 'bad-spec'
  | 'operation-failed'
  | 'launcher-missing'
  | 'launcher-failed'
  | 'ended'
  | 'used-up'
  | 'call-failed';

/** The operation of a plan that failed. */
export interface FailedOperation {
  /** Its place in the plan, from 0; 4294967295 for what belongs to none, whose name is `start`. */
  readonly index: number;
  /** Its name, such as `bind` or `exec`. */
  readonly name: string;
  /** The path, name or step that it was about. */
  readonly detail: string;
}

/** Thrown by everything in this package. */
export class NamespaceError extends Error {
  /** Always `NamespaceError`. */
  override readonly name = 'NamespaceError';
  /** Why; switch on this, never on the text. */
  readonly code: NamespaceErrorCode;
  /** The operation that failed, for `operation-failed`. */
  readonly operation: FailedOperation | undefined;
  /** The name of the error number that the kernel gave (`EPERM` …), where there is one. */
  readonly errno: string | undefined;
  /** What usually mends it, as one sentence for a person. */
  readonly remedy: string | undefined;

  /** `message` says verb, object, expected and got. */
  constructor(
    code: NamespaceErrorCode,
    message: string,
    more: {
      readonly operation?: FailedOperation;
      readonly errno?: string | undefined;
      readonly remedy?: string | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.operation = more.operation;
    this.errno = more.errno;
    this.remedy = more.remedy;
  }
}

/** The error for a description that cannot be planned. */
export function bad(problem: string, remedy?: string): NamespaceError {
  return new NamespaceError('bad-spec', `plan sandbox: ${problem}`, { remedy });
}
