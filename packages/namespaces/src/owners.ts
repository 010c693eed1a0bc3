/** Owners of id-mapped mounts: ids on disk to ids of the kernel, by way of the ids inside (Documentation/filesystems/idmappings.rst). */
import { bad } from './error.js';
import { checkRanges, type IdMaps } from './id-maps.js';
import type { OwnerMap, OwnerRange } from './mount-spec.js';
import type { IdRange } from './spec.js';

/** The id maps of a mount, as its user namespace has them: `inside` is the id on disk, `outside` that of the kernel. */
export interface KernelOwners {
  /** User ids. */
  readonly uids: readonly IdRange[];
  /** Group ids. */
  readonly gids: readonly IdRange[];
}

/** No map: owners as they are stored. */
export const NO_OWNERS: KernelOwners = { uids: [], gids: [] };

/** The maps of a mount in a sandbox whose ids are `ids`; without those, ids of the inside are ids of the kernel. Throws `bad-spec`. */
export function kernelOwners({ uids, gids }: OwnerMap, ids: IdMaps | undefined): KernelOwners {
  const owners = { uids: translate(uids, ids?.uids), gids: translate(gids, ids?.gids) };
  checkRanges(owners.uids);
  checkRanges(owners.gids);
  return owners;
}

function translate(owners: readonly OwnerRange[], map: readonly IdRange[] | undefined): readonly IdRange[] {
  return owners.flatMap((owner) => {
    const stored = { inside: owner.stored, outside: owner.inside, count: owner.count };
    if (!map) return [stored];
    checkRanges([stored]);
    const parts = map.flatMap((range) => overlap(owner, range));
    const covered = parts.reduce((sum, part) => sum + part.count, 0);
    if (covered === owner.count) return parts;
    throw bad(`expected owners inside that the id map has, got ${owner.inside} … ${owner.inside + owner.count - 1}`);
  });
}

function overlap(owner: OwnerRange, range: IdRange): readonly IdRange[] {
  const start = Math.max(owner.inside, range.inside);
  const count = Math.min(owner.inside + owner.count, range.inside + range.count) - start;
  if (count <= 0) return [];
  return [{ inside: owner.stored + start - owner.inside, outside: range.outside + start - range.inside, count }];
}
