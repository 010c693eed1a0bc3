/** Names of files and directories that say which process made them, so that those of a killed program can be found and removed. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { currentOwner, type Owner, ownerState } from '@casemate/cgroups/owner';
import { ContainerError } from './error.js';
import { removeTree } from './remove-tree.js';

/** `PREFIX.BOOT.NAMESPACES.PID.START.RANDOM`: this process and this boot. Throws {@link ContainerError} `io` where /proc does not tell. */
export function ownedName(prefix: string): string {
  const owner = currentOwner({ withBoot: true });
  if (!owner?.boot) throw new ContainerError('io', 'read /proc: expected this process and the boot id, got none');
  const random = randomBytes(6).toString('hex');
  return [prefix, owner.boot, owner.namespaces, owner.pid, owner.startTime, random].join('.');
}

/** Removes everything in `directory` that {@link ownedName} named with `prefix` and whose maker is gone; returns the names. */
export async function removeOrphans(directory: string, prefix: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  const self = currentOwner({ withBoot: true });
  const removed: string[] = [];
  for (const name of names) {
    if (!name.startsWith(`${prefix}.`) || !isOrphan(name.slice(prefix.length + 1), self)) continue;
    await removeTree(join(directory, name));
    removed.push(name);
  }
  return removed;
}

function isOrphan(rest: string, self: Owner | undefined): boolean {
  const match = /^([0-9a-f-]{36})\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]{12}$/.exec(rest);
  if (!match) return false;
  const [, boot = '', namespaces = '', pid, startTime = ''] = match;
  return ['gone', 'zombie'].includes(ownerState({ boot, namespaces, pid: Number(pid), startTime }, self));
}
