/** What a sandbox is, as data: namespaces, root file system, identities, confinement and the command. */
import type { Cgroup } from '@casemate/cgroups';
import type { Capability } from './capabilities.js';
import type { CapabilitySets, LandlockSpec, Scheduling, SecureBit } from './confinement-spec.js';
import type { MountSpec, RootSpec } from './mount-spec.js';
import type { NetworkSpec } from './network-spec.js';
import type { SeccompProfile } from './seccomp-profile.js';
import type { SystemCallCallback } from './system-call.js';

/** A kind of Linux namespace: namespaces(7). */
export type NamespaceKind = 'user' | 'mount' | 'pid' | 'net' | 'ipc' | 'uts' | 'cgroup' | 'time';

/**
 * A namespace that exists already: that of a process, the one that a file stands for (`/proc/PID/ns/…`, or where it is mounted), or the
 * one of a descriptor of this program, which stays open until the sandbox runs.
 */
export type ExistingNamespace = { readonly pid: number } | { readonly path: string } | { readonly descriptor: number };

/** Everything about one sandbox. All fields but `command` have safe defaults. */
export interface SandboxSpec {
  /** The command and its arguments. The first is an absolute path inside the root; there is no PATH look-up. */
  readonly command: readonly [string, ...string[]];
  /** The whole environment of the command; nothing is inherited. Default: `PATH` alone. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory inside the root. Default `/`. */
  readonly cwd?: string;
  /** The root file system. Without one the command sees the caller's own file system, read-only and without device access. */
  readonly root?: RootSpec;
  /** Further mounts, made in this order after the system mounts. */
  readonly mounts?: readonly MountSpec[];
  /** Whether /proc, /sys (read-only) and a minimal /dev are mounted, with the usual paths masked. Default true. */
  readonly systemMounts?: boolean;
  /** Paths hidden behind an empty file or directory, beside the usual ones. A path that does not exist is skipped. */
  readonly maskedPaths?: readonly string[];
  /** Paths made read-only, beside the usual ones. A path that does not exist is skipped. */
  readonly readOnlyPaths?: readonly string[];
  /** Namespaces to create, not to create, or to join; each is created unless it says otherwise here. */
  readonly namespaces?: Readonly<Partial<Record<NamespaceKind, boolean | ExistingNamespace>>>;
  /** How ids inside map to ids outside. Default: `shifted` for root, `single` for an ordinary user. */
  readonly ids?: IdMapping;
  /** Who the command is, in ids of the inside. Default: 0 and 0, without supplementary groups. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] };
  /** Host name inside; needs the uts namespace. Default `sandbox`. */
  readonly hostname?: string;
  /** NIS domain name inside: getdomainname(2); needs the uts namespace. Default: none. */
  readonly domainname?: string;
  /** The network inside; needs the net namespace. Default: a loopback link and nothing else. */
  readonly network?: NetworkSpec;
  /**
   * Parameters of the kernel below /proc/sys by their names with dots, such as `net.ipv4.ip_unprivileged_port_start`. Only those that
   * belong to a namespace of the sandbox: `net.*`, `kernel.msg*`, `kernel.sem`, `kernel.shm*` and `fs.mqueue.*`.
   */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** What the clocks inside add to those outside, in nanoseconds; needs the time namespace. */
  readonly clockOffsets?: { readonly monotonic?: bigint; readonly boottime?: bigint };
  /** Capabilities that the command keeps: in all five sets, or set by set. Default: none. */
  readonly capabilities?: readonly Capability[] | CapabilitySets;
  /** Secure bits; all others are cleared. Setting any needs CAP_SETPCAP, which root of a user namespace has. Default: as they are. */
  readonly secureBits?: readonly SecureBit[];
  /** Whether set-user-id programs and file capabilities may give the command more than it has. Default false: no_new_privs is set. */
  readonly insecureNewPrivileges?: boolean;
  /** Whether the command gets a session keyring of its own (the default) or the caller's, with what is in it: keyrings(7). */
  readonly sessionKeyring?: 'new' | 'insecure-inherit';
  /** System call filter. Default: {@link defaultSeccompProfile} for the kept capabilities. */
  readonly seccomp?: SandboxSeccomp | 'insecure-none';
  /** What Landlock refuses, beside everything else. Default: nothing. */
  readonly landlock?: LandlockSpec;
  /** How it is scheduled. Default: as the caller is. */
  readonly scheduling?: Scheduling;
  /** Resource limits: setrlimit(2). */
  readonly rlimits?: Readonly<Partial<Record<RlimitName, Rlimit>>>;
  /** The cgroup in which the command starts; made and destroyed by the caller. */
  readonly cgroup?: Cgroup;
  /** -1000 … 1000, higher is killed sooner for want of memory; only root may lower it. Default: inherited. */
  readonly oomScoreAdj?: number;
  /** Whether a tiny init runs as pid 1, forwards signals and reaps, instead of the command itself. Default false. */
  readonly init?: boolean;
  /** File mode creation mask. Default 0o022. */
  readonly umask?: number;
}

/** A system call filter, and who decides about the calls for which a rule has the action `notify`. */
export interface SandboxSeccomp extends SeccompProfile {
  /** Needed if an action is `notify`, and refused otherwise. */
  readonly notify?: SystemCallCallback;
  /** After how many milliseconds without an answer a call fails with `EPERM`. Default 10,000. */
  readonly notifyTimeLimit?: number;
}

/** A run of ids: `count` ids from `inside` on stand for as many from `outside` on. */
export interface IdRange {
  /** First id inside. */
  readonly inside: number;
  /** First id outside. */
  readonly outside: number;
  /** How many. */
  readonly count: number;
}

/**
 * How ids inside map to ids outside.
 *
 * - `single`: one id inside (`inside`, default 0) stands for the caller; needs no privilege
 * - `subordinate`: 0 stands for the caller, 1 and up for the caller's ranges in /etc/subuid and /etc/subgid, by newuidmap(1)
 * - `shifted`: 0 … 65535 (`size`) stand for as many ids that nobody else uses (`base`, default a random one; an `IdPool` gives one that
 *   certainly nobody has); root only. File systems are shown through id-mapped mounts, so that their owners need no change
 * - `custom`: any ranges, at most 340, of which no two overlap. Root may map any ids. An ordinary user may map its own and those in
 *   its ranges of /etc/subuid and /etc/subgid
 */
export type IdMapping =
  | { readonly type: 'single'; readonly inside?: number }
  | { readonly type: 'subordinate' }
  | { readonly type: 'shifted'; readonly base?: number; readonly size?: number }
  | { readonly type: 'custom'; readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };

/** A resource of setrlimit(2), without its prefix. */
export type RlimitName =
  | 'as'
  | 'core'
  | 'cpu'
  | 'data'
  | 'fsize'
  | 'locks'
  | 'memlock'
  | 'msgqueue'
  | 'nice'
  | 'nofile'
  | 'nproc'
  | 'rss'
  | 'rtprio'
  | 'rttime'
  | 'sigpending'
  | 'stack';

/** Soft and hard value in the unit of the resource. */
export interface Rlimit {
  /** What the kernel enforces. */
  readonly soft: number | bigint | 'unlimited';
  /** Up to where the command may raise the soft value. */
  readonly hard: number | bigint | 'unlimited';
}
