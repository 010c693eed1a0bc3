/** The filter that a sandbox gets unless it asks for another: what programs need, without what reaches past the namespaces. */
import { type Capability, capabilitiesIn } from './capabilities.js';
import { compileSeccomp } from './seccomp.js';
import { hostArchitecture } from './seccomp-architectures.js';
import type { SeccompAction, SeccompProfile, SeccompRule } from './seccomp-profile.js';
import { DEFAULT_SECCOMP_REFUSALS } from './seccomp-refusals.js';

/**
 * An allow list. What is left out, with the reasons, is {@link DEFAULT_SECCOMP_REFUSALS}; a kept capability brings back the calls that it
 * stands for. Refused calls fail with `EPERM`; calls newer than this package, and clone3, whose flags a filter cannot see, fail with
 * `ENOSYS`, which makes a C library fall back to what the filter can judge.
 */
export function defaultSeccompProfile(options: { readonly capabilities?: readonly Capability[] } = {}): SeccompProfile {
  const kept = new Set(options.capabilities ?? []);
  const admin = kept.has('CAP_SYS_ADMIN');
  const byCapability = DEFAULT_SECCOMP_REFUSALS.flatMap(({ syscalls, unless = [] }) =>
    unless.some((capability) => kept.has(capability)) ? syscalls : [],
  );
  return {
    rules: [
      ...TERMINAL_INJECTION,
      { syscalls: [...PLAIN, ...byCapability], action: ALLOW },
      ...(admin ? [] : WITHOUT_NEW_NAMESPACES),
      ...SOCKETS,
      ...PERSONALITIES,
    ],
    otherwise: { type: 'errno', errno: EPERM },
    unknown: { type: 'errno', errno: ENOSYS },
  };
}

/** The compiled {@link defaultSeccompProfile} of this machine for a mask of capabilities; compiled once for each. */
export function defaultSeccompProgram(kept: bigint): Uint8Array {
  const known = PROGRAMS.get(kept);
  if (known) return known;
  const capabilities = capabilitiesIn(kept);
  const program = compileSeccomp(defaultSeccompProfile({ capabilities }), [hostArchitecture()]);
  PROGRAMS.set(kept, program);
  return program;
}

const PROGRAMS = new Map<bigint, Uint8Array>();

const ALLOW: SeccompAction = { type: 'allow' };
const EPERM = 1;
const ENOSYS = 38;

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const FILES = words(`
  access cachestat chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate
  fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr file_getattr file_setattr flistxattr flock fremovexattr
  fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr getxattrat lchown lgetxattr link linkat
  listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat name_to_handle_at
  newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
  removexattr removexattrat rename renameat renameat2 rmdir sendfile setxattr setxattrat splice stat statfs statmount statx symlink
  symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev
`);

const EVENTS = words(`
  epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 fanotify_mark inotify_add_watch
  inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit poll ppoll pselect6
  select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime
`);

const MEMORY = words(`
  brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync
  munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
`);

const PROCESSES = words(`
  arch_prctl capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups
  getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set kill
  landlock_add_rule landlock_create_ruleset landlock_restrict_self modify_ldt pause pidfd_open
  pidfd_send_signal prctl prlimit64 process_mrelease process_vm_readv process_vm_writev ptrace restart_syscall rseq rseq_slice_yield rt_sigaction
  rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
  sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
  sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid setfsuid
  setgid setgroups setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack tgkill tkill uprobe uretprobe
  vfork wait4 waitid
`);

const TALKING = words(`
  accept accept4 bind connect futex futex_requeue futex_wait futex_waitv futex_wake getpeername getsockname getsockopt listen
  mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd recvfrom recvmmsg recvmsg semctl
  semget semop semtimedop sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketpair
`);

const TIME_AND_MACHINE = words(`
  adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer getrandom gettimeofday nanosleep setitimer sysinfo
  time timer_create timer_delete timer_getoverrun timer_gettime timer_settime times uname
`);

const PLAIN = [...FILES, ...EVENTS, ...MEMORY, ...PROCESSES, ...TALKING, ...TIME_AND_MACHINE, 'ioctl'];

// TIOCSTI and TIOCLINUX type into the terminal of whoever started us. The kernel looks at 32 bits only, so must the filter.
const TERMINAL_INJECTION: readonly SeccompRule[] = [0x5412n, 0x541cn].map((value) => ({
  syscalls: ['ioctl'],
  action: { type: 'errno', errno: EPERM },
  args: [{ index: 1, op: 'masked-eq', mask: 0xffff_ffffn, value }],
}));

// CLONE_NEWNS … CLONE_NEWNET: a new user namespace would hand out a full set of capabilities again.
const WITHOUT_NEW_NAMESPACES: readonly SeccompRule[] = [
  { syscalls: ['clone'], action: ALLOW, args: [{ index: 0, op: 'masked-eq', mask: 0x7e02_0000n, value: 0n }] },
  { syscalls: ['clone3'], action: { type: 'errno', errno: ENOSYS } },
];

// AF_ALG and AF_VSOCK. The kernel looks at 32 bits here too.
const SOCKETS: readonly SeccompRule[] = [
  ...[38n, 40n].map(
    (value): SeccompRule => ({
      syscalls: ['socket'],
      action: { type: 'errno', errno: EPERM },
      args: [{ index: 0, op: 'masked-eq', mask: 0xffff_ffffn, value }],
    }),
  ),
  { syscalls: ['socket'], action: ALLOW },
];

// PER_LINUX, PER_LINUX32, each with UNAME26 too, and the query; no ADDR_NO_RANDOMIZE, no READ_IMPLIES_EXEC.
const PERSONALITIES: readonly SeccompRule[] = [0x0n, 0x8n, 0x2_0000n, 0x2_0008n, 0xffff_ffffn].map((value) => ({
  syscalls: ['personality'],
  action: ALLOW,
  args: [{ index: 0, op: 'eq', value }],
}));
