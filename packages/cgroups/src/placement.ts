/** Deciding in which hierarchies, and below which directory of each, a cgroup is made. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { ATTACH, giverOf, lacksFile, needsAttacher } from './apply.js';
import type { MissingLimit } from './cgroup.js';
import { exists, isWritable, readControl } from './control-file.js';
import { CgroupError } from './error.js';
import type { Hierarchy } from './hierarchies.js';
import { controllerOf, DEVICES_V2, planLimits } from './limit-writes.js';
import { type CgroupLimits, type LimitName, limitNames } from './limits.js';

/** A directory in which cgroups can be made. */
export interface Place {
  /** The version of the hierarchy. */
  readonly version: 1 | 2;
  /** The controllers that a cgroup made here can have. */
  readonly controllers: readonly string[];
  /** The directory; its last component is always `casemate`. */
  readonly parent: string;
}

/** A place that takes part in a cgroup. */
export interface ChosenPlace extends Place {
  /** The v2 controllers to hand down. */
  readonly enable: readonly string[];
}

/** Where a cgroup is made, and what it cannot have. */
export interface Placement {
  /** One place for each hierarchy that takes part, with the controllers that the cgroup will have. */
  readonly places: readonly ChosenPlace[];
  /** Limits that no place can give. */
  readonly missing: readonly MissingLimit[];
}

/** What decides over a placement. */
export interface Wanted {
  /** The limits. */
  readonly limits?: CgroupLimits | undefined;
  /** Controllers that count only. */
  readonly accounting?: readonly string[] | undefined;
  /** Where cgroups are to be made instead of the usual place. */
  readonly within?: string | readonly string[] | undefined;
  /** Whether device programs can be attached. */
  readonly canAttach?: boolean | undefined;
}

/** Chooses the places for a cgroup with the wanted limits and statistics. Throws {@link CgroupError}. */
export async function placeCgroup(hierarchies: readonly Hierarchy[], wanted: Wanted): Promise<Placement> {
  const limits = wanted.limits ?? {};
  const all = await placesFor(hierarchies, wanted.within);
  const missing = await missingLimits(hierarchies, all, wanted);
  const tracker = trackerOf(all);
  if (!tracker && missing.length === 0) throw nowhere(hierarchies);
  const givers = new Map<LimitName, Place | undefined>();
  for (const limit of limitNames(limits)) givers.set(limit, giver(all, limit, wanted.canAttach ?? false));
  const places = all.flatMap((place) => choose(place, place === tracker, givers, wanted.accounting ?? []));
  return { places, missing };
}

/** Every place in which this user may make cgroups; `within` names other ones. Throws {@link CgroupError} for bad ones. */
export async function placesFor(
  hierarchies: readonly Hierarchy[],
  within?: string | readonly string[],
): Promise<readonly Place[]> {
  if (within !== undefined && within !== 'own') {
    return Promise.all([within].flat().map((path) => placeWithin(hierarchies, path)));
  }
  const root = isRoot() && within === undefined;
  const places = await Promise.all(hierarchies.map((h) => (root ? rootPlace(h) : delegatedPlace(h))));
  return places.filter((p) => p !== undefined);
}

/** The limits that none of the places can give. */
export async function missingLimits(
  hierarchies: readonly Hierarchy[],
  places: readonly Place[],
  { limits = {}, canAttach = false }: Wanted,
): Promise<readonly MissingLimit[]> {
  const homeless = limitNames(limits)
    .filter((limit) => !giver(places, limit, canAttach))
    .map((limit) => ({ limit, ...whyMissing(hierarchies, places, limit) }));
  const unbuilt = [...(await withoutFile(places, limits, 1)), ...(await withoutFile(places, limits, 2))];
  const all = [...homeless, ...unbuilt];
  return all.filter((m, i) => all.findIndex((o) => o.limit === m.limit) === i);
}

/** Why none of the places can give a limit, and what mends it. */
function whyMissing(
  hierarchies: readonly Hierarchy[],
  places: readonly Place[],
  limit: LimitName,
): { readonly reason: string; readonly remedy: string } {
  const [v1, v2] = [controllerOf(limit, 1), controllerOf(limit, 2) ?? 'cgroup'];
  if (limit === 'devices' && places.some((p) => p.version === 2)) {
    return {
      reason: 'cgroup v2 refuses devices by an eBPF program, and no function to attach one was given',
      remedy: ATTACH,
    };
  }
  if (v1 === undefined && hierarchies.some((h) => h.version === 1 && h.controllers.includes(v2))) {
    return {
      reason: `the ${v2} controller is in a v1 hierarchy, and v1 has no such limit`,
      remedy: `boot with cgroup_no_v1=${v2}, or with systemd.unified_cgroup_hierarchy=1`,
    };
  }
  return whyAway(hierarchies, v1 === undefined ? [v2] : [v2, v1]);
}

/** Why a controller, whichever of its names, cannot be used, and what mends it. */
export function whyAway(
  hierarchies: readonly Hierarchy[],
  [name = '', ...others]: readonly string[],
): { readonly reason: string; readonly remedy: string } {
  const home = hierarchies.find((h) => [name, ...others].some((c) => h.controllers.includes(c)));
  if (home) {
    const remedy = home.version === 2 ? DELEGATE_V2 : DELEGATE_V1;
    return { reason: `${home.mountpoint} is not delegated to this user with the ${name} controller`, remedy };
  }
  return {
    reason: `no mounted cgroup hierarchy has the ${name} controller`,
    remedy: `mount the cgroup hierarchies, or enable the ${name} controller in the kernel (cgroup_enable=${name})`,
  };
}

// Where v1 and v2 could both give device rules, v1 needs no helper.
function giver(places: readonly Place[], limit: LimitName, canAttach: boolean): Place | undefined {
  const plain = giverOf(places, limit);
  if (plain || limit !== 'devices' || !canAttach) return plain;
  return places.find((p) => needsAttacher(limit, p.version));
}

// In v2 a cgroup has only the controllers that were handed down to it.
function choose(
  place: Place,
  isTracker: boolean,
  givers: ReadonlyMap<LimitName, Place | undefined>,
  accounting: readonly string[],
): readonly ChosenPlace[] {
  const given = [...givers].filter(([, p]) => p === place).map(([limit]) => controllerOf(limit, place.version));
  const counted = place.controllers.filter((c) => accounting.includes(c) || accounting.includes(V2_NAMES[c] ?? c));
  const needed = [...new Set([...given, ...counted])].filter((c) => c !== undefined);
  if (needed.length === 0 && !isTracker) return [];
  if (place.version === 1) return [{ ...place, enable: [] }];
  return [{ ...place, controllers: needed, enable: needed.filter((c) => c !== DEVICES_V2) }];
}

async function rootPlace(hierarchy: Hierarchy): Promise<Place | undefined> {
  const { version, controllers, mountpoint } = hierarchy;
  if (!(await isWritable(mountpoint))) return undefined;
  return { version, controllers, parent: `${mountpoint}/${HOME}` };
}

// An ordinary user may act where the caller's own cgroup belongs to that user: cgroup-v2.rst "Delegation".
async function delegatedPlace(hierarchy: Hierarchy): Promise<Place | undefined> {
  const { version, own } = hierarchy;
  if (own === undefined) return undefined;
  const base = basename(own) === PROGRAM_LEAF ? dirname(own) : own;
  const owner = await stat(base).catch(() => undefined);
  const isOurs = owner?.uid === process.geteuid?.() && (await isWritable(base));
  if (!isOurs || !(await isWritable(`${base}/cgroup.procs`))) return undefined;
  const controllers = version === 1 ? hierarchy.controllers : await controllersOf(base);
  return { version, controllers, parent: `${base}/${HOME}` };
}

async function placeWithin(hierarchies: readonly Hierarchy[], path: string): Promise<Place> {
  const real = path.startsWith('/') ? await realpath(path).catch(() => undefined) : undefined;
  const home = hierarchies
    .filter((h) => real === h.mountpoint || real?.startsWith(`${h.mountpoint}/`))
    .sort((a, b) => b.mountpoint.length - a.mountpoint.length)[0];
  if (real === undefined || !home) {
    throw new CgroupError('no-hierarchy', `create cgroup: expected a cgroup directory, got ${path}`, {
      remedy: 'name an existing directory below a mounted cgroup hierarchy',
    });
  }
  if (!(await isWritable(real))) {
    const remedy = home.version === 2 ? DELEGATE_V2 : DELEGATE_V1;
    throw new CgroupError('not-delegated', `create cgroup: expected to be allowed to write ${path}, got no`, {
      remedy,
    });
  }
  const controllers = home.version === 1 ? home.controllers : await controllersOf(real);
  return { version: home.version, controllers, parent: `${real}/${HOME}` };
}

async function controllersOf(base: string): Promise<readonly string[]> {
  const list = await readControl(`${base}/cgroup.controllers`);
  return list?.split(' ').filter(Boolean) ?? [];
}

// Controllers can be built without some of their limits, such as swap accounting. Roots of v2 hierarchies do not tell.
async function withoutFile(
  places: readonly Place[],
  limits: CgroupLimits,
  version: 1 | 2,
): Promise<readonly MissingLimit[]> {
  const missing: MissingLimit[] = [];
  if (!places.some((p) => p.version === version)) return missing;
  const given = limitNames(limits).filter((limit) => giverOf(places, limit)?.version === version);
  const own = Object.fromEntries(given.map((limit) => [limit, limits[limit]]));
  if ('swapMax' in own && limits.memoryMax !== undefined) Object.assign(own, { memoryMax: limits.memoryMax });
  for (const { limit, controller, file, otherFile, extra } of planLimits(own, version)) {
    const place = places.find((p) => p.version === version && p.controllers.includes(controller));
    const sibling = place && dirname(place.parent);
    if (extra || !sibling || !(await hasFiles(sibling, controller))) continue;
    if (!(await exists(`${sibling}/${file}`)) && !(otherFile && (await exists(`${sibling}/${otherFile}`)))) {
      missing.push(lacksFile(limit, `${sibling}/${file}`));
    }
  }
  return missing;
}

// A cgroup that has any limit of the controller has all that the kernel can give.
async function hasFiles(path: string, controller: string): Promise<boolean> {
  const names = await readdir(path).catch(() => []);
  return names.some((name) => name.startsWith(`${controller}.`) && /max|limit|quota|bps/.test(name));
}

// The hierarchy that counts the members: v2 has freeze, kill and events even without a controller.
function trackerOf(places: readonly Place[]): Place | undefined {
  return (
    places.find((p) => p.version === 2) ??
    places.find((p) => p.controllers.includes('freezer')) ??
    places.find((p) => p.controllers.includes('pids')) ??
    places[0]
  );
}

function nowhere(hierarchies: readonly Hierarchy[]): CgroupError {
  if (hierarchies.length === 0) {
    return new CgroupError('no-hierarchy', 'create cgroup: expected a mounted cgroup hierarchy, got none', {
      remedy: 'mount one, for example: mount -t cgroup2 none /sys/fs/cgroup',
    });
  }
  const v2 = hierarchies.some((h) => h.version === 2);
  return new CgroupError('not-delegated', 'create cgroup: expected a directory that this user may write, got none', {
    remedy: v2 ? DELEGATE_V2 : DELEGATE_V1,
  });
}

/** Whether this process acts as root, as far as the cgroup file system cares. */
function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** The leaf into which a v2 cgroup's own processes move, so that it can hand controllers down. */
export const PROGRAM_LEAF = 'casemate-program';

const HOME = 'casemate';
const V2_NAMES: Readonly<Record<string, string>> = { blkio: 'io', cpuacct: 'cpu' };
const DELEGATE_V2 = 'start the program with `systemd-run --user --scope -p Delegate=yes`, or as root';
const DELEGATE_V1 =
  'have root create a cgroup in the hierarchy, chown it to this user and put the program into it, or run as root';
