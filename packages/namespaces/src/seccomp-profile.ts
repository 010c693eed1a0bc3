/** System call filters as typed rules: seccomp(2), seccomp_filter.rst. */

/** What the kernel does with a system call. */
export type SeccompAction =
  | { readonly type: 'allow' }
  /** The call fails with this error number (1 … 4095). */
  | { readonly type: 'errno'; readonly errno: number }
  /** The process gets SIGSYS and ends. */
  | { readonly type: 'kill-process' }
  /** The thread ends. */
  | { readonly type: 'kill-thread' }
  /** The thread gets SIGSYS, which it can handle. */
  | { readonly type: 'trap' }
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
  /** Names of system calls. One that an architecture does not have is passed over there. */
  readonly syscalls: readonly string[];
  /** What happens to them. */
  readonly action: SeccompAction;
  /** Tests that must all hold. */
  readonly args?: readonly SeccompArgument[];
}

/** A filter. The first rule that holds decides. */
export interface SeccompProfile {
  /** The rules, in order. */
  readonly rules: readonly SeccompRule[];
  /** For calls that no rule holds for. */
  readonly otherwise: SeccompAction;
  /** For call numbers that this version does not know: programs take `ENOSYS` as "use the older call". Default: `otherwise`. */
  readonly unknown?: SeccompAction;
}
