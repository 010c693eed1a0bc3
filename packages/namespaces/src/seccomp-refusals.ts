/** What the default filter refuses, why, and which capability brings it back: the reasons as data. */
import type { Capability } from './capabilities.js';

/** Calls that the default filter refuses for one reason. */
export interface SeccompRefusal {
  /** Their names. */
  readonly syscalls: readonly string[];
  /** One sentence: what they could do to the machine or to others. */
  readonly reason: string;
  /** Capabilities that stand for them: a sandbox that keeps one of these may make the calls. None: nothing brings them back. */
  readonly unless?: readonly Capability[];
  /** What part of the call is refused, where it is not the whole: the rest is allowed. */
  readonly when?: string;
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/**
 * Every call that the default filter refuses, with the reason. All fail with `EPERM` but clone3, which fails with `ENOSYS`. Compared with
 * Docker's profile of 2026, which refuses the same but for the obsolete epoll calls.
 */
export const DEFAULT_SECCOMP_REFUSALS: readonly SeccompRefusal[] = [
  {
    syscalls: words('io_uring_setup io_uring_enter io_uring_register'),
    reason:
      'io_uring makes calls that no filter sees, and has been the way of many escapes; Docker and Google have it off for the same reason',
  },
  {
    syscalls: ['userfaultfd'],
    reason: 'stops the kernel in the middle of a copy for as long as wanted, which turns its races into sure wins',
  },
  {
    syscalls: ['bpf'],
    reason: 'loads programs into the kernel, whose verifier has been fooled often',
    unless: ['CAP_BPF', 'CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['perf_event_open'],
    reason: 'a large surface of the kernel, and a measure of what others do on the same processor',
    unless: ['CAP_PERFMON', 'CAP_SYS_ADMIN'],
  },
  {
    syscalls: words('add_key keyctl request_key'),
    reason: 'keyrings are not in any namespace but that of the user: keys of the same user id would be shared',
  },
  {
    syscalls: words(
      'mount umount2 pivot_root fsopen fspick fsconfig fsmount move_mount open_tree open_tree_attr mount_setattr',
    ),
    reason: 'undoes masks and read-only mounts, and gives the parsers of file systems hostile input',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: words('unshare setns'),
    reason:
      'a new user namespace hands out a full set of capabilities again, and with it most of the surface that they guard',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['clone'],
    when: 'a CLONE_NEW… flag is set',
    reason: 'makes namespaces as unshare does; threads and processes can be made',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['clone3'],
    reason: 'its flags lie in memory, where no filter sees them; C libraries fall back to clone on ENOSYS',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['listns'],
    reason: 'lists the namespaces of the machine',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: words('lsm_get_self_attr lsm_set_self_attr lsm_list_modules'),
    reason: 'new (6.8) calls about security modules, which no program needs yet and Docker guards too',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['fanotify_init'],
    reason: 'watches what others do with files',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: words('quotactl quotactl_fd'),
    reason: 'quotas belong to the whole file system',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: words('sethostname setdomainname'),
    reason: 'the name is what the sandbox was given',
    unless: ['CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['syslog'],
    reason: 'the kernel log has addresses and the business of others',
    unless: ['CAP_SYSLOG', 'CAP_SYS_ADMIN'],
  },
  {
    syscalls: ['open_by_handle_at'],
    reason: 'opens any file of a file system by its number, past every directory: the way of the Shocker escape',
    unless: ['CAP_DAC_READ_SEARCH'],
  },
  { syscalls: ['chroot'], reason: 'moves the root, which confuses what trusts it', unless: ['CAP_SYS_CHROOT'] },
  {
    syscalls: words('kcmp pidfd_getfd process_madvise'),
    reason: 'looks into other processes and takes their descriptors; what ptrace can do is checked there',
    unless: ['CAP_SYS_PTRACE'],
  },
  {
    syscalls: words('get_mempolicy mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages'),
    reason: 'moves memory between nodes, which tells and changes how others fare',
    unless: ['CAP_SYS_NICE'],
  },
  {
    syscalls: words('init_module finit_module delete_module'),
    reason: 'code in the kernel',
    unless: ['CAP_SYS_MODULE'],
  },
  { syscalls: words('reboot'), reason: 'ends the machine', unless: ['CAP_SYS_BOOT'] },
  { syscalls: words('kexec_load kexec_file_load'), reason: 'replaces the kernel' },
  { syscalls: words('iopl ioperm'), reason: 'gives the ports of the hardware', unless: ['CAP_SYS_RAWIO'] },
  { syscalls: ['acct'], reason: 'writes about every process of the machine', unless: ['CAP_SYS_PACCT'] },
  { syscalls: words('clock_settime settimeofday'), reason: 'the clock is shared by all', unless: ['CAP_SYS_TIME'] },
  { syscalls: ['vhangup'], reason: 'ends the session of whoever has the terminal', unless: ['CAP_SYS_TTY_CONFIG'] },
  { syscalls: words('swapon swapoff'), reason: 'swap is shared by all' },
  {
    syscalls: ['ioctl'],
    when: 'the request is TIOCSTI or TIOCLINUX',
    reason: 'types into the terminal of whoever started the sandbox',
  },
  {
    syscalls: ['socket'],
    when: 'the family is AF_VSOCK',
    reason: 'reaches the hypervisor past every network namespace',
  },
  {
    syscalls: ['socket'],
    when: 'the family is AF_ALG',
    reason: 'a door to all ciphers inside the kernel, holes included, that hardly any program needs',
  },
  {
    syscalls: ['personality'],
    when: 'it is anything but PER_LINUX and PER_LINUX32, with UNAME26 or without',
    reason: 'turns off address space randomization, or makes readable pages executable',
  },
  {
    syscalls: words(`
      _sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg lookup_dcookie nfsservctl putpmsg
      query_module security sysfs tuxcall uselib ustat vserver
    `),
    reason: 'gone from Linux, or kept for programs of the last century',
  },
];
