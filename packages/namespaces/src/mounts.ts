/** The mounts of a sandbox as operations, from the staging area to pivot_root(2). */
import type { Caller } from './caller.js';
import { bad } from './error.js';
import type { IdMaps } from './id-maps.js';
import { isRoot } from './id-maps.js';
import type {
  BindMount,
  DevptsMount,
  FileMount,
  ImageSource,
  KernelMount,
  MountFlags,
  MountPropagation,
  MountSpec,
  OverlayLayer,
  OverlayRoot,
  OwnerMap,
  ProcMount,
  RootSpec,
  TmpfsLimits,
  TmpfsMount,
} from './mount-spec.js';
import { NO_SLOT, type Operation, type OperationOf, shared } from './operations.js';
import { type KernelOwners, kernelOwners, NO_OWNERS } from './owners.js';
import type { NamespaceKind, SandboxSpec } from './spec.js';

/** Trees, which are opened outside, and the mounts, which are made inside. */
export interface MountPlan {
  /** Performed outside. */
  readonly trees: readonly Operation[];
  /** Performed inside. */
  readonly mounts: readonly Operation[];
}

/** What mounts depend on beside their description. */
export interface MountSurroundings {
  /** The namespaces that are created. */
  readonly kinds: ReadonlySet<NamespaceKind>;
  /** The id maps, if there is a user namespace. */
  readonly ids: IdMaps | undefined;
  /** Who starts the sandbox. */
  readonly caller: Caller;
  /** Files to lay into the root before the mounts of the description. */
  readonly files: readonly FileMount[];
}

type Layer = OperationOf<'bind'>['from'];
type Options = OperationOf<'mount'>['options'];

/** Plans every mount. Throws `NamespaceError` `bad-spec`. */
export function planMounts(spec: SandboxSpec, surroundings: MountSurroundings): MountPlan {
  if (!surroundings.kinds.has('mount')) return noMounts(spec, surroundings);
  const planner = new MountPlanner(surroundings);
  const mounts: Operation[] = [
    arriving(spec),
    STAGE,
    ...planner.root(spec.root),
    ...(spec.systemMounts === false ? [] : planner.system()),
    ...[...surroundings.files, ...(spec.mounts ?? [])].map((mount) => planner.mount(mount)),
    ...hiding(spec),
    PIVOT_ROOT,
  ];
  // The kernel makes no user namespace any more once the staging area covers the root.
  return { trees: planner.trees, mounts: [...planner.owners, ...mounts] };
}

function noMounts(spec: SandboxSpec, { files }: MountSurroundings): MountPlan {
  const paths = [...(spec.maskedPaths ?? []), ...(spec.readOnlyPaths ?? [])];
  if (spec.root || spec.mounts?.length || paths.length > 0 || files.length > 0 || spec.systemMounts) {
    throw bad('expected the mount namespace beside root, mounts, paths and files, got none');
  }
  return { trees: [], mounts: [] };
}

// What is mounted outside later reaches us only if it is to be passed on.
function arriving({ root, mounts = [] }: SandboxSpec): Operation {
  const flags: readonly (MountFlags | MountSpec | RootSpec | undefined)[] = [root, ...mounts];
  const passes = flags.some((mount) => mount && 'propagation' in mount && mount.propagation?.startsWith('slave'));
  return passes ? SLAVE_MOUNTS : PRIVATE_MOUNTS;
}

function hiding(spec: SandboxSpec): readonly Operation[] {
  const usual = spec.systemMounts !== false;
  const readOnly = (spec.readOnlyPaths ?? []).map((path) => below(path, 'a path to make read-only'));
  const masked = (spec.maskedPaths ?? []).map((path) => below(path, 'a path to mask'));
  return [
    ...(usual ? USUAL_READ_ONLY : []),
    ...readOnly.map((path): Operation => ({ op: 'read-only-path', path })),
    ...(usual ? USUAL_MASKS : []),
    ...masked.map((path): Operation => ({ op: 'mask', path })),
  ];
}

/** Numbers the trees while it turns mounts into operations. */
class MountPlanner {
  readonly trees: Operation[] = [];
  readonly owners: Operation[] = [];
  readonly #ids: IdMaps | undefined;
  readonly #kinds: ReadonlySet<NamespaceKind>;
  readonly #caller: Caller;

  constructor({ ids, kinds, caller }: MountSurroundings) {
    this.#ids = ids;
    this.#kinds = kinds;
    this.#caller = caller;
  }

  root(root: RootSpec | undefined): readonly Operation[] {
    if (!root) {
      const from = { slot: NO_SLOT, source: '/', below: '' };
      const attributes = ATTR.readOnly | ATTR.noSuid | ATTR.noDev;
      return [{ op: 'bind', target: '/', from, recursive: 1, attributes, clear: 0n, propagation: PROPAGATION.private }];
    }
    switch (root.type) {
      case 'bind':
        return [this.#bind({ ...root, target: '/' })];
      case 'overlay':
        return [this.#overlay('/', root)];
      case 'tmpfs':
        return [this.#tmpfs('/', { ...root, target: '/' }, true)];
      case 'image':
        return [this.#image('/', root)];
    }
  }

  mount(mount: MountSpec): Operation {
    const target = below(mount.target, 'a mount target');
    switch (mount.type) {
      case 'bind':
        return this.#bind({ ...mount, target });
      case 'overlay':
        return this.#overlay(target, mount);
      case 'tmpfs':
        return this.#tmpfs(target, mount, false);
      case 'image':
        return this.#image(target, mount);
      case 'file':
        return file(target, mount);
      default:
        return this.#kernel(mount, target);
    }
  }

  /** The mounts that every sandbox has: the same ones for all whose namespaces and ids allow the same. */
  system(): readonly Operation[] {
    const { pid, net, ipc } = { pid: this.#kinds.has('pid'), net: this.#kinds.has('net'), ipc: this.#kinds.has('ipc') };
    const key = `${pid} ${net} ${ipc} ${this.#hasGroup(TTY_GID)}`;
    const known = SYSTEM.get(key);
    if (known) return known;
    const made = this.#system(ipc).map(shared);
    SYSTEM.set(key, made);
    return made;
  }

  #system(ipc: boolean): readonly Operation[] {
    return [
      this.#kernel({ type: 'proc', target: '' }, '/proc'),
      this.#kernel({ type: 'sysfs', target: '', readOnly: true }, '/sys'),
      memory('/dev', { size: 65_536 }, FIRM),
      devices(ipc ? ['pts', 'shm', 'mqueue'] : ['pts', 'shm']),
      this.#kernel({ type: 'devpts', target: '' }, '/dev/pts'),
      memory('/dev/shm', { mode: 0o1777 }, FIRM),
      ...(ipc ? [this.#kernel({ type: 'mqueue', target: '' }, '/dev/mqueue')] : []),
    ];
  }

  #bind(mount: BindMount): Operation {
    const recursive = mount.recursive === false ? 0 : 1;
    // The kernel's own file system of devices knows no id maps.
    const idMapped = mount.idMapped ?? (mount.devices ? false : undefined);
    const from = this.#layer({ ...mount, idMapped }, recursive, propagationOf(mount) & PROPAGATION.slave);
    const readOnly = mount.readOnly ?? true;
    return {
      op: 'bind',
      target: mount.target,
      from,
      recursive,
      ...attributesOf({ ...mount, readOnly }),
      propagation: propagationOf(mount),
    };
  }

  #image(target: string, image: ImageSource & MountFlags & { readonly readOnly?: boolean }): Operation {
    const readOnly = image.readOnly ?? true;
    const from = this.#imageLayer(image, !readOnly);
    const flags = attributesOf({ ...image, readOnly });
    return { op: 'bind', target, from, recursive: 0, ...flags, propagation: propagationOf(image) };
  }

  #overlay(target: string, overlay: Omit<OverlayRoot, 'type'>): Operation {
    const { lower, changes } = overlay;
    if (lower.length > 128) throw bad(`expected at most 128 layers, got ${lower.length}`);
    if (changes === 'refused' && lower.length === 1) return this.#alone(target, overlay);
    const directory = changes !== 'refused' && changes.type === 'directory' ? changes.path : undefined;
    return {
      op: 'overlay',
      target,
      lower: lower.map((layer) => this.#overlayLayer(layer)),
      changes: changes === 'refused' ? CHANGES.refused : CHANGES[changes.type],
      upper: directory === undefined ? NO_LAYER : this.#layer({ source: directory }, 0, 0),
      memory: changes !== 'refused' && changes.type === 'memory' ? tmpfsOptions(changes) : [],
      attributes: attributesOf({ ...overlay, readOnly: false }).attributes,
      propagation: propagationOf(overlay),
      userXattr: this.#kinds.has('user') ? 1 : 0,
    };
  }

  // The kernel makes no overlay of one layer without changes; it is that layer, read-only.
  #alone(target: string, overlay: Omit<OverlayRoot, 'type'>): Operation {
    const flags = attributesOf({ ...overlay, readOnly: true });
    const from = this.#overlayLayer(overlay.lower[0]);
    return { op: 'bind', target, from, recursive: 0, ...flags, propagation: propagationOf(overlay) };
  }

  #overlayLayer(layer: OverlayLayer): Layer {
    if (typeof layer === 'string') return this.#layer({ source: layer }, 0, 0);
    return layer.type === 'image' ? this.#imageLayer(layer, false) : this.#layer(layer, 0, 0);
  }

  #layer(
    {
      source,
      subpath,
      idMapped,
    }: Pick<BindMount, 'source' | 'subpath'> & { readonly idMapped?: boolean | OwnerMap | undefined },
    recursive: number,
    propagation: number,
  ): Layer {
    const path = checkPath(source, 'a path outside');
    const way = subpath === undefined ? '' : checkSubpath(subpath);
    const owners = this.#owners(idMapped);
    if (!this.#ids?.openOutside && owners.idMap === 0) return { slot: NO_SLOT, source: path, below: way };
    const slot = this.#slot();
    this.trees.push({ op: 'tree', slot, recursive, propagation, source: path, below: way, ...owners });
    return { slot, source: path, below: '' };
  }

  #imageLayer({ source, fileSystem, offset = 0, size = 0, directIo, idMapped }: ImageSource, writable: boolean): Layer {
    const path = checkPath(source, 'the path of an image');
    const options = IMAGE_OPTIONS[fileSystem];
    if (!options) throw bad(`expected an image of ${Object.keys(IMAGE_OPTIONS).join(', ')}, got ${fileSystem}`);
    if (writable && fileSystem !== 'ext4') throw bad(`expected readOnly beside a ${fileSystem} image, got none`);
    for (const [name, bytes] of [
      ['offset', offset],
      ['size', size],
    ] as const) {
      if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes % 512 !== 0)
        throw bad(`expected the ${name} of an image in bytes as a multiple of 512, got ${bytes}`);
    }
    if (!isRoot(this.#caller)) throw bad(`expected root beside an image, got an ordinary user`, IMAGE_REMEDY);
    const slot = this.#slot();
    const details = { fileSystem, writable: writable ? 1 : 0, directIo: directIo === false ? 0 : 1, options };
    const extent = { offset: BigInt(offset), size: BigInt(size) };
    this.trees.push({ op: 'image', slot, source: path, ...details, ...extent, ...this.#owners(idMapped) });
    return { slot, source: path, below: '' };
  }

  #slot(): number {
    if (this.trees.length >= MAX_SLOTS) throw bad(`expected at most ${MAX_SLOTS} sources, got more`);
    return this.trees.length;
  }

  #owners(idMapped: boolean | OwnerMap | undefined): KernelOwners & { readonly idMap: number } {
    if (idMapped === undefined)
      return { ...NO_OWNERS, idMap: this.#ids?.idMappedMounts ? OWNERS.sandbox : OWNERS.stored };
    if (idMapped === false) return { ...NO_OWNERS, idMap: OWNERS.stored };
    if (!isRoot(this.#caller))
      throw bad('expected root beside an id-mapped mount, got an ordinary user', ID_MAPPED_REMEDY);
    if (idMapped !== true) return { ...kernelOwners(idMapped, this.#ids), idMap: OWNERS.own };
    if (!this.#ids) throw bad('expected the user namespace beside an id-mapped mount, got none');
    return { ...NO_OWNERS, idMap: OWNERS.sandbox };
  }

  #tmpfs(target: string, mount: Omit<TmpfsMount, 'type'>, executable: boolean): Operation {
    const flags = { executable, ...mount, readOnly: mount.readOnly ?? false };
    const owners = mount.idMapped ? this.#ownersInMemory(mount.idMapped) : 0;
    return { ...memory(target, mount, attributesOf(flags).attributes), propagation: propagationOf(mount), owners };
  }

  // Made inside, by root of the inside: the ids on the right are those of the inside, as they stand.
  #ownersInMemory(map: OwnerMap): number {
    if (!this.#ids && !isRoot(this.#caller))
      throw bad('expected the user namespace beside an id-mapped mount, got none');
    if (this.#ids?.denySetgroups) {
      const remedy = 'use ids of type subordinate';
      throw bad('expected an id map of more than one id beside an id-mapped mount, got one', remedy);
    }
    if (this.owners.length === MAX_OWNERS) throw bad(`expected at most ${MAX_OWNERS} id-mapped tmpfs, got more`);
    this.owners.push({ op: 'owners', ...kernelOwners(map, undefined) });
    return this.owners.length;
  }

  // The kernel gives a new instance only to who owns the namespace that it shows; the outer one is shown read-only instead.
  #kernel(mount: KernelMount, target: string): Operation {
    const shows = SHOWS[mount.type];
    if (shows && !this.#kinds.has(shows)) return this.#outerKernel(mount, target);
    const attributes =
      (mount.type === 'devpts' ? ATTR.noSuid | ATTR.noExec : FIRM) | (mount.readOnly ? ATTR.readOnly : 0n);
    return { op: 'mount', target, fileSystem: mount.type, options: this.#kernelOptions(mount), attributes, ...PRIVATE };
  }

  #outerKernel(mount: KernelMount, target: string): Operation {
    if (mount.type !== 'proc' && mount.type !== 'sysfs')
      throw bad(`expected the ${SHOWS[mount.type]} namespace beside a mount of ${mount.type}, got none`);
    if (mount.type === 'proc' && (mount.processes || mount.only || mount.group !== undefined))
      throw bad('expected the pid namespace beside options of proc, got none');
    const from = { slot: NO_SLOT, source: mount.type === 'proc' ? '/proc' : '/sys', below: '' };
    const propagation = PROPAGATION.private;
    return { op: 'bind', target, from, recursive: 1, attributes: FIRM | ATTR.readOnly, clear: 0n, propagation };
  }

  #kernelOptions(mount: KernelMount): Options {
    if (mount.type === 'proc') return this.#procOptions(mount);
    if (mount.type === 'devpts') return this.#ptsOptions(mount);
    return [];
  }

  #procOptions({ processes = 'all', only, group }: ProcMount): Options {
    const hidden = HIDE_PID[processes];
    if (hidden === undefined) throw bad(`expected processes as ${Object.keys(HIDE_PID).join(', ')}, got ${processes}`);
    if (group !== undefined && !this.#hasGroup(group)) throw bad(`expected a group that the id map has, got ${group}`);
    return [
      ...(processes === 'all' ? [] : [{ key: 'hidepid', value: hidden }]),
      ...(only === undefined ? [] : [{ key: 'subset', value: 'pid' }]),
      ...(group === undefined ? [] : [{ key: 'gid', value: String(group) }]),
    ];
  }

  #ptsOptions({ mode = 0o620, ptmxMode = 0o666, max }: DevptsMount): Options {
    return [
      { key: 'newinstance', value: '' },
      { key: 'ptmxmode', value: octal(ptmxMode) },
      { key: 'mode', value: octal(mode) },
      ...(max === undefined ? [] : [{ key: 'max', value: count(max, 'the number of terminals') }]),
      ...(this.#hasGroup(TTY_GID) ? [{ key: 'gid', value: String(TTY_GID) }] : []),
    ];
  }

  #hasGroup(gid: number): boolean {
    return !this.#ids || this.#ids.gids.some((r) => gid >= r.inside && gid < r.inside + r.count);
  }
}

function devices(directories: readonly string[]): Operation {
  const attributes = ATTR.noSuid | ATTR.noExec;
  return { op: 'devices', target: '/dev', attributes, names: DEVICES, directories, links: DEVICE_LINKS };
}

function file(target: string, { content, mode = 0o444 }: FileMount): Operation {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  if (bytes.length > 1 << 20) throw bad(`expected at most 1 MiB of content for ${target}, got ${bytes.length} bytes`);
  return { op: 'file', target, mode: Number.parseInt(octal(mode), 8), content: bytes };
}

function memory(target: string, limits: TmpfsLimits, attributes: bigint): OperationOf<'mount'> {
  return { op: 'mount', target, fileSystem: 'tmpfs', options: tmpfsOptions(limits), attributes, ...PRIVATE };
}

function tmpfsOptions({ size = TMPFS_SIZE, files, mode = 0o755, owner }: TmpfsLimits): Options {
  return [
    { key: 'size', value: count(size, 'the size of a tmpfs') },
    { key: 'mode', value: octal(mode) },
    ...(files === undefined ? [] : [{ key: 'nr_inodes', value: count(files, 'the number of files of a tmpfs') }]),
    ...(owner
      ? [
          { key: 'uid', value: String(owner.uid) },
          { key: 'gid', value: String(owner.gid) },
        ]
      : []),
  ];
}

// Zero would mean "no bound" to the kernel.
function count(value: number, what: string): string {
  if (!Number.isSafeInteger(value) || value < 1) throw bad(`expected ${what} as a whole number above 0, got ${value}`);
  return String(value);
}

function octal(mode: number): string {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw bad(`expected a file mode 0 … 0o7777, got ${mode}`);
  return mode.toString(8).padStart(4, '0');
}

function attributesOf(flags: MountFlags & { readonly readOnly: boolean }): {
  readonly attributes: bigint;
  readonly clear: bigint;
} {
  const access = flags.accessTimes;
  const times = access === undefined ? undefined : ACCESS_TIMES[access];
  if (access !== undefined && times === undefined) {
    throw bad(`expected accessTimes as ${Object.keys(ACCESS_TIMES).join(', ')}, got ${access}`);
  }
  const attributes =
    (flags.readOnly ? ATTR.readOnly : 0n) |
    (flags.setuid ? 0n : ATTR.noSuid) |
    (flags.devices ? 0n : ATTR.noDev) |
    (flags.executable === false ? ATTR.noExec : 0n) |
    (flags.symlinks === false ? ATTR.noSymlinks : 0n) |
    (flags.directoryAccessTimes === false ? ATTR.noDirectoryTimes : 0n) |
    (times ?? 0n);
  return { attributes, clear: times === undefined ? 0n : ATTR.allTimes };
}

function propagationOf({ propagation = 'private' }: MountFlags): number {
  const value = PROPAGATION[propagation];
  if (value === undefined)
    throw bad(`expected a propagation of ${Object.keys(PROPAGATION).join(', ')}, got ${propagation}`);
  return value;
}

function below(path: string, what: string): string {
  const clean = checkPath(path, what);
  if (clean === '/') throw bad(`expected ${what} below the root, got "/"`);
  return clean;
}

function checkSubpath(path: string): string {
  const clean = checkPath(`/${path}`, 'a subpath');
  return clean === '/' ? '' : clean.slice(1);
}

function checkPath(path: string, what: string): string {
  const clean = path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..');
  if (!clean) throw bad(`expected ${what} to be absolute and without "..", got ${JSON.stringify(path)}`);
  return path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1');
}

// linux/mount.h
const ATTR = {
  readOnly: 0x1n,
  noSuid: 0x2n,
  noDev: 0x4n,
  noExec: 0x8n,
  allTimes: 0x70n,
  noDirectoryTimes: 0x80n,
  noSymlinks: 0x20_0000n,
} as const;
const FIRM = ATTR.noSuid | ATTR.noDev | ATTR.noExec;
const ACCESS_TIMES: Readonly<Record<'never' | 'always' | 'relative', bigint>> = {
  relative: 0n,
  never: 0x10n,
  always: 0x20n,
};

// MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE and MS_SHARED of sys/mount.h; the launcher sets the lower of two first.
const PROPAGATION: Readonly<Record<MountPropagation, number>> = {
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  'slave-shared': (1 << 19) | (1 << 20),
};
const PRIVATE = { propagation: PROPAGATION.private, owners: 0 } as const;

const PRIVATE_MOUNTS = shared({ op: 'private-mounts', propagation: PROPAGATION.private });
const SLAVE_MOUNTS = shared({ op: 'private-mounts', propagation: PROPAGATION.slave });
const STAGE = shared({ op: 'stage' });
const PIVOT_ROOT = shared({ op: 'pivot-root' });

/** What the launcher takes for the owners of a tree. */
const OWNERS = { stored: 0, sandbox: 1, own: 2 } as const;
const CHANGES = { refused: 0, memory: 1, directory: 2 } as const;
const NO_LAYER: Layer = { slot: NO_SLOT, source: '', below: '' };
const MAX_OWNERS = 16;
const MAX_SLOTS = 218; // the kernel passes at most 253 descriptors at once, and streams and cgroups take their part
const TMPFS_SIZE = 64 * 1024 * 1024;
const TTY_GID = 5; // Linux Standard Base

const SHOWS: Readonly<Record<KernelMount['type'], NamespaceKind | undefined>> = {
  proc: 'pid',
  sysfs: 'net',
  devpts: undefined,
  mqueue: 'ipc',
  cgroup2: 'cgroup',
};

// proc(5), hidepid
const HIDE_PID: Readonly<Record<NonNullable<ProcMount['processes']>, string>> = {
  all: 'off',
  listed: 'noaccess',
  own: 'invisible',
  traceable: 'ptraceable',
};

// A superblock may ask the kernel to panic on an error in it; the mount option has the last word.
const IMAGE_OPTIONS: Readonly<Record<ImageSource['fileSystem'], Options>> = {
  squashfs: [{ key: 'errors', value: 'continue' }],
  erofs: [],
  ext4: [{ key: 'errors', value: 'remount-ro' }],
};

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'] as const;

const DEVICE_LINKS = [
  { name: 'ptmx', content: 'pts/ptmx' },
  { name: 'fd', content: '/proc/self/fd' },
  { name: 'stdin', content: '/proc/self/fd/0' },
  { name: 'stdout', content: '/proc/self/fd/1' },
  { name: 'stderr', content: '/proc/self/fd/2' },
] as const;

const SYSTEM = new Map<string, readonly Operation[]>();

// What proc(5) and sysfs tell about the machine as a whole, or let its owner do to it.
const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
] as const;

const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'] as const;

const USUAL_READ_ONLY = READ_ONLY.map((path) => shared({ op: 'read-only-path', path }));
const USUAL_MASKS = MASKED.map((path) => shared({ op: 'mask', path }));

const ID_MAPPED_REMEDY = 'run as root; or give the source to the ids of the sandbox, and leave idMapped out';
const IMAGE_REMEDY =
  'run as root, which the kernel wants for file systems from devices; or unpack the image, or mount it with FUSE, and use a bind or overlay';
