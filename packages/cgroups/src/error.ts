/** The one error of this package. */

/**
 * Why a cgroup operation was refused.
 *
 * - `bad-limit`: a limit's value is outside what the kernel can hold
 * - `no-hierarchy`: no cgroup hierarchy of the kind that is needed is mounted
 * - `not-delegated`: this user may not create cgroups there
 * - `internal-processes`: a cgroup that has processes of its own cannot hand controllers down, and nobody asked to move them
 * - `limit-unavailable`: a limit that was asked for cannot be given; `limit` names it
 * - `not-applied`: the kernel took the value but holds another one
 * - `unsupported`: the hierarchies of this cgroup have no such ability
 * - `not-found`: no cgroup of this package has that name
 * - `gone`: the cgroup has been removed, by its own program or by another
 * - `busy`: the cgroup could not be emptied in time
 * - `io`: any other failure of the cgroup file system
 */
export type CgroupErrorCode =
  | 'bad-limit'
  | 'no-hierarchy'
  | 'not-delegated'
  | 'internal-processes'
  | 'limit-unavailable'
  | 'not-applied'
  | 'unsupported'
  | 'not-found'
  | 'gone'
  | 'busy'
  | 'io';

/** Thrown by everything in this package. */
export class CgroupError extends Error {
  /** Always `CgroupError`. */
  override readonly name = 'CgroupError';
  /** Why; switch on this, never on the text. */
  readonly code: CgroupErrorCode;
  /** The limit that cannot be given, where one is to blame. */
  readonly limit: string | undefined;
  /** What usually mends it, as one sentence for a person. */
  readonly remedy: string | undefined;

  /** `message` says verb, object, expected and got. */
  constructor(
    code: CgroupErrorCode,
    message: string,
    more: { readonly limit?: string; readonly remedy?: string; readonly cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.limit = more.limit;
    this.remedy = more.remedy;
  }
}
