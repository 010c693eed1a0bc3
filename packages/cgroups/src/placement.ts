/** Deciding in which hierarchies, and below which directory of each, a cgroup is made. */
import { constants } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { MissingLimit } from './cgroup.js';
import { readControl } from './control-file.js';
import { CgroupError } from './error.js';
import type { Hierarchy } from './hierarchies.js';
import { type CgroupLimits, controllerOf, type LimitName, limitNames, planLimits } from './limits.js';

/** A directory in which cgroups can be made. */
export interface Place {
  /** The version of the hierarchy. */
  readonly version: 1 | 2;
  /** The controllers that a cgroup made here has. */
  readonly controllers: readonly string[];
  /** The directory; its last component is always `casemate`. */
  readonly parent: string;
}

/** Where a cgroup is made, and what it cannot have. */
export interface Placement {
  /** One place for each hierarchy that takes part; `enable` are the v2 controllers to hand down to it. */
  readonly places: readonly (Place & { readonly enable: readonly string[] })[];
  /** Limits that no place can give. */
  readonly missing: readonly MissingLimit[];
}

/** Chooses the places for a cgroup with the wanted limits and statistics. Throws {@link CgroupError}. */
export async function placeCgroup(
  hierarchies: readonly Hierarchy[],
  wanted: {
    readonly limits?: CgroupLimits;
    readonly accounting?: readonly string[];
    readonly insecureSkipMissingLimits?: boolean;
  },
): Promise<Placement> {
  const all = await placesFor(hierarchies);
  const names = limitNames(wanted.limits ?? {});
  const needed = new Set([...names.map(controllerOf), ...(wanted.accounting ?? [])]);
  const missing = await missingLimits(hierarchies, all, wanted.limits ?? {});
  const tracker = trackerOf(all);
  if (!tracker && missing.length === 0) throw nowhere(hierarchies);
  const places = all
    .filter((p) => p === tracker || p.controllers.some((c) => needed.has(c)))
    .map((p) => ({ ...p, enable: p.version === 2 ? p.controllers.filter((c) => needed.has(c)) : [] }));
  return { places: places.map(narrow), missing };
}

/** The limits among `limits` that none of the places can give. */
export async function missingLimits(
  hierarchies: readonly Hierarchy[],
  places: readonly Place[],
  limits: CgroupLimits,
): Promise<readonly MissingLimit[]> {
  const homeless = limitNames(limits)
    .filter((name) => !places.some((p) => p.controllers.includes(controllerOf(name))))
    .map((limit) => ({ limit, ...whyMissing(hierarchies, controllerOf(limit)) }));
  const unbuilt = [...(await withoutFile(places, limits, 1)), ...(await withoutFile(places, limits, 2))];
  return [...homeless, ...unbuilt.filter((m, i) => unbuilt.findIndex((o) => o.limit === m.limit) === i)];
}

/** Every place in which this user may make cgroups. */
export async function placesFor(hierarchies: readonly Hierarchy[]): Promise<readonly Place[]> {
  const places = await Promise.all(hierarchies.map((h) => (isRoot() ? rootPlace(h) : delegatedPlace(h))));
  return places.filter((p) => p !== undefined);
}

/** Why the limits of `controller` cannot be given by this user, and what mends it. */
export function whyMissing(hierarchies: readonly Hierarchy[], controller: string): { reason: string; remedy: string } {
  const home = hierarchies.find((h) => h.controllers.includes(controller));
  if (!home) {
    return {
      reason: `no mounted cgroup hierarchy has the ${controller} controller`,
      remedy: `mount the cgroup hierarchies, or enable the ${controller} controller in the kernel (cgroup_enable=${controller})`,
    };
  }
  return {
    reason: `${home.mountpoint} is not delegated to this user`,
    remedy: home.version === 2 ? DELEGATE_V2 : DELEGATE_V1,
  };
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
  if (owner?.uid !== process.geteuid?.() || !(await isWritable(base)) || !(await isWritable(`${base}/cgroup.procs`))) {
    return undefined;
  }
  const controllers = version === 1 ? hierarchy.controllers : await delegatedControllers(base);
  return { version, controllers, parent: `${base}/${HOME}` };
}

async function delegatedControllers(base: string): Promise<readonly string[]> {
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
  for (const { limit, controller, file } of planLimits(limits, version)) {
    const place = places.find((p) => p.version === version && p.controllers.includes(controller));
    const sibling = place && dirname(place.parent);
    if (!sibling || !(await hasFiles(sibling, controller)) || (await exists(`${sibling}/${file}`))) continue;
    missing.push(lacksFile(limit, `${sibling}/${file}`));
  }
  return missing;
}

// A cgroup that has any limit of the controller has all that the kernel can give.
async function hasFiles(path: string, controller: string): Promise<boolean> {
  const names = await readdir(path).catch(() => []);
  return names.some((name) => name.startsWith(`${controller}.`) && /max|limit|quota/.test(name));
}

/** The missing limit whose control file the kernel does not have. */
export function lacksFile(limit: LimitName, path: string): MissingLimit {
  return {
    limit,
    reason: `the kernel has no ${path}`,
    remedy: limit === 'swapMax' ? 'boot with swapaccount=1' : 'use a kernel whose controller has this limit',
  };
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

// In v2 a cgroup has only the controllers that were handed down to it.
function narrow<P extends Placement['places'][number]>(place: P): P {
  return place.version === 2 ? { ...place, controllers: place.enable } : place;
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

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}

/** The leaf into which a v2 cgroup's own processes move, so that it can hand controllers down. */
export const PROGRAM_LEAF = 'casemate-program';

const HOME = 'casemate';
const DELEGATE_V2 = 'start the program with `systemd-run --user --scope -p Delegate=yes`, or as root';
const DELEGATE_V1 =
  'have root create a cgroup in the hierarchy, chown it to this user and put the program into it, or run as root';
