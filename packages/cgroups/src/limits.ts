/** Limits of a cgroup as a caller states them, and the bounds of their values: cgroup-v2.rst "Controllers". */
import { type DeviceRule, normaliseDeviceRules } from './device-rules.js';
import { CgroupError } from './error.js';
import { parseIdList } from './id-list.js';

/** A count of bytes or of something else; `'max'` is no limit, for taking one away from a live cgroup. */
export type Amount = number | bigint | 'max';

/** What a cgroup may use at most. Whatever is not given is not limited, and stays as it is in a live cgroup. */
export interface CgroupLimits {
  /** Memory in bytes; a whole multiple of the page size is kept exactly, anything else is rounded down by the kernel. */
  readonly memoryMax?: Amount;
  /** Bytes of memory above which members are slowed down and made to give memory back; v2 only. */
  readonly memoryHigh?: Amount;
  /** Bytes of memory that are taken from members last, by best effort; in v1 the soft limit. */
  readonly memoryLow?: Amount;
  /** Bytes of memory that are never taken from members; v2 only. */
  readonly memoryMin?: Amount;
  /** Swap in bytes on top of the memory; 0 forbids swapping. In v1 it needs `memoryMax` beside it. */
  readonly swapMax?: Amount;
  /** Processes and threads. */
  readonly pidsMax?: number | 'max';
  /** CPU time: `quota` microseconds in every `period` microseconds (period 1,000 … 1,000,000), `burst` saved up at most. */
  readonly cpuMax?: { readonly quota: number | 'max'; readonly period: number; readonly burst?: number };
  /** Share of the CPU against siblings, 1 … 10,000; 100 is the default of the kernel. */
  readonly cpuWeight?: number;
  /** The CPUs on which members run, as numbers or as the kernel's list: `0-3,6`. */
  readonly cpusetCpus?: string | readonly number[];
  /** The memory nodes from which members take memory, in the same form. */
  readonly cpusetMems?: string | readonly number[];
  /** Share of the disks against siblings, 1 … 10,000; 100 is the default. Needs iocost or bfq for a device. */
  readonly ioWeight?: number;
  /** The share for single devices. */
  readonly ioDeviceWeight?: readonly IoDeviceWeight[];
  /** Throughput of single devices. */
  readonly ioMax?: readonly IoMax[];
  /** Huge pages in bytes by page size as the kernel writes it: `{ '2MB': 4 << 20 }`. */
  readonly hugetlbMax?: Readonly<Record<string, Amount>>;
  /**
   * Which device files members may open and make; later rules win, and what no rule names is refused.
   * In v2 it needs {@link CgroupOptions.attachDevices}.
   */
  readonly devices?: readonly DeviceRule[];
}

/** Throughput of one device; what is not given is not limited. */
export interface IoMax {
  /** The whole disk: `8:0`, or the absolute path of its device file. */
  readonly device: string;
  /** Bytes read in a second. */
  readonly readBps?: Amount;
  /** Bytes written in a second. */
  readonly writeBps?: Amount;
  /** Read operations in a second. */
  readonly readIops?: Amount;
  /** Write operations in a second. */
  readonly writeIops?: Amount;
}

/** The share of one device. */
export interface IoDeviceWeight {
  /** The whole disk: `8:0`, or the absolute path of its device file. */
  readonly device: string;
  /** 1 … 10,000. */
  readonly weight: number;
}

/** The name of a limit. */
export type LimitName = keyof CgroupLimits;

/** The names of the limits in `limits`, in the order in which they are given. Throws {@link CgroupError} `bad-limit` for another name. */
export function limitNames(limits: CgroupLimits): readonly LimitName[] {
  const stranger = Object.keys(limits).find((name) => !Object.hasOwn(CHECKS, name));
  if (stranger !== undefined) throw badLimit(stranger, 'the name of a limit', stranger);
  return LIMIT_NAMES.filter((name) => limits[name] !== undefined);
}

/** Refuses values that the kernel could not hold. Throws {@link CgroupError} `bad-limit`. */
export function checkLimits(limits: CgroupLimits): void {
  for (const name of limitNames(limits)) CHECKS[name](limits);
}

/** The names of both files and values of one throughput limit, by its field. */
export const IO_FIELDS = ['readBps', 'writeBps', 'readIops', 'writeIops'] as const;

const CHECKS: Readonly<Record<LimitName, (limits: CgroupLimits) => void>> = {
  memoryMax: (l) => assertAmount('memoryMax', l.memoryMax, 4096),
  memoryHigh: (l) => assertAmount('memoryHigh', l.memoryHigh, 0),
  memoryLow: (l) => assertAmount('memoryLow', l.memoryLow, 0),
  memoryMin: (l) => assertAmount('memoryMin', l.memoryMin, 0),
  swapMax: (l) => assertAmount('swapMax', l.swapMax, 0),
  pidsMax: (l) => assertAmount('pidsMax', l.pidsMax, 1, 4_194_304),
  cpuMax: checkCpuMax,
  cpuWeight: (l) => assertWeight('cpuWeight', l.cpuWeight),
  cpusetCpus: (l) => checkIds('cpusetCpus', l.cpusetCpus),
  cpusetMems: (l) => checkIds('cpusetMems', l.cpusetMems),
  ioWeight: (l) => assertWeight('ioWeight', l.ioWeight),
  ioDeviceWeight: (l) => l.ioDeviceWeight?.forEach(checkDeviceWeight),
  ioMax: (l) => l.ioMax?.forEach(checkIoMax),
  hugetlbMax: checkHugetlb,
  devices: (l) => void normaliseDeviceRules(l.devices ?? []),
};

/** Every limit, in the order in which limits are given. */
export const LIMIT_NAMES = Object.keys(CHECKS) as readonly LimitName[]; // keys of this very object

function checkCpuMax({ cpuMax }: CgroupLimits): void {
  if (!cpuMax) return;
  assertAmount('cpuMax', cpuMax.period, 1_000, 1_000_000);
  assertAmount('cpuMax', cpuMax.quota, 1_000, 1_000_000_000);
  if (cpuMax.burst === undefined) return;
  if (cpuMax.quota === 'max') throw badLimit('cpuMax', 'a quota beside burst', 'max');
  assertAmount('cpuMax', cpuMax.burst, 0, cpuMax.quota);
}

function checkIds(limit: LimitName, ids: string | readonly number[] | undefined): void {
  if (ids === undefined || parseIdList(ids)?.size) return;
  throw badLimit(limit, 'numbers such as [0, 1] or a list such as "0-3,6"', String(ids));
}

function checkDeviceWeight({ device, weight }: IoDeviceWeight): void {
  checkDevice('ioDeviceWeight', device);
  assertWeight('ioDeviceWeight', weight);
}

function checkIoMax(entry: IoMax): void {
  checkDevice('ioMax', entry.device);
  if (IO_FIELDS.every((field) => entry[field] === undefined)) {
    throw badLimit('ioMax', `one of ${IO_FIELDS.join(', ')} for ${entry.device}`, 'none');
  }
  for (const field of IO_FIELDS) assertAmount('ioMax', entry[field], 1);
}

function checkDevice(limit: LimitName, device: string): void {
  const good = /^\d{1,7}:\d{1,7}$/.test(device) || (device.startsWith('/') && !device.includes('\0'));
  if (!good) throw badLimit(limit, 'a device as MAJOR:MINOR or as an absolute path', device);
}

function checkHugetlb({ hugetlbMax = {} }: CgroupLimits): void {
  for (const [size, amount] of Object.entries(hugetlbMax)) {
    if (!/^\d{1,4}[KMG]B$/.test(size)) throw badLimit('hugetlbMax', 'a page size such as 2MB', size);
    assertAmount('hugetlbMax', amount, 0);
  }
}

function assertWeight(limit: LimitName, value: number | undefined): void {
  if ((value as unknown) === 'max') throw badLimit(limit, 'a whole number 1 … 10000', 'max');
  assertAmount(limit, value, 1, 10_000);
}

function assertAmount(limit: LimitName, value: Amount | undefined, min: number, max = Number.MAX_SAFE_INTEGER): void {
  if (value === undefined || value === 'max') return;
  const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
  if (whole && value >= min && value <= max) return;
  throw badLimit(limit, `a whole number ${min} … ${max}`, String(value));
}

function badLimit(limit: string, expected: string, got: string): CgroupError {
  return new CgroupError('bad-limit', `set limit ${limit}: expected ${expected}, got ${got}`, { limit });
}
