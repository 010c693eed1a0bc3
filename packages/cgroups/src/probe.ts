/** What this machine and user can do with cgroups. */

import { exists } from './control-file.js';
import { type Hierarchy, readHierarchies } from './hierarchies.js';
import { type CgroupLimits, LIMIT_NAMES, type LimitName } from './limits.js';
import { missingLimits, type Place, placesFor, whyAway } from './placement.js';

/** Whether something can be had, and if not, why and what mends it. */
export interface Availability {
  /** Whether it works for this user on this machine. */
  readonly available: boolean;
  /** What was found, as one clause. */
  readonly reason: string;
  /** What usually mends it; only where it is not available. */
  readonly remedy?: string;
}

/** The result of {@link probeCgroups}. */
export interface CgroupProbe {
  /** `hybrid` is v2 for tracking beside v1 hierarchies with controllers. */
  readonly mode: 'v2' | 'v1' | 'hybrid' | 'none';
  /** Every mounted hierarchy, with where this process stands in it and whether this user may create cgroups there. */
  readonly hierarchies: readonly (Hierarchy & { readonly writable: boolean })[];
  /** For each limit, whether it can be given. */
  readonly limits: Readonly<Record<LimitName, Availability>>;
  /** Whether cgroups can be frozen and thawed. */
  readonly freezer: Availability;
  /** Whether the pressure on members can be told. */
  readonly pressure: Availability;
}

/** Looks, and changes nothing. Device rules are judged as for a caller that can attach programs, with `attachDevices`. */
export async function probeCgroups(): Promise<CgroupProbe> {
  const hierarchies = await readHierarchies();
  const places = await placesFor(hierarchies);
  const missing = await missingLimits(hierarchies, places, {
    limits: ONE_OF_EACH,
    canAttach: process.geteuid?.() === 0,
  });
  const limit = (name: LimitName): Availability => {
    const lack = missing.find((m) => m.limit === name);
    if (lack) return { available: false, reason: lack.reason, remedy: lack.remedy };
    return { available: true, reason: 'a hierarchy with its controller can be used' };
  };
  return {
    mode: modeOf(hierarchies),
    hierarchies: hierarchies.map((h) => ({ ...h, writable: isPlace(h, places) })),
    limits: Object.fromEntries(LIMIT_NAMES.map((name) => [name, limit(name)])) as CgroupProbe['limits'], // all names
    freezer: judgeFreezer(hierarchies, places),
    pressure: await judgePressure(hierarchies, places),
  };
}

async function judgePressure(hierarchies: readonly Hierarchy[], places: readonly Place[]): Promise<Availability> {
  if (!places.some((p) => p.version === 2)) {
    return {
      available: false,
      ...whyAway(
        hierarchies.filter((h) => h.version === 2),
        ['cgroup2'],
      ),
    };
  }
  if (await exists('/proc/pressure')) return { available: true, reason: 'a v2 hierarchy can be used' };
  return { available: false, reason: 'the kernel counts no pressure', remedy: 'boot with psi=1' };
}

function isPlace({ mountpoint }: Hierarchy, places: readonly Place[]): boolean {
  return places.some((p) => p.parent.startsWith(`${mountpoint}/`));
}

function judgeFreezer(hierarchies: readonly Hierarchy[], places: readonly Place[]): Availability {
  const can = places.some((p) => p.version === 2 || p.controllers.includes('freezer'));
  if (can) return { available: true, reason: 'a v2 or freezer hierarchy can be used' };
  return { available: false, ...whyAway(hierarchies, ['freezer']) };
}

const ONE_OF_EACH: CgroupLimits = {
  memoryMax: 1 << 20,
  memoryHigh: 1 << 20,
  memoryLow: 1 << 20,
  memoryMin: 1 << 20,
  swapMax: 0,
  pidsMax: 1,
  cpuMax: { quota: 1_000, period: 1_000 },
  cpuWeight: 100,
  cpusetCpus: '0',
  cpusetMems: '0',
  ioWeight: 100,
  ioDeviceWeight: [{ device: '8:0', weight: 100 }],
  ioMax: [{ device: '8:0', readBps: 1 }],
  hugetlbMax: { '2MB': 0 },
  devices: [],
};

function modeOf(hierarchies: readonly Hierarchy[]): CgroupProbe['mode'] {
  const v1 = hierarchies.some((h) => h.version === 1);
  const v2 = hierarchies.some((h) => h.version === 2);
  if (v1 && v2) return 'hybrid';
  if (v1) return 'v1';
  return v2 ? 'v2' : 'none';
}
