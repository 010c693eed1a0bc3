/** The mounts of a sandbox as data: mount(8), mount_setattr(2), and the documents of each file system below Documentation/filesystems. */

/** The root file system of a sandbox. */
export type RootSpec = BindRoot | OverlayRoot | TmpfsRoot | ImageRoot;

/** One more mount. Targets are absolute paths inside; one that passes through a symbolic link is refused. */
export type MountSpec = BindMount | OverlayMount | TmpfsMount | ImageMount | FileMount | KernelMount;

/**
 * Where mounts travel: mount_namespaces(7). None ever lets a mount that is made inside appear outside.
 *
 * - `private`: nowhere
 * - `slave`: what is later mounted below the source outside appears inside too
 * - `shared`: between mount namespaces that the command makes for itself
 * - `slave-shared`: both
 * - `unbindable`: nowhere, and it cannot be bound again
 */
export type MountPropagation = 'private' | 'slave' | 'shared' | 'slave-shared' | 'unbindable';

/**
 * What may be done through a mount. A mount of something that lies outside never allows more than the mount that it lies on: flags
 * are added to those of the source, and none is taken away.
 */
export interface MountFlags {
  /** Whether device files work. Default false. */
  readonly devices?: boolean;
  /** Whether programs can be executed. */
  readonly executable?: boolean;
  /** Whether set-user-id and set-group-id bits and file capabilities count. Default false. */
  readonly setuid?: boolean;
  /** Whether symbolic links are followed; without them Linux 5.14 is needed. Default true. */
  readonly symlinks?: boolean;
  /** When reading a file updates its access time: never (`noatime`), always, or as `relatime` has it. Default: as the source has it. */
  readonly accessTimes?: 'never' | 'always' | 'relative';
  /** Whether reading a directory updates its access time (`nodiratime` if not). Default true. */
  readonly directoryAccessTimes?: boolean;
  /** Where mounts below this one travel. Default `private`. */
  readonly propagation?: MountPropagation;
}

/** A run of ids on disk, and the ids of the inside that stand for them. */
export interface OwnerRange {
  /** First id as the file system stores it. */
  readonly stored: number;
  /** First id of the inside. */
  readonly inside: number;
  /** How many. */
  readonly count: number;
}

/** Owners on disk shown as others inside, by an id-mapped mount; what no range names belongs to nobody. */
export interface OwnerMap {
  /** User ids. */
  readonly uids: readonly OwnerRange[];
  /** Group ids. */
  readonly gids: readonly OwnerRange[];
}

/** Something of the outside that a mount shows. */
export interface MountSource {
  /** Absolute path outside. */
  readonly source: string;
  /**
   * Path below the source, for a source that others may write: it is confined to the source, and no symbolic link is followed on it.
   */
  readonly subpath?: string;
  /**
   * Owners through an id-mapped mount: `true` shows ids on disk as the same ids inside, an {@link OwnerMap} as others. It needs root.
   * Default: true with `shifted` ids, but for a bind with `devices`, as /dev knows no id maps; else false.
   */
  readonly idMapped?: boolean | OwnerMap;
}

/** A directory as the root. */
export interface BindRoot extends MountSource, MountFlags {
  /** Tag. */
  readonly type: 'bind';
  /** Default true; holds for mounts below the source too. */
  readonly readOnly?: boolean;
  /** Whether mounts below the source come along. Default true. */
  readonly recursive?: boolean;
}

/** Layers laid over each other as the root. */
export interface OverlayRoot extends MountFlags {
  /** Tag. */
  readonly type: 'overlay';
  /** Absolute paths of directories outside, or image files; uppermost first, at most 128; never written. */
  readonly lower: readonly [OverlayLayer, ...OverlayLayer[]];
  /** Where changes go: nowhere (read-only), into memory that vanishes with the sandbox, or into a directory. */
  readonly changes: 'refused' | OverlayMemory | OverlayDirectory;
}

/** One layer of an overlay: the path of a directory, or a directory with more to say, or an image file. */
export type OverlayLayer = string | DirectoryLayer | ImageSource;

/** A directory as a layer of an overlay. */
export interface DirectoryLayer extends MountSource {
  /** Tag. */
  readonly type: 'directory';
}

/** Changes are kept in a tmpfs that vanishes with the sandbox. */
export interface OverlayMemory {
  /** Tag. */
  readonly type: 'memory';
  /** Upper bound in bytes. Default 64 MiB. */
  readonly size?: number;
  /** Upper bound of the number of files. Default: the kernel's, half the number of pages of the machine. */
  readonly files?: number;
}

/** Changes are kept in a directory. */
export interface OverlayDirectory {
  /** Tag. */
  readonly type: 'directory';
  /** Absolute path outside; must hold the two directories `upper` and `work`, which belong to whoever is root inside. */
  readonly path: string;
}

/** An empty root in memory; the mounts fill it. */
export interface TmpfsRoot extends TmpfsLimits, MountFlags {
  /** Tag. */
  readonly type: 'tmpfs';
}

/** The bounds of a file system in memory. */
export interface TmpfsLimits {
  /** Upper bound in bytes. Default 64 MiB. */
  readonly size?: number;
  /** Upper bound of the number of files and directories. Default: the kernel's, half the number of pages of the machine. */
  readonly files?: number;
  /** Mode of its root directory. Default 0o755. */
  readonly mode?: number;
  /** Owner of its root directory, in ids of the inside. Default 0 and 0. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/** The file systems of image files. */
export type ImageFileSystem = 'squashfs' | 'erofs' | 'ext4';

/**
 * A file with a file system in it. It is opened once, before the sandbox exists: what happens to the path later changes nothing.
 * It is mounted by the kernel in the name of the caller, which must be root, so it must come from someone whom you trust that far: a
 * file system image can attack the kernel. While it is mounted it is locked (F_OFD_SETLK of fcntl(2)): any number may read it, one alone write it.
 */
export interface ImageSource {
  /** Tag. */
  readonly type: 'image';
  /** Absolute path outside of a regular file, or of a block device. */
  readonly source: string;
  /** What is in it; never guessed. */
  readonly fileSystem: ImageFileSystem;
  /** Where the file system starts, in bytes, a multiple of 512: for a partition. Default 0. */
  readonly offset?: number;
  /** How long it is, in bytes, a multiple of 512. Default: to the end. */
  readonly size?: number;
  /** Whether reads bypass the page cache of the file, where the file below can (loop(4)). Default true. */
  readonly directIo?: boolean;
  /** Owners, as for a bind. */
  readonly idMapped?: boolean | OwnerMap;
}

/** An image file as the root. */
export interface ImageRoot extends ImageSource, MountFlags {
  /** Default true; only ext4 can be written. */
  readonly readOnly?: boolean;
}

/** An image file seen inside. */
export interface ImageMount extends ImageSource, MountFlags {
  /** Absolute path inside; made if it is not there and the root can be written. */
  readonly target: string;
  /** Default true; only ext4 can be written. */
  readonly readOnly?: boolean;
}

/** A file or directory of the outside, seen inside. */
export interface BindMount extends MountSource, MountFlags {
  /** Tag. */
  readonly type: 'bind';
  /** Absolute path inside; made if it is not there and the root can be written. */
  readonly target: string;
  /** Default true; holds for mounts below the source too. */
  readonly readOnly?: boolean;
  /** Whether mounts below the source come along. Default true. */
  readonly recursive?: boolean;
}

/** Layers laid over each other. */
export interface OverlayMount extends Omit<OverlayRoot, 'type'> {
  /** Tag. */
  readonly type: 'overlay';
  /** Absolute path inside. */
  readonly target: string;
}

/** Files in memory. Programs in it cannot be executed unless `executable` says so. */
export interface TmpfsMount extends TmpfsLimits, MountFlags {
  /** Tag. */
  readonly type: 'tmpfs';
  /** Absolute path inside. */
  readonly target: string;
  /** Default false. */
  readonly readOnly?: boolean;
  /** Owners stored in it shown as others, in ids of the inside; works for an ordinary user with subordinate ids too (Linux 6.3). */
  readonly idMapped?: OwnerMap;
}

/** A file whose content stands here, read-only inside and nowhere outside. */
export interface FileMount {
  /** Tag. */
  readonly type: 'file';
  /** Absolute path inside; made if it is not there and the root can be written. */
  readonly target: string;
  /** The content, at most 1 MiB, and with all else of the description at most 4 MiB; text is written as UTF-8. */
  readonly content: string | Uint8Array;
  /** Mode of the file. Default 0o444. */
  readonly mode?: number;
}

/** A file system that the kernel itself fills. */
export type KernelMount = ProcMount | DevptsMount | PlainKernelMount;

/** What all file systems of the kernel have in common. */
export interface KernelMountBase {
  /** Absolute path inside. */
  readonly target: string;
  /** Default false. */
  readonly readOnly?: boolean;
}

/** The processes: proc(5). */
export interface ProcMount extends KernelMountBase {
  /** Tag, and the file system's name. */
  readonly type: 'proc';
  /** What a user sees of the processes of others: their details, their number alone, nothing, or only those that it may trace. Default `all`. */
  readonly processes?: 'all' | 'listed' | 'own' | 'traceable';
  /** Whether only processes are shown, and nothing of the machine (`subset=pid`, Linux 5.8). Default false. */
  readonly only?: 'processes';
  /** Group of the inside whose members see all processes whatever `processes` says. */
  readonly group?: number;
}

/** Pseudo terminals of its own: a new instance that shares none with the outside. */
export interface DevptsMount extends KernelMountBase {
  /** Tag, and the file system's name. */
  readonly type: 'devpts';
  /** Mode of terminals. Default 0o620. */
  readonly mode?: number;
  /** Mode of `ptmx`. Default 0o666. */
  readonly ptmxMode?: number;
  /** Upper bound of the number of terminals. Default: the kernel's. */
  readonly max?: number;
}

/** Devices and links (`sysfs`), message queues, or the cgroups below the sandbox's own (`cgroup2`). */
export interface PlainKernelMount extends KernelMountBase {
  /** Tag, and the file system's name. */
  readonly type: 'sysfs' | 'mqueue' | 'cgroup2';
}
