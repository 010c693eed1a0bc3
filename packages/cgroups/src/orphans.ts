/** Finding and destroying the cgroups of programs that were killed before they could. */
import { basename } from 'node:path';
import { childrenOf, inodeOf, removeHome, removeTree } from './directory.js';
import { readHierarchies } from './hierarchies.js';
import { isOrphan } from './name.js';
import { currentOwner } from './owner.js';
import { type Place, placesFor } from './placement.js';

/**
 * Destroys every cgroup of this package whose maker is gone, its members killed first; returns their paths.
 * {@link createCgroup} does this by itself, once for each program. Throws {@link CgroupError}.
 */
export async function destroyOrphanCgroups(): Promise<readonly string[]> {
  return destroyOrphans(await placesFor(await readHierarchies()));
}

/** {@link destroyOrphanCgroups} in the given places only. */
export async function destroyOrphans(places: readonly Place[]): Promise<readonly string[]> {
  const destroyed: string[] = [];
  const self = currentOwner();
  for (const { parent, version, controllers } of places) {
    for (const path of await childrenOf(parent)) {
      if (!isOrphan(basename(path), self)) continue;
      const inode = await inodeOf(path);
      if (inode === undefined) continue;
      await removeTree({ version, controllers, path, inode });
      await removeHome(path);
      destroyed.push(path);
    }
  }
  return destroyed;
}
