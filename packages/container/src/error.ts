/** The one error of this package. */

/**
 * Why a GuestOS or a container was refused.
 *
 * - `signature`: the configuration's signature was not made by its signer, or cannot be read
 * - `certificate`: nothing that the caller trusts vouches for the signer
 * - `config`: the configuration is not the one that was signed, is malformed, or is of another GuestOS
 * - `image`: the image is not, byte for byte, the one that the configuration names
 * - `archive`: a root filesystem or an image is no archive that can be taken, or holds what no image may
 * - `bad-input`: an argument contradicts itself or is out of range
 * - `not-found`: the store has no such GuestOS
 * - `exists`: the store has another GuestOS of that name and version
 * - `not-allowed`: the GuestOS requests a capability that the caller does not grant
 * - `limits`: a limit cannot be enforced here
 * - `start`: the container could not be started
 * - `state`: the container is in a state in which this cannot be done, or another process writes the GuestOS just now
 * - `io`: any other failure of the file system
 */
export type ContainerErrorCode =
  | 'signature'
  | 'certificate'
  | 'config'
  | 'image'
  | 'archive'
  | 'bad-input'
  | 'not-found'
  | 'exists'
  | 'not-allowed'
  | 'limits'
  | 'start'
  | 'state'
  | 'io';

/** Thrown by everything in this package; switch on `code`. */
export class ContainerError extends Error {
  /** Always `ContainerError`. */
  override readonly name = 'ContainerError';
  /** Why. */
  readonly code: ContainerErrorCode;
  /** What usually mends it, as one sentence for a person. */
  readonly remedy: string | undefined;

  /** `message` says verb, object, expected and got. */
  constructor(
    code: ContainerErrorCode,
    message: string,
    more: { readonly remedy?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.remedy = more.remedy;
  }
}

/** What an unknown error says of itself. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether `error` is a system error of this kind, such as `ENOENT`. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
