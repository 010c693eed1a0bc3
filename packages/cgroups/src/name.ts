/** Names of cgroups that say who made them, so that those of a killed program can be told from those in use. */
import { randomBytes } from 'node:crypto';
import { CgroupError } from './error.js';
import { currentOwner, type Owner, ownerState } from './owner.js';

/** `LABEL.NAMESPACES.PID.START.RANDOM`; the label is cut to what a file name may hold. No cgroup outlives a boot. */
export function buildName(label: string, owner: Owner): string {
  const clean = label.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64) || 'cgroup';
  return [clean, owner.namespaces, owner.pid, owner.startTime, randomBytes(6).toString('hex')].join('.');
}

/** {@link buildName} for a cgroup of this process. */
export function buildOwnName(label: string): string {
  const owner = currentOwner();
  if (owner) return buildName(label, owner);
  throw new CgroupError('io', 'read /proc/self/stat: expected this process, got none');
}

/** The owner that a name tells of; undefined for a name that {@link buildName} did not make. */
export function parseName(name: string): Owner | undefined {
  const match = /^[A-Za-z0-9_-]{1,64}\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]{12}$/.exec(name);
  if (!match) return undefined;
  const [, space, pid, startTime] = match;
  if (space === undefined || pid === undefined || startTime === undefined) return undefined;
  return { namespaces: space, pid: Number(pid), startTime };
}

/** The label in a name that {@link buildName} made. */
export function labelOf(name: string): string {
  return name.slice(0, name.indexOf('.'));
}

/** Whether `name` is of a cgroup of this package whose maker is known to be gone. `self` is {@link currentOwner}. */
export function isOrphan(name: string, self: Owner | undefined): boolean {
  const owner = parseName(name);
  return owner !== undefined && ['gone', 'zombie'].includes(ownerState(owner, self));
}
