/** What usually mends a failed operation, by its name and the error number. */
import { NET_ADMIN_REMEDY } from './network.js';
import type { OperationName } from './operations.js';

/** One sentence for a person, or undefined where nothing general can be said. */
export function remedyFor(operation: OperationName | 'start', errno: string): string | undefined {
  return REMEDIES[`${operation} ${errno}`] ?? REMEDIES[operation] ?? undefined;
}

/** What lets an ordinary user create user namespaces again. */
export const USER_NAMESPACE_REMEDY =
  'allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 or an ' +
  'AppArmor profile with "userns," (Ubuntu), user.max_user_namespaces above 0; in Docker, --security-opt seccomp=unconfined; in a chroot only root can have one';

const MISSING_MOUNT_POINT = 'the mount point is not there and the root cannot be written: create it in the image';
const MOVED = 'somebody moved the directory while it was mounted on: let nobody write to a root that is being started';
const SYMLINK = 'the path passes through a symbolic link of the root file system: give the path that it leads to';

const REMEDIES: Readonly<Record<string, string>> = {
  'namespaces EPERM': USER_NAMESPACE_REMEDY,
  'namespaces EACCES': 'the cgroup cannot be entered by this user: have it delegated, or start without one',
  'namespaces ENOSPC': 'the number of namespaces is used up: raise the sysctl user.max_*_namespaces',
  'namespaces EINVAL':
    'the kernel lacks one of the namespaces: leave it out in `namespaces`, or use Linux 5.12 or later',
  'namespaces EAGAIN': 'the number of processes is used up: raise the pids limit of the cgroup or the rlimit nproc',
  'start EXDEV':
    'mount the /proc of the pid namespace that this program is in: mount -t proc proc /proc, or unshare --pid --fork --mount-proc',
  'deny-setgroups ENOENT': 'mount /proc outside',
  'uid-map EPERM': `this user may not map these ids: use ids of type single; or ${USER_NAMESPACE_REMEDY}`,
  'gid-map EPERM': `this user may not map these ids: use ids of type single; or ${USER_NAMESPACE_REMEDY}`,
  'uid-map ENOENT': 'install newuidmap (package uidmap)',
  'gid-map ENOENT': 'install newgidmap (package uidmap)',
  'oom-score EACCES': 'only root may lower the out-of-memory score',
  'cgroup ENOENT': 'the cgroup is gone: create it anew',
  'cgroup EACCES': 'the cgroup cannot be entered by this user: have it delegated, or start without one',
  'tree ENOENT': 'the source is not there',
  'tree EPERM': 'id-mapped mounts need root, and a source that is not id-mapped already',
  'tree ELOOP': 'the subpath passes through a symbolic link: give the path that it leads to',
  'tree EINVAL':
    'the file system of the source has no id-mapped mounts: move it to ext4, xfs or btrfs (tmpfs from Linux 6.3), or use ids of type custom',
  'image EAGAIN':
    'another sandbox has the image mounted, and one of the two writes: give each its own copy, or mount it read-only',
  'image EACCES': 'the image cannot be opened, or its file system wants to be written: repair it first (e2fsck -p)',
  'image EROFS':
    'the file system wants to replay its journal: repair it first (e2fsck -p), or mount it with readOnly false',
  'image EINVAL':
    'the file is no image of this file system, or offset and size do not fit; for shifted ids it must know id maps (Linux 6.2)',
  'image ENODEV': 'the kernel lacks this file system: load its module',
  'image ENOENT':
    'the image, or the loop device that the kernel gave, is not there: a /dev of its own needs loop-control and the loop devices',
  'image ENOTBLK': 'an image is a regular file or a block device',
  'image ERANGE': 'the image is shorter than its offset and size say',
  'image EPERM': 'the kernel mounts images only for root',
  'image EUCLEAN': 'the image is damaged',
  'netlink-outside EPERM': NET_ADMIN_REMEDY,
  'netlink-outside EEXIST':
    'a link or address of this name is there already: choose another, or let a NetworkPool choose',
  'netlink-outside ENODEV': 'a link or bridge outside is not there',
  'netlink-outside EOPNOTSUPP': 'the kernel lacks this kind of link, or IPv6: load its module',
  'netlink-outside EBUSY': 'the link belongs to a bridge or bond: take it out of that first',
  'netlink EEXIST': 'the address or route is there already',
  'netlink ENETUNREACH': 'no address of the sandbox reaches the gateway: add one, or set onLink',
  'netlink EHOSTUNREACH': 'no address of the sandbox reaches the gateway: add one, or set onLink',
  'netlink EACCES': 'the kernel has IPv6 switched off: sysctl net.ipv6.conf.default.disable_ipv6=0',
  'netlink EOPNOTSUPP': 'the kernel lacks IPv6',
  'sysctl ENOENT': 'this kernel has no such parameter, or it belongs to no namespace',
  'sysctl EACCES': 'root of the inside may not set this parameter',
  'sysctl EROFS': 'outside, /proc/sys is read-only: in Docker, --security-opt systempaths=unconfined',
  'sysctl EINVAL': 'the value is out of range',
  'file EROFS': MISSING_MOUNT_POINT,
  'file ELOOP': SYMLINK,
  'bind ESTALE': MOVED,
  'mount ESTALE': MOVED,
  'mask ESTALE': MOVED,
  'bind EPERM':
    'the mount outside has a flag that is locked for this user, which may only add to it; or no device is allowed there',
  'bind EROFS': MISSING_MOUNT_POINT,
  'bind ELOOP': SYMLINK,
  'bind ENOENT': 'the source is not there, or the mount point cannot be made',
  'bind EINVAL': 'mounts below the source are locked for this user: bind it recursively',
  'mount EROFS': MISSING_MOUNT_POINT,
  'mount ELOOP': SYMLINK,
  'mount EPERM':
    'the kernel shows proc and sysfs only to who sees them whole: outside, nothing may be mounted over parts of /proc or /sys',
  'mount ENODEV': 'the kernel lacks this file system',
  'overlay EPERM': 'the kernel has no overlay for ordinary users: use Linux 5.11 or later, a bind root, or run as root',
  'overlay ENODEV': 'load the overlay module: modprobe overlay',
  'overlay ENOENT': 'a layer is not there; the directory for changes must hold `upper` and `work`',
  'overlay EINVAL': 'a layer is on a file system that overlay cannot use: see the kernel log',
  'mask ELOOP': SYMLINK,
  'read-only-path ELOOP': SYMLINK,
  'devices ENOENT': 'a device is not there outside: mount devtmpfs on /dev, or set `systemMounts` to false',
  'rlimit EPERM': 'only root with CAP_SYS_RESOURCE may raise a hard limit: ask for no more than the caller has',
  'time-namespace ERANGE': 'an offset must leave the clock above zero and below 146 years',
  'time-namespace EINVAL': 'the kernel has no time namespaces: leave them out in `namespaces`',
  'groups EPERM': 'this id map does not allow setgroups: use ids of type subordinate',
  'ids EINVAL': 'the id is not in the id map',
  'change-directory ENOENT': 'the working directory is not in the root file system',
  'change-directory EACCES': 'the user of the command may not enter the working directory',
  'exec ENOENT': 'the command, or the interpreter or loader that it names, is not in the root file system',
  'exec EACCES': 'the command is not executable for its user, or lies on a mount without execution',
  'exec ENOEXEC': 'the command is for another architecture, or a script without an interpreter line',
  'seccomp EINVAL':
    'the kernel refuses the filter: it needs CONFIG_SECCOMP_FILTER, or is older than one of its flags or actions',
  'seccomp EBUSY':
    'this program runs under a filter that has a listener already, and the kernel allows one: leave `notify` out, or run outside that container',
  'seccomp EACCES': 'without no_new_privs only CAP_SYS_ADMIN may load a filter',
  'landlock EOPNOTSUPP':
    'this kernel cannot handle one of the `required` rights: use a newer one, or move the right to `ifSupported`',
  'landlock ENOENT': 'there is nothing at this path in the root file system: set `ifPresent`, or leave the rule out',
  'landlock ELOOP': SYMLINK,
  'landlock EPERM': 'Landlock needs no_new_privs or CAP_SYS_ADMIN',
  'landlock E2BIG': 'the sandbox is nested in 16 layers of Landlock already',
  'session-keyring EDQUOT':
    'this user has too many keys: raise the sysctl kernel.keys.maxkeys, or set `sessionKeyring` to insecure-inherit',
  'session-keyring EPERM':
    'a filter around this program forbids keyctl: allow it, or set `sessionKeyring` to insecure-inherit',
  'secure-bits EPERM': 'secure bits need CAP_SETPCAP: run as root or with a user namespace, and not under locked bits',
  'capabilities EPERM': 'the caller does not have one of these capabilities, or a secure bit forbids ambient ones',
  'scheduling EPERM':
    'only CAP_SYS_NICE may ask for more of the processor than the caller has: niceness below it, real-time policies',
  'scheduling EACCES': 'only CAP_SYS_NICE may lower the niceness',
  'scheduling EINVAL': 'none of these processors is there for this program, or the kernel does not have this policy',
  'scheduling EBUSY': 'the machine has no room for these deadlines',
};
