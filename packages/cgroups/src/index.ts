/** cgroup v2 and v1 behind one interface: limits, statistics, pressure, events, freezer, kill, and the clean-up of orphans. */
export { Cgroup, type CgroupDirectory, type DeviceAttacher, type MissingLimit } from './cgroup.js';
export { type CgroupOptions, createCgroup } from './create.js';
export { compileDeviceProgram } from './device-program.js';
export { allowsDevice, type DeviceRule, defaultDeviceRules } from './device-rules.js';
export { CgroupError, type CgroupErrorCode } from './error.js';
export type { CgroupEvent, CgroupEventType, EventOptions } from './events.js';
export { type Hierarchy, readHierarchies } from './hierarchies.js';
export type { Amount, CgroupLimits, IoDeviceWeight, IoMax, LimitName } from './limits.js';
export { type CgroupEntry, type CgroupSearch, listCgroups, openCgroup } from './list.js';
export { destroyOrphanCgroups } from './orphans.js';
export type {
  CgroupPressure,
  PressureEvent,
  PressureFigures,
  PressureOptions,
  PressureResource,
  PressureTrigger,
  ResourcePressure,
} from './pressure.js';
export { type Availability, type CgroupProbe, probeCgroups } from './probe.js';
export type { CgroupStats, CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats } from './stats.js';
