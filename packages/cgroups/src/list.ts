/** Finding cgroups of this package again: those of this program, of others that live, and of some that do not. */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Cgroup, type CgroupDirectory, type DeviceAttacher } from './cgroup.js';
import { readControl } from './control-file.js';
import { childrenOf } from './directory.js';
import { CgroupError } from './error.js';
import { readHierarchies } from './hierarchies.js';
import { isOrphan, labelOf, parseName } from './name.js';
import { currentOwner, type Owner } from './owner.js';
import { type Place, placesFor } from './placement.js';

/** A cgroup of this package as it is found. */
export interface CgroupEntry {
  /** Its whole name, for {@link openCgroup}. */
  readonly name: string;
  /** The label that its maker gave it. */
  readonly label: string;
  /** Process id of its maker, in the maker's pid namespace. */
  readonly owner: number;
  /** Whether the maker is gone, so that the next program removes it; a maker in another pid or time namespace is never judged. */
  readonly isOrphan: boolean;
  /** Its directories. */
  readonly directories: readonly CgroupDirectory[];
}

/** Where to look; as in {@link CgroupOptions}. */
export interface CgroupSearch {
  /** As in {@link CgroupOptions}. */
  readonly within?: 'own' | string | readonly string[];
}

/** The cgroups of this package, of any program, in the places where this user may make them. */
export async function listCgroups(search: CgroupSearch = {}): Promise<readonly CgroupEntry[]> {
  const places = await placesFor(await readHierarchies(), search.within);
  const found = new Map<string, CgroupDirectory[]>();
  for (const place of places) {
    for (const path of await childrenOf(place.parent)) await note(found, place, path);
  }
  const self = currentOwner();
  return [...found].map(([name, directories]) => entryOf(name, directories, self));
}

/**
 * Takes hold of a cgroup of this package that exists, one of this program or one whose maker has handed it over. Whoever calls this may
 * destroy it. Throws {@link CgroupError} `not-found`.
 */
export async function openCgroup(
  name: string,
  options: CgroupSearch & {
    /** As in {@link CgroupOptions}. */
    readonly attachDevices?: DeviceAttacher;
  } = {},
): Promise<Cgroup> {
  const entry = (await listCgroups(options)).find((e) => e.name === name);
  if (entry) return new Cgroup(name, entry.directories, [], options.attachDevices);
  throw new CgroupError('not-found', `open cgroup ${JSON.stringify(name)}: expected one of that name, got none`, {
    remedy: 'list them with listCgroups(); programs of other users and other subtrees (`within`) are not seen',
  });
}

async function note(
  found: Map<string, CgroupDirectory[]>,
  { version, controllers }: Place,
  path: string,
): Promise<void> {
  const name = basename(path);
  if (!parseName(name)) return;
  const inode = (await stat(path, { bigint: true }).catch(() => undefined))?.ino;
  if (inode === undefined) return; // it has been removed meanwhile
  const own =
    version === 1 ? controllers : (await readControl(`${path}/cgroup.controllers`))?.split(' ').filter(Boolean);
  const directory = { version, controllers: own ?? [], path, inode };
  found.set(name, [...(found.get(name) ?? []), directory]);
}

function entryOf(name: string, directories: readonly CgroupDirectory[], self: Owner | undefined): CgroupEntry {
  const owner = parseName(name)?.pid ?? 0;
  return { name, label: labelOf(name), owner, isOrphan: isOrphan(name, self), directories };
}
