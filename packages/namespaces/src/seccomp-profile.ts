/** System call filters as typed rules: seccomp(2), seccomp_filter.rst. */
import type { SeccompArch } from './seccomp-architectures.js';

/** What the kernel does with a system call. */
export type SeccompAction =
  | { readonly type: 'allow' }
  /** The call is not made and fails with this error number (1 … 4095); with 0 it seems to succeed. */
  | { readonly type: 'errno'; readonly errno: number }
  /** The process gets SIGSYS and ends. */
  | { readonly type: 'kill-process' }
  /** The thread ends. */
  | { readonly type: 'kill-thread' }
  /** The thread gets SIGSYS, which it can handle; `si_errno` tells it `data` (0 … 65535, default 0). */
  | { readonly type: 'trap'; readonly data?: number }
  /** A tracer (ptrace(2)) is asked and told `data` (0 … 65535, default 0); without one the call fails with `ENOSYS`. */
  | { readonly type: 'trace'; readonly data?: number }
  /** The notification callback of the sandbox decides; without one no such filter can be loaded. */
  | { readonly type: 'notify' }
  /** The call is allowed and logged. */
  | { readonly type: 'log' };

/** A test of one argument, unsigned and 64 bits wide. */
export interface SeccompArgument {
  /** Which argument, from 0. */
  readonly index: 0 | 1 | 2 | 3 | 4 | 5;
  /** How it is compared with `value`; `masked-eq` compares the bits of `mask` only. */
  readonly op: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge' | 'masked-eq';
  /** 0 … 2⁶⁴-1. */
  readonly value: bigint;
  /** Needed for `masked-eq`. */
  readonly mask?: bigint;
}

/** One rule: it holds for a call that it names, if all of its argument tests hold. */
export interface SeccompRule {
  /**
   * Names of system calls. One that an architecture does not have is passed over there. A call that can also be made through
   * socketcall(2) or ipc(2) is meant there too; as nothing sees its arguments there, a rule with tests holds always if it
   * forbids, and never if it allows.
   */
  readonly syscalls: readonly string[];
  /** What happens to them. */
  readonly action: SeccompAction;
  /** Tests that must all hold. */
  readonly args?: readonly SeccompArgument[];
}

/**
 * How a filter is loaded: seccomp(2).
 *
 * - `log`: actions other than allow are logged, as far as the sysctl kernel.seccomp.actions_logged lets them
 * - `spec-allow`: speculative store bypass stays on; faster on old kernels, and less safe
 * - `tsync`: all threads of the process get it; a sandbox has one thread then
 * - `wait-killable-recv`: a call that the notification callback has got is interrupted by deadly signals only (Linux 5.19)
 */
export type SeccompFlag = 'log' | 'spec-allow' | 'tsync' | 'wait-killable-recv';

/** A filter. The first rule that holds decides. */
export interface SeccompProfile {
  /** The rules, in order. */
  readonly rules: readonly SeccompRule[];
  /** For calls that no rule holds for. */
  readonly otherwise: SeccompAction;
  /** For call numbers that this version does not know: programs take `ENOSYS` as "use the older call". Default: `otherwise`. */
  readonly unknown?: SeccompAction;
  /** The architectures that calls may come from. Default: x86_64 and aarch64. All must have one byte order. */
  readonly architectures?: readonly SeccompArch[];
  /** For calls from any other architecture. Default: `kill-process`. */
  readonly otherArchitectures?: SeccompAction;
  /** How it is loaded. Default: none. One that the kernel does not know makes the start fail. */
  readonly flags?: readonly SeccompFlag[];
}
