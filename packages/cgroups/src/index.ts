/** cgroup v2 and v1 behind one interface: limits, statistics, freezer, kill, and the clean-up of orphans. */
export { Cgroup, type CgroupDirectory, type MissingLimit } from './cgroup.js';
export { type CgroupOptions, createCgroup } from './create.js';
export { CgroupError, type CgroupErrorCode } from './error.js';
export { type Hierarchy, readHierarchies } from './hierarchies.js';
export type { CgroupLimits, LimitName } from './limits.js';
export { destroyOrphanCgroups } from './orphans.js';
export { type Availability, type CgroupProbe, probeCgroups } from './probe.js';
export type { CgroupStats } from './stats.js';
