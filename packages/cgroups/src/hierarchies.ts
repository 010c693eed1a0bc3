/** Which cgroup hierarchies are mounted, and where this process stands in them: cgroups(7), proc(5) `mountinfo` and `cgroup`. */
import { readFile } from 'node:fs/promises';

/** One mounted cgroup hierarchy as this process sees it. */
export interface Hierarchy {
  /** 2 for the unified hierarchy, 1 for a hierarchy of its own for one or a few controllers. */
  readonly version: 1 | 2;
  /** Where it is mounted. */
  readonly mountpoint: string;
  /** Its controllers: `memory`, `pids`, `cpu` …; for v2 those that the root of the mount offers. */
  readonly controllers: readonly string[];
  /** This process's cgroup in it, as an absolute path below `mountpoint`; undefined if it lies outside the mount. */
  readonly own: string | undefined;
}

/** Reads `/proc/self/mountinfo` and `/proc/self/cgroup`. */
export async function readHierarchies(): Promise<readonly Hierarchy[]> {
  const [mountinfo, cgroup] = await Promise.all([
    readFile('/proc/self/mountinfo', 'utf8'),
    readFile('/proc/self/cgroup', 'utf8'),
  ]);
  const hierarchies = parseHierarchies(mountinfo, cgroup);
  return Promise.all(hierarchies.map(withControllers));
}

/** The pure half of {@link readHierarchies}; v2 controllers are not in these files and stay empty. */
export function parseHierarchies(mountinfo: string, cgroup: string): readonly Hierarchy[] {
  const places = parsePlaces(cgroup);
  const seen = new Set<string>();
  return mountinfo.split('\n').flatMap((line) => {
    const mount = parseMount(line);
    if (!mount) return [];
    const key = mount.version === 2 ? '' : mount.controllers.join(',');
    if (seen.has(key)) return [];
    const place = places.find((p) => sameHierarchy(p, mount));
    if (!place) return [];
    seen.add(key);
    const { root, ...rest } = mount;
    return [{ ...rest, own: below(mount.mountpoint, root, place.path) }];
  });
}

interface Mount {
  readonly version: 1 | 2;
  readonly mountpoint: string;
  readonly controllers: readonly string[];
  readonly root: string;
}

interface Place {
  readonly controllers: readonly string[];
  readonly path: string;
}

// mountinfo: "ID PARENT MAJ:MIN ROOT POINT OPTIONS [FIELDS…] - TYPE SOURCE SUPEROPTIONS"
function parseMount(line: string): Mount | undefined {
  const [left, right] = line.split(' - ');
  const [, , , root, point] = left?.split(' ') ?? [];
  const [type, , options] = right?.split(' ') ?? [];
  if (root === undefined || point === undefined || options === undefined) return undefined;
  const mountpoint = unescapeOctal(point);
  if (type === 'cgroup2') return { version: 2, mountpoint, controllers: [], root: unescapeOctal(root) };
  if (type !== 'cgroup') return undefined;
  const controllers = options.split(',').filter((o) => !MOUNT_OPTIONS.has(o) && !o.startsWith('release_agent='));
  return { version: 1, mountpoint, controllers, root: unescapeOctal(root) };
}

// cgroup: "ID:CONTROLLERS:PATH"; the path may itself hold colons
function parsePlaces(cgroup: string): readonly Place[] {
  return cgroup.split('\n').flatMap((line) => {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (!match) return [];
    const controllers = match[1] ? match[1].split(',') : [];
    return [{ controllers, path: match[2] ?? '/' }];
  });
}

function sameHierarchy(place: Place, mount: Mount): boolean {
  if (mount.version === 2) return place.controllers.length === 0;
  return place.controllers.length > 0 && place.controllers.every((c) => mount.controllers.includes(c));
}

function below(mountpoint: string, root: string, path: string): string | undefined {
  if (path.split('/').includes('..')) return undefined; // the process stands outside its cgroup namespace's root
  if (root === '/') return path === '/' ? mountpoint : mountpoint + path;
  if (path === root) return mountpoint;
  return path.startsWith(`${root}/`) ? mountpoint + path.slice(root.length) : undefined;
}

async function withControllers(hierarchy: Hierarchy): Promise<Hierarchy> {
  if (hierarchy.version === 1) return hierarchy;
  const text = await readFile(`${hierarchy.mountpoint}/cgroup.controllers`, 'utf8').catch(() => '');
  return { ...hierarchy, controllers: text.split(/\s+/).filter(Boolean) };
}

function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

const MOUNT_OPTIONS: ReadonlySet<string> = new Set([
  'rw',
  'ro',
  'xattr',
  'noprefix',
  'clone_children',
  'cpuset_v2_mode',
]);
