/** What a sandbox may do, as data: capabilities, secure bits, Landlock, limits, scheduling. */
import type { Capability } from './capabilities.js';

/**
 * The five sets of capabilities(7), each by itself. What is not named is empty. `effective` must lie within `permitted`, `ambient`
 * within `permitted` and `inheritable`.
 *
 * They are set before the command executes, and the kernel computes new ones when it does: without file capabilities the command
 * gets the ambient set, or as uid 0 what is permitted and in the bounding or inheritable set, unless the secure bit `noroot` is set.
 */
export interface CapabilitySets {
  /** What can ever be gained by executing files. */
  readonly bounding?: readonly Capability[];
  /** What can be put into effect. */
  readonly permitted?: readonly Capability[];
  /** What the kernel checks. */
  readonly effective?: readonly Capability[];
  /** What files with inheritable capabilities hand on. */
  readonly inheritable?: readonly Capability[];
  /** What programs without file capabilities keep. */
  readonly ambient?: readonly Capability[];
}

/** A secure bit of capabilities(7), or its lock, after which nobody can change it any more. */
export type SecureBit =
  | 'noroot'
  | 'noroot-locked'
  | 'no-setuid-fixup'
  | 'no-setuid-fixup-locked'
  | 'keep-caps'
  | 'keep-caps-locked'
  | 'no-cap-ambient-raise'
  | 'no-cap-ambient-raise-locked';

/** What Landlock can refuse to do with files: linux/landlock.h. */
export type LandlockFileRight =
  | 'execute'
  | 'write-file'
  | 'read-file'
  | 'read-dir'
  | 'remove-dir'
  | 'remove-file'
  | 'make-char'
  | 'make-dir'
  | 'make-reg'
  | 'make-sock'
  | 'make-fifo'
  | 'make-block'
  | 'make-sym'
  /** Link or rename across directories (ABI 2, Linux 5.19). */
  | 'refer'
  /** ABI 3, Linux 6.2. */
  | 'truncate'
  /** ioctl(2) on devices (ABI 5, Linux 6.10). */
  | 'ioctl-dev';

/** What Landlock can refuse on TCP ports (ABI 4, Linux 6.7). */
export type LandlockPortRight = 'bind-tcp' | 'connect-tcp';

/** What Landlock can keep within the sandbox (ABI 6, Linux 6.12): connections to abstract sockets, signals. */
export type LandlockScope = 'abstract-unix-socket' | 'signal';

/** A right that Landlock handles. */
export type LandlockRight = LandlockFileRight | LandlockPortRight | LandlockScope;

/** What is allowed at and below one path. */
export interface LandlockPathRule {
  /** Absolute path inside the root. One that passes through a symbolic link is refused (`ELOOP`). */
  readonly path: string;
  /** What is allowed there. Rights that only directories have are passed over for a file. */
  readonly allow: readonly LandlockFileRight[];
  /** Whether the rule is passed over where there is nothing at `path`; else the start fails. Default false. */
  readonly ifPresent?: boolean;
}

/** What is allowed with one TCP port. */
export interface LandlockPortRule {
  /** 0 … 65535; for `bind-tcp` 0 is any that the kernel picks. */
  readonly port: number;
  /** What is allowed. */
  readonly allow: readonly LandlockPortRight[];
}

/**
 * What the command and all that it starts can no longer do, by Landlock, which holds even against uid 0 and all capabilities:
 * landlock(7). Every right of `required` and `ifSupported` is refused everywhere but where a rule allows it. The command itself
 * must be allowed to be executed and read, and so must its interpreter, loader and libraries.
 */
export interface LandlockSpec {
  /** Rights that must be handled. A kernel that cannot makes the start fail (`EOPNOTSUPP`). */
  readonly required: readonly LandlockRight[];
  /** Rights that are handled where the kernel can, and stay free where it cannot. */
  readonly ifSupported?: readonly LandlockRight[];
  /** Where files may be used. */
  readonly paths?: readonly LandlockPathRule[];
  /** Which TCP ports may be used. */
  readonly ports?: readonly LandlockPortRule[];
}

/** How the kernel shares its processors and disks with the sandbox: sched(7), ioprio_set(2). Set with the caller's rights. */
export interface Scheduling {
  /** -20 … 19; below the caller's only with CAP_SYS_NICE. */
  readonly nice?: number;
  /** The policy; the real-time ones need CAP_SYS_NICE or the rlimit rtprio. */
  readonly policy?: SchedulingPolicy;
  /** The processors that it may run on, by number. */
  readonly processors?: readonly number[];
  /** Order among disk requests; level 0 (first) … 7. `realtime` needs CAP_SYS_NICE or CAP_SYS_ADMIN. */
  readonly io?: { readonly class: 'realtime' | 'best-effort' | 'idle'; readonly level?: number };
}

/** A scheduling policy; `priority` is 1 … 99, times are in nanoseconds. */
export type SchedulingPolicy =
  | { readonly type: 'other' | 'batch' | 'idle' }
  | { readonly type: 'fifo' | 'round-robin'; readonly priority: number; readonly resetOnFork?: boolean }
  | { readonly type: 'deadline'; readonly runtime: bigint; readonly deadline: bigint; readonly period: bigint };
