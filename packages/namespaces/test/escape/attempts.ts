/** The escape corpus as a table: what is tried, what stops it, and which change of the sandbox takes exactly that away. */
import type { CgroupLimits } from '@casemate/cgroups';
import type { Capability, Operation, SandboxSpec } from '../../src/index.js';

/** What lies outside and is attacked. */
export interface World {
  /** A directory of the outside, with the file `secret`, the directory `devices` and the program. */
  readonly outside: string;
  /** The image of the sandboxes. */
  readonly image: string;
  /** The attempts as a program of the outside. */
  readonly program: string;
  /** A process of the outside. */
  readonly victim: number;
  /** An address in its memory, hexadecimal. */
  readonly address: string;
  /** A TCP port that a program of the outside listens on, at 127.0.0.1. */
  readonly port: number;
  /** An abstract and a path name of Unix sockets that it listens on. */
  readonly abstractName: string;
  /** The number of a System V shared memory segment of the outside. */
  readonly segment: number;
  /** A directory of the outside that belongs to no cgroup of the sandbox: its cgroup.procs can be written by root. */
  readonly cgroup: string;
}

/** Parts of a description; the program lies elsewhere where there is no root. */
export type Change = Partial<Omit<SandboxSpec, 'root'>> & { readonly root?: SandboxSpec['root'] | 'none' };

/** What is taken away. */
export interface Removal {
  /** Parts of the description that are replaced. */
  readonly spec?: (world: World) => Change;
  /** Operations that are changed or left out. */
  readonly plan?: (operations: readonly Operation[]) => readonly Operation[];
  /** The sandbox starts in no cgroup. */
  readonly cgroup?: false;
  /** There is no sandbox: the program runs outside. */
  readonly sandbox?: false;
}

/** One attempt. */
export interface Attempt {
  /** What is tried, as the rest of a sentence. */
  readonly title: string;
  /** The sub-command of attempts.c. */
  readonly name: string;
  /** Its arguments. */
  readonly args?: (world: World) => readonly string[];
  /** What the sandbox has, with the protection and without it. */
  readonly given?: (world: World) => Change;
  /** The limits of its cgroup. */
  readonly limits?: CgroupLimits;
  /** What takes the protection away. */
  readonly without: Removal;
  /** The errors or signals that count as the refusal; anything else fails the test. */
  readonly refused: readonly string[];
  /** Why a success is one although the call fails: the error that only those see who have the right. */
  readonly shown?: string;
  /** Standard input is a terminal of the outside. */
  readonly terminal?: true;
  /** A path of the outside without which there is nothing to attack. */
  readonly needs?: string;
}

const SECCOMP_OFF: Change = { seccomp: 'insecure-none' };

/** Rights inside the sandbox's own user namespace, and no filter. */
function inside(...capabilities: Capability[]): Removal {
  return { spec: () => ({ ...SECCOMP_OFF, capabilities }) };
}

/** Rights on the machine: no user namespace, and no filter. */
function outside(...capabilities: Capability[]): Removal {
  return { spec: () => ({ ...SECCOMP_OFF, capabilities, namespaces: { user: false } }) };
}

/** The processes of the outside can be seen, by root of the outside. */
function amongOthers(...capabilities: Capability[]): Removal {
  return { spec: () => ({ ...SECCOMP_OFF, capabilities, namespaces: { user: false, pid: false } }) };
}

const noFilter: Removal = { spec: () => SECCOMP_OFF };

/** Root of the outside, and a plan in which no part of /proc and /sys is read-only. */
const writableKernel: Removal = {
  spec: () => ({ namespaces: { user: false } }),
  plan: (operations) =>
    operations
      .filter(({ op }) => op !== 'read-only-path')
      .map((o) => (o.op === 'mount' && o.fileSystem === 'sysfs' ? { ...o, attributes: o.attributes & ~READ_ONLY } : o)),
};

const READ_ONLY = 1n;
const NO_SET_UID = 2n;

const victim = ({ victim: pid }: World): readonly string[] => [String(pid)];
const path = (name: string) => (): readonly string[] => [name];
const devicesAt =
  (devices: boolean) =>
  ({ outside: dir }: World): Change => ({
    mounts: [{ type: 'bind', source: `${dir}/devices`, target: '/data', devices }],
  });
const deviceFile = (name: string, ...capabilities: Capability[]): Removal => ({
  spec: () => ({
    capabilities,
    namespaces: { user: false },
    mounts: [{ type: 'bind', source: name, target: name, devices: true, readOnly: false }],
  }),
});
const asUser = (): Change => ({ user: { uid: 1000, gid: 1000 } });

/** All attempts that run as a program; the attacks on mounting are in escape.test.ts. */
export const ATTEMPTS: readonly Attempt[] = [
  // mounts and the root
  { title: 'mount a tmpfs', name: 'mount-tmpfs', without: inside('CAP_SYS_ADMIN'), refused: ['EPERM'] },
  { title: 'mount another /proc', name: 'mount-proc', without: inside('CAP_SYS_ADMIN'), refused: ['EPERM'] },
  {
    title: 'bind one directory over another',
    name: 'mount-bind',
    without: inside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  {
    title: 'open a file system by the new mount calls',
    name: 'mount-new-api',
    without: inside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  { title: 'copy a mount tree', name: 'mount-tree', without: inside('CAP_SYS_ADMIN'), refused: ['EPERM'] },
  {
    title: 'unmount what masks a path',
    name: 'unmount-mask',
    args: path('/proc/timer_list'),
    without: inside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  {
    title: 'make /proc/sys writable again',
    name: 'remount-writable',
    without: inside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  {
    title: 'exchange the root',
    name: 'pivot',
    without: inside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
    shown: 'EBUSY or EINVAL: what is exchanged is looked at after the rights',
  },
  {
    title: 'change the root and leave it through ".."',
    name: 'change-root',
    without: inside('CAP_SYS_CHROOT'),
    refused: ['EPERM'],
  },
  { title: 'make a block device', name: 'make-device', without: outside('CAP_MKNOD'), refused: ['EPERM'] },
  {
    title: 'open a device file that the image brings',
    name: 'open-to-read',
    args: path('/data/null'),
    given: devicesAt(false),
    without: { spec: devicesAt(true) },
    refused: ['EACCES'],
  },
  {
    title: 'open a device that the cgroup does not allow',
    name: 'open-to-read',
    args: path('/data/zero'),
    given: devicesAt(true),
    limits: { devices: [{ allow: true, type: 'char', major: 1, minor: 3 }] },
    without: { cgroup: false },
    refused: ['EPERM'],
  },
  {
    title: 'read the log of the kernel from its device',
    name: 'open-to-read',
    args: path('/dev/kmsg'),
    without: deviceFile('/dev/kmsg', 'CAP_SYSLOG'),
    refused: ['ENOENT'],
    needs: '/dev/kmsg',
  },
  {
    title: 'open the memory of the machine',
    name: 'open-to-read',
    args: path('/dev/mem'),
    without: deviceFile('/dev/mem', 'CAP_SYS_RAWIO'),
    refused: ['ENOENT'],
    needs: '/dev/mem',
  },
  {
    title: 'open the hypervisor',
    name: 'open-to-write',
    args: path('/dev/kvm'),
    without: deviceFile('/dev/kvm'),
    refused: ['ENOENT'],
    needs: '/dev/kvm',
  },
  {
    title: 'command a disk',
    name: 'flush-disk',
    args: path('/dev/loop0'),
    given: (w) => deviceFile('/dev/loop0').spec?.(w) ?? {},
    without: { spec: () => ({ capabilities: ['CAP_SYS_ADMIN'] }) },
    refused: ['EACCES'],
    needs: '/dev/loop0',
  },
  {
    title: 'write into a read-only image',
    name: 'create-file',
    args: path('/escaped'),
    given: ({ image }) => ({ root: { type: 'bind', source: image } }),
    without: { spec: ({ image }) => ({ root: { type: 'bind', source: image, readOnly: false } }) },
    refused: ['EROFS'],
  },
  {
    title: 'write into a read-only mount',
    name: 'create-file',
    args: path('/data/escaped'),
    given: ({ outside: dir }) => ({ mounts: [{ type: 'bind', source: `${dir}/shared`, target: '/data' }] }),
    without: {
      spec: ({ outside: dir }) => ({
        mounts: [{ type: 'bind', source: `${dir}/shared`, target: '/data', readOnly: false }],
      }),
    },
    refused: ['EROFS'],
  },
  {
    title: 'read a masked file',
    name: 'read-file',
    args: path('/etc/greeting'),
    given: () => ({ maskedPaths: ['/etc/greeting'] }),
    without: { spec: () => ({ maskedPaths: [] }) },
    refused: ['ENODATA'],
  },
  {
    title: 'read a file of the outside',
    name: 'read-file',
    args: ({ outside: dir }) => [`${dir}/secret`],
    without: { spec: () => ({ root: 'none' }) },
    refused: ['ENOENT'],
  },
  {
    title: 'watch what others do with a file of the outside',
    name: 'watch-outside',
    args: ({ outside: dir }) => [`${dir}/secret`],
    without: { spec: () => ({ root: 'none' }) },
    refused: ['ENOENT'],
  },
  {
    title: 'open a file by its number, past every mount',
    name: 'handle-of-inode',
    args: path('/data'),
    given: ({ outside: dir }) => ({
      namespaces: { user: false },
      mounts: [{ type: 'bind', source: dir, target: '/data' }],
    }),
    without: { spec: () => ({ ...SECCOMP_OFF, capabilities: ['CAP_DAC_READ_SEARCH'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'become root by a set-user-id program',
    name: 'run-set-uid',
    args: path('/bin/attempts-set-uid'),
    given: asUser,
    without: {
      plan: (operations) =>
        operations
          .filter(({ op }) => op !== 'no-new-privileges' && op !== 'seccomp')
          .map((o) => (o.op === 'overlay' ? { ...o, attributes: o.attributes & ~NO_SET_UID } : o)),
    },
    refused: ['EPERM'],
  },
  {
    title: "read another user's file",
    name: 'read-file',
    args: path('/etc/private'),
    given: asUser,
    without: { spec: () => ({ capabilities: ['CAP_DAC_OVERRIDE'] }) },
    refused: ['EACCES'],
  },

  // the kernel's own files
  {
    title: 'set the program that core dumps are piped to',
    name: 'open-to-write',
    args: path('/proc/sys/kernel/core_pattern'),
    without: writableKernel,
    refused: ['EROFS', 'EACCES'],
  },
  {
    title: 'set how much memory the machine promises',
    name: 'open-to-write',
    args: path('/proc/sys/vm/overcommit_memory'),
    without: writableKernel,
    refused: ['EROFS', 'EACCES'],
  },
  {
    title: 'press the magic key',
    name: 'open-to-write',
    args: path('/proc/sysrq-trigger'),
    without: writableKernel,
    refused: ['EROFS', 'EACCES', 'ENOENT'],
    needs: '/proc/sysrq-trigger',
  },
  {
    title: 'move interrupts to other CPUs',
    name: 'open-to-write',
    args: path('/proc/irq/default_smp_affinity'),
    without: writableKernel,
    refused: ['EROFS', 'EACCES'],
    needs: '/proc/irq/default_smp_affinity',
  },
  {
    title: 'change the kernel through /sys',
    name: 'open-to-write',
    args: path('/sys/kernel/mm/transparent_hugepage/enabled'),
    without: writableKernel,
    refused: ['EROFS', 'EACCES'],
    needs: '/sys/kernel/mm/transparent_hugepage/enabled',
  },
  {
    title: 'set the helper for device events',
    name: 'open-to-write',
    args: path('/sys/kernel/uevent_helper'),
    without: writableKernel,
    refused: ['EROFS', 'EACCES'],
    needs: '/sys/kernel/uevent_helper',
  },
  {
    title: 'mount a cgroup hierarchy and set its release agent',
    name: 'release-agent',
    args: path('freezer'),
    without: {
      spec: () => ({ ...SECCOMP_OFF, capabilities: ['CAP_SYS_ADMIN'], namespaces: { user: false, cgroup: false } }),
    },
    refused: ['EPERM'],
  },
  {
    title: 'leave its cgroup',
    name: 'open-to-write',
    args: path('/data/cgroup.procs'),
    given: ({ cgroup }) => ({
      namespaces: { user: false },
      mounts: [{ type: 'bind', source: cgroup, target: '/data' }],
    }),
    without: {
      spec: ({ cgroup }) => ({ mounts: [{ type: 'bind', source: cgroup, target: '/data', readOnly: false }] }),
    },
    refused: ['EROFS'],
  },

  // other processes
  {
    title: 'enter the root of a process outside',
    name: 'proc-root',
    args: victim,
    without: amongOthers('CAP_SYS_PTRACE', 'CAP_SYS_ADMIN'),
    refused: ['ENOENT'],
  },
  {
    title: 'read the environment of a process outside',
    name: 'proc-environ',
    args: victim,
    without: amongOthers('CAP_SYS_PTRACE'),
    refused: ['ENOENT'],
  },
  {
    title: 'open the memory of a process outside',
    name: 'proc-memory',
    args: victim,
    without: { ...amongOthers('CAP_SYS_PTRACE'), plan: writableProc },
    refused: ['ENOENT'],
  },
  {
    title: 'list the descriptors of a process outside',
    name: 'proc-descriptors',
    args: victim,
    without: amongOthers('CAP_SYS_PTRACE'),
    refused: ['ENOENT'],
  },
  {
    title: 'trace a process outside',
    name: 'trace-outside',
    args: victim,
    without: amongOthers('CAP_SYS_PTRACE'),
    refused: ['ESRCH', 'EPERM'],
  },
  {
    title: 'read from the memory of a process outside',
    name: 'read-memory-outside',
    args: ({ victim: pid, address }) => [String(pid), address],
    without: amongOthers('CAP_SYS_PTRACE'),
    refused: ['ESRCH', 'EPERM'],
    shown: 'EFAULT: the address is looked at after the rights',
  },
  {
    title: 'send a signal to a process outside',
    name: 'signal-outside',
    args: victim,
    without: amongOthers(),
    refused: ['ESRCH'],
  },
  {
    title: 'take hold of a process outside by a pidfd',
    name: 'pidfd-outside',
    args: victim,
    without: amongOthers(),
    refused: ['ESRCH', 'EPERM'],
  },
  {
    title: 'set the priority of a process outside',
    name: 'priority-outside',
    args: victim,
    without: amongOthers('CAP_SYS_NICE'),
    refused: ['ESRCH'],
  },
  {
    title: 'set the CPUs of a process outside',
    name: 'affinity-outside',
    args: victim,
    without: amongOthers('CAP_SYS_NICE'),
    refused: ['ESRCH'],
  },
  {
    title: 'read the limits of a process outside',
    name: 'limit-outside',
    args: victim,
    without: amongOthers(),
    refused: ['ESRCH'],
  },
  {
    title: 'ask for the process group of a process outside',
    name: 'group-outside',
    args: victim,
    without: amongOthers(),
    refused: ['ESRCH'],
  },
  {
    title: 'compare itself with a process outside',
    name: 'compare-outside',
    args: victim,
    without: amongOthers('CAP_SYS_PTRACE'),
    refused: ['ESRCH', 'EPERM', 'ENOSYS'],
  },
  {
    title: 'type into the terminal that it was started from',
    name: 'terminal-injection',
    terminal: true,
    without: outside('CAP_SYS_ADMIN'),
    refused: ['EPERM', 'EIO', 'ENOTTY'],
  },

  // namespaces
  { title: 'make a user namespace by unshare', name: 'new-user-namespace', without: noFilter, refused: ['EPERM'] },
  { title: 'make a user namespace by clone', name: 'clone-user-namespace', without: noFilter, refused: ['EPERM'] },
  { title: 'make a user namespace by clone3', name: 'clone3-user-namespace', without: noFilter, refused: ['ENOSYS'] },
  {
    title: 'make a user namespace by the 32-bit calls',
    name: 'old-entry',
    without: noFilter,
    refused: ['EPERM', 'ENOSYS', 'SIGSYS', 'SIGKILL'],
  },
  {
    title: 'make a mount namespace',
    name: 'new-mount-namespace',
    without: inside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  { title: 'join a namespace', name: 'join-namespace', without: inside('CAP_SYS_ADMIN'), refused: ['EPERM'] },
  { title: 'set the host name', name: 'set-host-name', without: inside('CAP_SYS_ADMIN'), refused: ['EPERM'] },
  { title: 'set the domain name', name: 'set-domain-name', without: inside('CAP_SYS_ADMIN'), refused: ['EPERM'] },
  {
    title: 'reach shared memory of the outside',
    name: 'shared-memory',
    args: ({ segment }) => [String(segment)],
    without: { spec: () => ({ namespaces: { user: false, ipc: false } }) },
    refused: ['EINVAL'],
  },

  // network
  {
    title: 'open a raw socket',
    name: 'raw-socket',
    without: { spec: () => ({ capabilities: ['CAP_NET_RAW'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'open a packet socket',
    name: 'packet-socket',
    without: { spec: () => ({ ...SECCOMP_OFF, capabilities: ['CAP_NET_RAW'] }) },
    refused: ['EPERM', 'EAFNOSUPPORT'],
  },
  {
    title: 'open a socket to the hypervisor',
    name: 'machine-socket',
    without: noFilter,
    refused: ['EPERM', 'EAFNOSUPPORT'],
  },
  {
    title: 'configure the network',
    name: 'configure-network',
    without: { spec: () => ({ capabilities: ['CAP_NET_ADMIN'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'listen on a low port',
    name: 'low-port',
    without: { spec: () => ({ capabilities: ['CAP_NET_BIND_SERVICE'] }) },
    refused: ['EACCES'],
  },
  {
    title: 'connect to a server on the loopback of the outside',
    name: 'connect-loopback',
    args: ({ port }) => [String(port)],
    without: { spec: () => ({ namespaces: { net: false } }) },
    refused: ['ECONNREFUSED'],
  },
  {
    title: 'connect to an abstract socket of the outside',
    name: 'abstract-socket',
    args: ({ abstractName }) => [abstractName],
    without: { spec: () => ({ namespaces: { net: false } }) },
    refused: ['ECONNREFUSED'],
  },
  {
    title: 'reach a server of the outside that could pass descriptors in, by the path of its socket',
    name: 'path-socket',
    args: path('/data/socket'),
    without: {
      spec: ({ outside: dir }) => ({
        mounts: [{ type: 'bind', source: `${dir}/shared`, target: '/data', readOnly: false }],
      }),
    },
    refused: ['ENOENT'],
  },

  // the kernel
  { title: 'find the session keyring', name: 'get-keyring', without: noFilter, refused: ['EPERM'] },
  { title: 'add a key', name: 'add-key', without: noFilter, refused: ['EPERM'] },
  {
    title: 'request a key',
    name: 'request-key',
    without: noFilter,
    refused: ['EPERM'],
    shown: 'ENOKEY: there is none of that name',
  },
  { title: 'load a BPF program', name: 'load-bpf', without: outside('CAP_BPF', 'CAP_SYS_ADMIN'), refused: ['EPERM'] },
  { title: 'handle page faults in a program', name: 'user-faults', without: noFilter, refused: ['EPERM'] },
  { title: 'open an io_uring', name: 'io-ring', without: noFilter, refused: ['EPERM'] },
  {
    title: 'count events on a whole CPU',
    name: 'perf-event',
    without: outside('CAP_PERFMON', 'CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  {
    title: 'load another kernel',
    name: 'load-kernel',
    without: outside('CAP_SYS_BOOT'),
    refused: ['EPERM'],
    shown: 'EINVAL: flags that no kernel knows are looked at after the rights',
  },
  {
    title: 'load a module',
    name: 'load-module',
    without: outside('CAP_SYS_MODULE'),
    refused: ['EPERM'],
    shown: 'EFAULT or ENOEXEC: the image is looked at after the rights',
  },
  {
    title: 'load a module from a file',
    name: 'load-module-file',
    without: outside('CAP_SYS_MODULE'),
    refused: ['EPERM'],
    shown: 'EBADF: the descriptor is looked at after the rights',
  },
  {
    title: 'unload a module',
    name: 'unload-module',
    without: outside('CAP_SYS_MODULE'),
    refused: ['EPERM'],
    shown: 'ENOENT: the name is looked up after the rights',
  },
  {
    title: 'add swap space',
    name: 'swap-on',
    without: outside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
    shown: 'ENOENT: the file is looked up after the rights',
  },
  {
    title: 'take swap space away',
    name: 'swap-off',
    without: outside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
    shown: 'ENOENT: the file is looked up after the rights',
  },
  {
    title: 'reboot',
    name: 'reboot-machine',
    without: inside('CAP_SYS_BOOT'),
    refused: ['EPERM'],
    shown: 'EINVAL: the magic numbers are looked at after the rights',
  },
  { title: 'read the log of the kernel', name: 'kernel-log', without: outside('CAP_SYSLOG'), refused: ['EPERM'] },
  {
    title: 'set the clock',
    name: 'set-clock',
    without: outside('CAP_SYS_TIME'),
    refused: ['EPERM'],
    shown: 'EINVAL: the range is looked at after the rights',
  },
  { title: 'fix the addresses of programs', name: 'fixed-addresses', without: noFilter, refused: ['EPERM'] },
  {
    title: 'account for every process',
    name: 'process-accounting',
    without: outside('CAP_SYS_PACCT'),
    refused: ['EPERM'],
    shown: 'ENOENT: the file is looked up after the rights',
  },
  {
    title: 'watch every file of the machine',
    name: 'watch-machine',
    without: outside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
  },
  {
    title: 'set disk quotas',
    name: 'disk-quota',
    without: outside('CAP_SYS_ADMIN'),
    refused: ['EPERM'],
    shown: 'ENOENT: the device is looked up after the filter',
  },
  { title: 'use ports of the hardware', name: 'hardware-ports', without: outside('CAP_SYS_RAWIO'), refused: ['EPERM'] },

  // rights of the process itself
  {
    title: 'become another user',
    name: 'become-other-user',
    without: { spec: () => ({ capabilities: ['CAP_SETUID'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'become another group',
    name: 'become-other-group',
    without: { spec: () => ({ capabilities: ['CAP_SETGID'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'join more groups',
    name: 'more-groups',
    without: { spec: () => ({ capabilities: ['CAP_SETGID'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'give a file away',
    name: 'change-owner',
    args: path('/tmp/given'),
    without: { spec: () => ({ capabilities: ['CAP_CHOWN'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'give a file capabilities',
    name: 'file-capability',
    args: path('/tmp/capable'),
    without: { spec: () => ({ capabilities: ['CAP_SETFCAP'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'set the secure bits',
    name: 'secure-bits',
    without: { spec: () => ({ capabilities: ['CAP_SETPCAP'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'change the bounding set',
    name: 'drop-bound',
    without: { spec: () => ({ capabilities: ['CAP_SETPCAP'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'give itself a capability',
    name: 'raise-capability',
    without: { spec: () => ({ capabilities: ['CAP_CHOWN'] }) },
    refused: ['EPERM'],
  },
  {
    title: 'raise its priority',
    name: 'higher-priority',
    without: outside('CAP_SYS_NICE'),
    refused: ['EACCES', 'EPERM'],
  },
  { title: 'run in real time', name: 'real-time', without: outside('CAP_SYS_NICE'), refused: ['EPERM'] },
  {
    title: 'raise a limit',
    name: 'raise-limit',
    given: () => ({ rlimits: { nofile: { soft: 64, hard: 64 } } }),
    without: { spec: () => ({ rlimits: {} }) },
    refused: ['EPERM'],
  },

  // exhaustion
  {
    title: 'use more memory than it may',
    name: 'use-memory',
    args: path('64'),
    limits: { memoryMax: 24 << 20 },
    without: { cgroup: false },
    refused: ['SIGKILL'],
  },
  {
    title: 'fork without end',
    name: 'use-processes',
    args: path('100'),
    limits: { pidsMax: 20 },
    without: { cgroup: false },
    refused: ['EAGAIN'],
  },
  {
    title: 'fill the changes of its root',
    name: 'use-disk',
    args: () => ['/tmp/large', '12'],
    given: overlayOf(4),
    without: { spec: overlayOf(32) },
    refused: ['ENOSPC'],
  },
  {
    title: 'fill a tmpfs',
    name: 'use-disk',
    args: () => ['/data/large', '12'],
    given: () => tmpfsOf(4),
    without: { spec: () => tmpfsOf(32) },
    refused: ['ENOSPC'],
  },
  {
    title: 'write a file that is too large',
    name: 'use-disk',
    args: () => ['/tmp/large', '12'],
    given: () => ({ rlimits: { fsize: { soft: 1 << 20, hard: 1 << 20 } } }),
    without: { spec: () => ({ rlimits: {} }) },
    refused: ['SIGXFSZ', 'EFBIG'],
  },
  {
    title: 'open too many files',
    name: 'use-descriptors',
    args: path('100'),
    given: () => ({ rlimits: { nofile: { soft: 40, hard: 40 } } }),
    without: { spec: () => ({ rlimits: {} }) },
    refused: ['EMFILE'],
  },
  {
    title: 'compute for too long',
    name: 'use-time',
    args: path('2'),
    given: () => ({ rlimits: { cpu: { soft: 1, hard: 1 } } }),
    without: { spec: () => ({ rlimits: {} }) },
    refused: ['SIGXCPU', 'SIGKILL'],
  },
  {
    title: 'take address space without end',
    name: 'use-memory',
    args: path('64'),
    given: () => ({ rlimits: { as: { soft: 32 << 20, hard: 32 << 20 } } }),
    without: { spec: () => ({ rlimits: {} }) },
    refused: ['ENOMEM'],
  },
];

function overlayOf(megabytes: number): (world: World) => Change {
  return ({ image }) => ({
    root: { type: 'overlay', lower: [image], changes: { type: 'memory', size: megabytes << 20 } },
  });
}

function tmpfsOf(megabytes: number): Change {
  return { mounts: [{ type: 'tmpfs', target: '/data', size: megabytes << 20 }] };
}

// Where the pid namespace is that of the outside, /proc is its mount too, read-only.
function writableProc(operations: readonly Operation[]): readonly Operation[] {
  return operations.map((o) =>
    o.op === 'bind' && o.target === '/proc' ? { ...o, attributes: o.attributes & ~READ_ONLY } : o,
  );
}
