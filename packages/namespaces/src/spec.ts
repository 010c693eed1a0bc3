/** What a sandbox is, as data: namespaces, root file system, identities, confinement and the command. */
import type { Cgroup } from '@casemate/cgroups';
import type { Capability } from './capabilities.js';
import type { SeccompProfile } from './seccomp-profile.js';

/** A kind of Linux namespace: namespaces(7). */
export type NamespaceKind = 'user' | 'mount' | 'pid' | 'net' | 'ipc' | 'uts' | 'cgroup' | 'time';

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
  /** Namespaces to create or not; each is created unless it is set to false here. */
  readonly namespaces?: Readonly<Partial<Record<NamespaceKind, boolean>>>;
  /** How ids inside map to ids outside. Default: `shifted` for root, `single` for an ordinary user. */
  readonly ids?: IdMapping;
  /** Who the command is, in ids of the inside. Default: 0 and 0, without supplementary groups. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] };
  /** Host name inside; needs the uts namespace. Default `sandbox`. */
  readonly hostname?: string;
  /** What the clocks inside add to those outside, in nanoseconds; needs the time namespace. */
  readonly clockOffsets?: { readonly monotonic?: bigint; readonly boottime?: bigint };
  /** Capabilities that the command keeps, in all five sets. Default: none. */
  readonly capabilities?: readonly Capability[];
  /** System call filter. Default: {@link defaultSeccompProfile} for the kept capabilities. */
  readonly seccomp?: SeccompProfile | 'insecure-none';
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

/** The root file system of a sandbox. */
export type RootSpec = BindRoot | OverlayRoot | TmpfsRoot;

/** A directory as the root. */
export interface BindRoot {
  /** Tag. */
  readonly type: 'bind';
  /** Absolute path of the directory outside. */
  readonly source: string;
  /** Default true. */
  readonly readOnly?: boolean;
}

/** Directories laid over each other as the root. */
export interface OverlayRoot {
  /** Tag. */
  readonly type: 'overlay';
  /** Absolute paths outside, uppermost first; never written. */
  readonly lower: readonly [string, ...string[]];
  /** Where changes go: nowhere (read-only), into memory that vanishes with the sandbox, or into a directory. */
  readonly changes: 'refused' | OverlayMemory | OverlayDirectory;
}

/** Changes are kept in a tmpfs that vanishes with the sandbox. */
export interface OverlayMemory {
  /** Tag. */
  readonly type: 'memory';
  /** Upper bound in bytes. Default 64 MiB. */
  readonly size?: number;
}

/** Changes are kept in a directory. */
export interface OverlayDirectory {
  /** Tag. */
  readonly type: 'directory';
  /** Absolute path outside; must hold the two directories `upper` and `work`, which belong to whoever is root inside. */
  readonly path: string;
}

/** An empty root in memory; the mounts fill it. */
export interface TmpfsRoot {
  /** Tag. */
  readonly type: 'tmpfs';
  /** Upper bound in bytes. Default 64 MiB. */
  readonly size?: number;
}

/** One more mount. Targets are absolute paths inside; one that passes through a symbolic link is refused. */
export type MountSpec = BindMount | OverlayMount | TmpfsMount | KernelMount;

/** A file or directory of the outside, seen inside. */
export interface BindMount {
  /** Tag. */
  readonly type: 'bind';
  /** Absolute path outside. */
  readonly source: string;
  /** Absolute path inside; made if it is not there and the root can be written. */
  readonly target: string;
  /** Default true; holds for mounts below the source too. */
  readonly readOnly?: boolean;
  /** Whether mounts below the source come along. Default true. */
  readonly recursive?: boolean;
  /** Whether device files work. Default false. */
  readonly devices?: boolean;
  /** Whether programs can be executed. Default true. */
  readonly executable?: boolean;
  /** Whether ids on disk are shown as the same ids inside, by an id-mapped mount. Default true with `shifted` ids. */
  readonly idMapped?: boolean;
}

/** Directories laid over each other. */
export interface OverlayMount extends Omit<OverlayRoot, 'type'> {
  /** Tag. */
  readonly type: 'overlay';
  /** Absolute path inside. */
  readonly target: string;
}

/** Files in memory. */
export interface TmpfsMount {
  /** Tag. */
  readonly type: 'tmpfs';
  /** Absolute path inside. */
  readonly target: string;
  /** Upper bound in bytes. Default 64 MiB. */
  readonly size?: number;
  /** Mode of its root directory. Default 0o755. */
  readonly mode?: number;
  /** Whether programs can be executed. Default false. */
  readonly executable?: boolean;
}

/** A file system that the kernel itself fills. */
export interface KernelMount {
  /** Tag, and the file system's name. */
  readonly type: 'proc' | 'sysfs' | 'devpts' | 'mqueue';
  /** Absolute path inside. */
  readonly target: string;
  /** Default false. */
  readonly readOnly?: boolean;
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
 * - `shifted`: 0 … 65535 stand for 65,536 ids that nobody else uses (`base`, default a random one); root only. File systems are
 *   shown through id-mapped mounts, so that their owners need no change
 * - `custom`: any ranges; root only, unless each is a single one of the caller's
 */
export type IdMapping =
  | { readonly type: 'single'; readonly inside?: number }
  | { readonly type: 'subordinate' }
  | { readonly type: 'shifted'; readonly base?: number }
  | { readonly type: 'custom'; readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };

/** A resource of setrlimit(2), without its prefix. */
export type RlimitName =
  | 'as'
  | 'core'
  | 'cpu'
  | 'data'
  | 'fsize'
  | 'memlock'
  | 'msgqueue'
  | 'nice'
  | 'nofile'
  | 'nproc'
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
