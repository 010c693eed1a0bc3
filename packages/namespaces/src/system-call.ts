/** System calls that a sandbox waits for: what a notification callback sees and may answer (seccomp_unotify(2)). */
import type { SeccompArch } from './seccomp-architectures.js';

/**
 * One system call that waits for its answer. The caller is hostile: what its pointers point to may change at any time, so it is read
 * once, and what is decided is done with that copy, never by `unsafe-continue`.
 */
export interface SystemCall {
  /** The calling thread, as the program that started the sandbox numbers it; 0 where it cannot be seen from there. */
  readonly pid: number;
  /** The name of the call, or undefined for one that this version does not know. */
  readonly name: string | undefined;
  /** Its number. */
  readonly number: number;
  /** The architecture that the call is made by, or undefined for one that this version does not know. */
  readonly architecture: SeccompArch | undefined;
  /** The six arguments, 64 bits each; what a call does not use is arbitrary. */
  readonly args: readonly bigint[];
  /** Where the call is made from. */
  readonly instructionPointer: bigint;
  /** Aborted once an answer is of no use any more: the time limit has passed or the sandbox has ended. */
  readonly signal: AbortSignal;
  /**
   * Reads bytes of the caller's memory, at most `length`; fewer where the memory ends. Throws `NamespaceError` `call-failed`: nothing
   * readable there (`EFAULT`), the call has been given up (`ENOENT`), the caller may not be looked into (`EACCES`, `EPERM`).
   */
  read(address: bigint, length: number): Promise<Uint8Array>;
  /**
   * Reads the text that an argument points to, up to its zero byte, decoded as UTF-8; `max` bounds its bytes (default 4096). Throws
   * as {@link read} does, and `call-failed` with `ENAMETOOLONG` where it has no end within the bound.
   */
  readString(argument: number, options?: { readonly max?: number }): Promise<string>;
  /** Writes into the caller's memory, for calls that return something there. Throws as {@link read} does. */
  write(address: bigint, bytes: Uint8Array): Promise<void>;
}

/**
 * What becomes of a call.
 *
 * - `errno`: it fails with this error number (1 … 4095)
 * - `value`: it is not made, and returns this
 * - `open`: a file of the outside is opened with the rights of the program that started the sandbox, and its descriptor returned;
 *   links in the path are followed, but not those of /proc, and nothing waits for the other end of a named pipe
 * - `descriptor`: a copy of an open descriptor of this program is returned; the kernel must let the launcher look into this program
 *   (with Yama, `kernel.yama.ptrace_scope` 0)
 * - `unsafe-continue`: the kernel makes the call after all, reading its arguments anew. Another thread may have changed them since:
 *   no security decision can rest on what was seen
 */
export type SystemCallAnswer =
  | { readonly type: 'errno'; readonly errno: number }
  | { readonly type: 'value'; readonly value: bigint | number }
  | {
      readonly type: 'open';
      /** Absolute path outside. */
      readonly path: string;
      /** Of open(2). Default: `O_RDONLY`. */
      readonly flags?: number;
      /** For `O_CREAT`. Default 0o600. */
      readonly mode?: number;
      /** Default true. */
      readonly closeOnExec?: boolean;
    }
  | {
      readonly type: 'descriptor';
      /** A descriptor of this program. */
      readonly fd: number;
      /** Default true. */
      readonly closeOnExec?: boolean;
    }
  | { readonly type: 'unsafe-continue' };

/**
 * Decides about one call. It may run many times at once, and for a call that a signal interrupted once more. A callback that throws,
 * rejects, answers something malformed or is late makes the call fail with `EPERM`.
 */
export type SystemCallCallback = (call: SystemCall) => SystemCallAnswer | Promise<SystemCallAnswer>;
