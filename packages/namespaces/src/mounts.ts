/** The mounts of a sandbox as operations, from the staging area to pivot_root(2). */
import { bad } from './error.js';
import type { IdMaps } from './id-maps.js';
import { NO_SLOT, type Operation, type OperationOf } from './operations.js';
import type { BindMount, MountSpec, NamespaceKind, OverlayRoot, RootSpec, SandboxSpec } from './spec.js';

/** Trees, which are opened outside, and the mounts, which are made inside. */
export interface MountPlan {
  /** Performed outside. */
  readonly trees: readonly Operation[];
  /** Performed inside. */
  readonly mounts: readonly Operation[];
}

/** Plans every mount. Throws `NamespaceError` `bad-spec`. */
export function planMounts(spec: SandboxSpec, kinds: ReadonlySet<NamespaceKind>, ids: IdMaps | undefined): MountPlan {
  if (!kinds.has('mount')) return noMounts(spec);
  const planner = new MountPlanner(ids, kinds);
  const mounts: Operation[] = [
    { op: 'private-mounts' },
    { op: 'stage' },
    ...planner.root(spec.root),
    ...(spec.systemMounts === false ? [] : planner.system()),
    ...(spec.mounts ?? []).flatMap((mount) => planner.mount(mount)),
    ...hiding(spec),
    { op: 'pivot-root' },
  ];
  return { trees: planner.trees, mounts };
}

function noMounts(spec: SandboxSpec): MountPlan {
  if (spec.root || spec.mounts?.length || spec.maskedPaths?.length || spec.readOnlyPaths?.length || spec.systemMounts) {
    throw bad('expected the mount namespace beside root, mounts and paths, got none');
  }
  return { trees: [], mounts: [] };
}

function hiding(spec: SandboxSpec): readonly Operation[] {
  const usual = spec.systemMounts !== false;
  const masked = [...(usual ? MASKED : []), ...(spec.maskedPaths ?? [])];
  const readOnly = [...(usual ? READ_ONLY : []), ...(spec.readOnlyPaths ?? [])];
  return [
    ...readOnly.map((path): Operation => ({ op: 'read-only-path', path: inside(path) })),
    ...masked.map((path): Operation => ({ op: 'mask', path: inside(path) })),
  ];
}

/** Numbers the trees while it turns mounts into operations. */
class MountPlanner {
  readonly trees: OperationOf<'tree'>[] = [];
  readonly #ids: IdMaps | undefined;
  readonly #kinds: ReadonlySet<NamespaceKind>;

  constructor(ids: IdMaps | undefined, kinds: ReadonlySet<NamespaceKind>) {
    this.#ids = ids;
    this.#kinds = kinds;
  }

  root(root: RootSpec | undefined): readonly Operation[] {
    if (!root) {
      const attributes = ATTR.readOnly | ATTR.noSuid | ATTR.noDev;
      return [{ op: 'bind', target: '/', from: { slot: NO_SLOT, source: '/' }, recursive: 1, attributes }];
    }
    if (root.type === 'overlay') return [this.#overlay('/', root)];
    if (root.type === 'tmpfs')
      return [tmpfs('/', { size: root.size, mode: 0o755, attributes: ATTR.noSuid | ATTR.noDev })];
    return [this.#bind({ ...root, type: 'bind', target: '/' })];
  }

  mount(mount: MountSpec): readonly Operation[] {
    const target = inside(mount.target);
    if (target === '/') throw bad('expected a mount target below the root, got "/"');
    switch (mount.type) {
      case 'bind':
        return [this.#bind({ ...mount, target })];
      case 'overlay':
        return [this.#overlay(target, mount)];
      case 'tmpfs': {
        const attributes = ATTR.noSuid | ATTR.noDev | (mount.executable ? 0n : ATTR.noExec);
        return [tmpfs(target, { size: mount.size, mode: mount.mode ?? 0o755, attributes })];
      }
      default:
        return [this.#kernel(mount.type, target, mount.readOnly ?? false)];
    }
  }

  system(): readonly Operation[] {
    return [
      this.#kernel('proc', '/proc', false),
      this.#kernel('sysfs', '/sys', true),
      tmpfs('/dev', { size: 65_536, mode: 0o755, attributes: FIRM }),
      ...DEVICES.map((name) => this.#device(name)),
      this.#kernel('devpts', '/dev/pts', false),
      tmpfs('/dev/shm', { size: undefined, mode: 0o1777, attributes: FIRM }),
      ...(this.#kinds.has('ipc') ? [this.#kernel('mqueue', '/dev/mqueue', false)] : []),
      ...DEVICE_LINKS.map(([path, content]): Operation => ({ op: 'symlink', path, content })),
    ];
  }

  #device(name: string): Operation {
    const path = `/dev/${name}`;
    return {
      op: 'bind',
      target: path,
      from: { slot: NO_SLOT, source: path },
      recursive: 0,
      attributes: ATTR.noSuid | ATTR.noExec,
    };
  }

  #bind(mount: BindMount): Operation {
    const recursive = mount.recursive === false ? 0 : 1;
    const attributes =
      ATTR.noSuid |
      (mount.readOnly === false ? 0n : ATTR.readOnly) |
      (mount.devices ? 0n : ATTR.noDev) |
      (mount.executable === false ? ATTR.noExec : 0n);
    const from = this.#layer(mount.source, recursive, mount.idMapped);
    return { op: 'bind', target: mount.target, from, recursive, attributes };
  }

  #overlay(target: string, { lower, changes }: Omit<OverlayRoot, 'type'>): Operation {
    const memory = changes !== 'refused' && changes.type === 'memory';
    const directory = changes !== 'refused' && changes.type === 'directory' ? changes.path : undefined;
    return {
      op: 'overlay',
      target,
      lower: lower.map((source) => this.#layer(source, 0, undefined)),
      changes: changes === 'refused' ? CHANGES.refused : memory ? CHANGES.memory : CHANGES.directory,
      upper: directory === undefined ? { slot: NO_SLOT, source: '' } : this.#layer(directory, 0, undefined),
      size: memory ? String(changes.size ?? TMPFS_SIZE) : '',
      attributes: ATTR.noSuid | ATTR.noDev,
      userXattr: this.#kinds.has('user') ? 1 : 0,
    };
  }

  #layer(source: string, recursive: number, idMapped: boolean | undefined): { slot: number; source: string } {
    const path = outside(source);
    if (idMapped && !this.#ids?.idMappedMounts) throw bad('expected shifted ids beside an id-mapped mount, got none');
    if (!this.#ids?.openOutside) return { slot: NO_SLOT, source: path };
    const slot = this.trees.length;
    const shown = idMapped ?? this.#ids.idMappedMounts;
    this.trees.push({ op: 'tree', slot, recursive, idMapped: shown ? 1 : 0, source: path });
    return { slot, source: path };
  }

  // The kernel gives a new instance only to who owns the namespace that it shows; the outer one is shown read-only instead.
  #kernel(type: 'proc' | 'sysfs' | 'devpts' | 'mqueue', target: string, readOnly: boolean): Operation {
    const shows = SHOWS[type];
    if (shows && !this.#kinds.has(shows)) {
      if (type === 'mqueue') throw bad('expected the ipc namespace beside an mqueue mount, got none');
      const from = { slot: NO_SLOT, source: type === 'proc' ? '/proc' : '/sys' };
      return { op: 'bind', target, from, recursive: 1, attributes: FIRM | ATTR.readOnly };
    }
    const options = type === 'devpts' ? this.#ptsOptions() : [];
    const attributes = (type === 'devpts' ? ATTR.noSuid | ATTR.noExec : FIRM) | (readOnly ? ATTR.readOnly : 0n);
    return { op: 'mount', target, fileSystem: type, options, attributes };
  }

  #ptsOptions(): readonly { readonly key: string; readonly value: string }[] {
    const options = [
      { key: 'newinstance', value: '' },
      { key: 'ptmxmode', value: '0666' },
      { key: 'mode', value: '0620' },
    ];
    const hasTty = !this.#ids || this.#ids.gids.some((r) => TTY_GID >= r.inside && TTY_GID < r.inside + r.count);
    return hasTty ? [...options, { key: 'gid', value: String(TTY_GID) }] : options;
  }
}

function tmpfs(
  target: string,
  { size, mode, attributes }: { size: number | undefined; mode: number; attributes: bigint },
): Operation {
  const options = [
    { key: 'size', value: String(size ?? TMPFS_SIZE) },
    { key: 'mode', value: mode.toString(8).padStart(4, '0') },
  ];
  return { op: 'mount', target, fileSystem: 'tmpfs', options, attributes };
}

function inside(path: string): string {
  return checkPath(path, 'a path inside');
}

function outside(path: string): string {
  return checkPath(path, 'a path outside');
}

function checkPath(path: string, what: string): string {
  const clean = path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..');
  if (!clean) throw bad(`expected ${what} to be absolute and without "..", got ${JSON.stringify(path)}`);
  return path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1');
}

// linux/mount.h
const ATTR = { readOnly: 1n, noSuid: 2n, noDev: 4n, noExec: 8n } as const;
const FIRM = ATTR.noSuid | ATTR.noDev | ATTR.noExec;

const CHANGES = { refused: 0, memory: 1, directory: 2 } as const;
const TMPFS_SIZE = 64 * 1024 * 1024;
const TTY_GID = 5; // Linux Standard Base

const SHOWS: Readonly<Record<'proc' | 'sysfs' | 'devpts' | 'mqueue', NamespaceKind | undefined>> = {
  proc: 'pid',
  sysfs: 'net',
  devpts: undefined,
  mqueue: 'ipc',
};

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'] as const;

const DEVICE_LINKS = [
  ['/dev/ptmx', 'pts/ptmx'],
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
] as const;

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
