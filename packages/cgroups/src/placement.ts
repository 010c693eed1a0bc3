/** Deciding in which hierarchies, and below which directory of each, a cgroup is made. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import type { MissingLimit } from './cgroup.js';
import { readControl } from './control-file.js';
import { CgroupError } from './error.js';
import type { Hierarchy } from './hierarchies.js';
import { type CgroupLimits, controllerOf, limitNames } from './limits.js';

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
  const missing = names
    .filter((name) => !all.some((p) => p.controllers.includes(controllerOf(name))))
    .map((limit) => ({ limit, ...whyMissing(hierarchies, controllerOf(limit)) }));
  const tracker = trackerOf(all);
  if (!tracker && missing.length === 0) throw nowhere(hierarchies);
  const places = all
    .filter((p) => p === tracker || p.controllers.some((c) => needed.has(c)))
    .map((p) => ({ ...p, enable: p.version === 2 ? p.controllers.filter((c) => needed.has(c)) : [] }));
  return { places: places.map(narrow), missing };
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
  const owner = await stat(own).catch(() => undefined);
  if (owner?.uid !== process.geteuid?.() || !(await isWritable(own)) || !(await isWritable(`${own}/cgroup.procs`))) {
    return undefined;
  }
  if (version === 1) return { version, controllers: hierarchy.controllers, parent: `${own}/${HOME}` };
  return { version, controllers: await usableControllers(own), parent: `${own}/${HOME}` };
}

// A cgroup with processes of its own cannot hand controllers down ("no internal processes"); those already on stay usable.
async function usableControllers(own: string): Promise<readonly string[]> {
  const [on, members] = await Promise.all([
    readControl(`${own}/cgroup.subtree_control`),
    readControl(`${own}/cgroup.procs`),
  ]);
  const list = members ? on : await readControl(`${own}/cgroup.controllers`);
  return list?.split(' ').filter(Boolean) ?? [];
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
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

const HOME = 'casemate';
const DELEGATE_V2 = 'start the program with `systemd-run --user --scope -p Delegate=yes`, or as root';
const DELEGATE_V1 =
  'have root create a cgroup in the hierarchy, chown it to this user and put the program into it, or run as root';
