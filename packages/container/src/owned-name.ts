/** Names of files and directories that say which process made them, so that those of a killed program can be found and removed. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { currentOwner, ownerState } from '@casemate/cgroups/owner';
import { ContainerError } from './error.js';
import { removeTree } from './remove-tree.js';

/** A name that {@link ownedName} made. */
export interface OwnedName {
  /** The whole of it. */
  readonly name: string;
  /** What it was made with. */
  readonly prefix: string;
  /** Whether its maker is known to be gone; one that cannot be judged from here is not. */
  readonly isOrphan: boolean;
}

/** `PREFIX.BOOT.NAMESPACES.PID.START.RANDOM`: this process and this boot. Throws {@link ContainerError} `io` where /proc does not tell. */
export function ownedName(prefix: string): string {
  const owner = currentOwner({ withBoot: true });
  if (!owner?.boot) throw new ContainerError('io', 'read /proc: expected this process and the boot id, got none');
  const random = randomBytes(6).toString('hex');
  return [prefix, owner.boot, owner.namespaces, owner.pid, owner.startTime, random].join('.');
}

/** Which of `names` are owned, and by whom. */
export function ownedAmong(names: readonly string[]): readonly OwnedName[] {
  const self = currentOwner({ withBoot: true });
  return names.flatMap((name) => {
    const match = /^(.+)\.([0-9a-f-]{36})\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]{12}$/.exec(name);
    if (!match) return [];
    const [, prefix = '', boot = '', namespaces = '', pid, startTime = ''] = match;
    const state = ownerState({ boot, namespaces, pid: Number(pid), startTime }, self);
    return [{ name, prefix, isOrphan: state === 'gone' || state === 'zombie' }];
  });
}

/** Removes everything in `directory` that {@link ownedName} named with `prefix` and whose maker is gone; returns the names. */
export async function removeOrphans(directory: string, prefix: string): Promise<readonly string[]> {
  const owned = ownedAmong(await readdir(directory).catch(() => []));
  const orphans = owned.filter((one) => one.prefix === prefix && one.isOrphan).map(({ name }) => name);
  for (const name of orphans) await removeTree(join(directory, name));
  return orphans;
}
