/** How each hierarchy version spells the limits: cgroup-v2.rst, cgroup-v1/*.rst, scheduler/sched-bwc.rst. */
import { devicePolicy, deviceWritesV1, holdsDevicePolicy } from './device-rules.js';
import { CgroupError } from './error.js';
import { parseIdList, printIdList, sameIds } from './id-list.js';
import {
  type Amount,
  type CgroupLimits,
  checkLimits,
  IO_FIELDS,
  type IoMax,
  type LimitName,
  limitNames,
} from './limits.js';

/** One write that gives one limit, or a part of it: into `file`, and what must be read back. */
export interface LimitWrite {
  /** The limit that this write gives. */
  readonly limit: LimitName;
  /** The controller that it needs. */
  readonly controller: string;
  /** The file in the cgroup's directory. */
  readonly file: string;
  /** Where the kernel has not `file` but this one, this one is written. */
  readonly otherFile?: string;
  /** Left out where the kernel has no such file: another write gives the limit. */
  readonly extra?: true;
  /** What is written. */
  readonly value: string;
  /** The file that tells what holds now, where it is another. */
  readonly readBack?: string;
  /** Whether the text read back afterwards is as strict as what was asked for. */
  readonly holds: (readBack: string) => boolean;
}

/** The controller that gives a limit in a hierarchy of `version`; undefined where that version cannot give it. */
export function controllerOf(limit: LimitName, version: 1 | 2): string | undefined {
  const { v1, v2 } = SPELLINGS[limit];
  return (version === 1 ? v1 : v2)?.controller;
}

/** The writes, in order, that give `limits` in a hierarchy of `version`. Throws {@link CgroupError} `bad-limit`. */
export function planLimits(limits: CgroupLimits, version: 1 | 2): readonly LimitWrite[] {
  checkLimits(limits);
  return limitNames(limits).flatMap((limit) => {
    const spelling = version === 1 ? SPELLINGS[limit].v1 : SPELLINGS[limit].v2;
    if (!spelling) return [];
    return spelling.writes(limits).map((write) => ({ limit, controller: spelling.controller, ...write }));
  });
}

/** Stands for a controller in v2: device rules are a program there, and a hierarchy with any controllers or none takes it. */
export const DEVICES_V2 = 'devices';

type Write = Omit<LimitWrite, 'limit' | 'controller'>;

interface Spelling {
  readonly controller: string;
  readonly writes: (limits: CgroupLimits) => readonly Write[];
}

/** The v1 `cpu.shares` (2 … 262,144) that stands for a v2 weight (1 … 10,000), linear between the two ends. */
export function sharesOfWeight(weight: number): number {
  return 2 + Math.floor(((weight - 1) * 262_142) / 9_999);
}

/** The v1 `blkio.weight` (10 … 1,000) that stands for a v2 weight (1 … 10,000), linear between the two ends. */
export function blkioOfWeight(weight: number): number {
  return 10 + Math.floor(((weight - 1) * 990) / 9_999);
}

function memory(file: string, limit: LimitName, holds: 'atMost' | 'atLeast' = 'atMost'): Spelling {
  return { controller: 'memory', writes: (limits) => [amount(file, limits[limit] as Amount, holds)] };
}

// An upper bound may be rounded down by the kernel, a guarantee up or down to a page.
function amount(file: string, value: Amount, holds: 'atMost' | 'atLeast' = 'atMost'): Write {
  const test = holds === 'atMost' ? atMost(value) : nearly(value);
  return { file, value: String(value), holds: test };
}

function atMost(limit: Amount): (readBack: string) => boolean {
  if (limit === 'max') return (back) => back === 'max' || isUnlimitedV1(back);
  return (back) => /^\d+$/.test(back) && BigInt(back) <= BigInt(limit);
}

function nearly(limit: Amount): (readBack: string) => boolean {
  if (limit === 'max') return atMost('max');
  return (back) => /^\d+$/.test(back) && BigInt(back) <= BigInt(limit) && BigInt(back) > BigInt(limit) - 65_536n;
}

// v1 shows "no limit" as the largest multiple of the page size; it takes it as -1.
function isUnlimitedV1(back: string): boolean {
  return back === '-1' || (/^\d+$/.test(back) && BigInt(back) >= 1n << 61n);
}

function amountV1(file: string, value: Amount): Write {
  return { ...amount(file, value), value: value === 'max' ? '-1' : String(value) };
}

function swapV1({ memoryMax, swapMax = 0 }: CgroupLimits): readonly Write[] {
  if (swapMax === 'max') return [amountV1('memory.memsw.limit_in_bytes', 'max')];
  if (memoryMax === undefined || memoryMax === 'max') {
    const message = 'set limit swapMax: expected memoryMax beside it, since cgroup v1 counts both together, got none';
    throw new CgroupError('bad-limit', message, { limit: 'swapMax' });
  }
  return [amountV1('memory.memsw.limit_in_bytes', BigInt(memoryMax) + BigInt(swapMax))];
}

function cpuMaxV2({ cpuMax }: CgroupLimits): readonly Write[] {
  if (!cpuMax) return [];
  const text = `${cpuMax.quota} ${cpuMax.period}`;
  return [exactly('cpu.max', text), ...(cpuMax.burst === undefined ? [] : [exactly('cpu.max.burst', cpuMax.burst)])];
}

function cpuMaxV1({ cpuMax }: CgroupLimits): readonly Write[] {
  if (!cpuMax) return [];
  const { quota, period, burst } = cpuMax;
  return [
    exactly('cpu.cfs_period_us', period),
    exactly('cpu.cfs_quota_us', quota === 'max' ? -1 : quota),
    ...(burst === undefined ? [] : [exactly('cpu.cfs_burst_us', burst)]),
  ];
}

function exactly(file: string, value: string | number): Write {
  return { file, value: String(value), holds: (back) => back === String(value) };
}

// v2 keeps a list that it cannot give and uses the parent's instead: only the effective one tells.
function idList(file: string, effective: string, list: string | readonly number[] | undefined): readonly Write[] {
  const wanted = parseIdList(list ?? []) ?? new Set<number>();
  const holds = (back: string): boolean => sameIds(parseIdList(back) ?? new Set(), wanted);
  return [{ file, value: printIdList(wanted), readBack: effective, holds }];
}

function ioMaxV2(entries: readonly IoMax[] = []): readonly Write[] {
  return entries.map((entry) => {
    const words = IO_FIELDS.filter((f) => entry[f] !== undefined).map((f) => `${IO_WORDS[f]}=${entry[f]}`);
    return { file: 'io.max', value: `${entry.device} ${words.join(' ')}`, holds: hasWords(entry.device, words) };
  });
}

function ioMaxV1(entries: readonly IoMax[] = []): readonly Write[] {
  return entries.flatMap((entry) =>
    IO_FIELDS.filter((field) => entry[field] !== undefined).map((field): Write => {
      const value = entry[field] === 'max' ? '0' : String(entry[field]);
      return {
        file: `blkio.throttle.${IO_FILES[field]}_device`,
        value: `${entry.device} ${value}`,
        // no limit is no line
        holds: value === '0' ? (back) => !hasLine(back, entry.device) : hasWords(entry.device, [value]),
      };
    }),
  );
}

function hasLine(text: string, device: string): boolean {
  return text.split('\n').some((line) => line.startsWith(`${device} `));
}

// A device without any limit has no line in io.max.
function hasWords(device: string, words: readonly string[]): (readBack: string) => boolean {
  return (back) => {
    const line = back.split('\n').find((l) => l.startsWith(`${device} `));
    if (line === undefined) return words.every((word) => word.endsWith('=max'));
    return words.every((word) => line.split(' ').includes(word));
  };
}

function weight(file: string, otherFile: string, prefix: string, value: number, shown = prefix): Write {
  const holds = (back: string): boolean => back.split('\n').includes(`${shown}${value}`);
  return { file, otherFile, value: `${prefix}${value}`, holds };
}

function hugetlb(name: (size: string) => string, spell: (file: string, value: Amount) => Write) {
  return ({ hugetlbMax = {} }: CgroupLimits): readonly Write[] =>
    Object.entries(hugetlbMax).flatMap(([size, value]) => [
      spell(`hugetlb.${size}.${name('')}`, value),
      // Reservations fail when they are made; without this, a member is killed by SIGBUS when it touches the page.
      { ...spell(`hugetlb.${size}.${name('rsvd.')}`, value), extra: true as const },
    ]);
}

function devicesV1({ devices = [] }: CgroupLimits): readonly Write[] {
  const policy = devicePolicy(devices);
  if (!policy) {
    const message =
      'set limit devices: expected rules that cgroup v1 can hold, got one that refuses a part of what another allows';
    throw new CgroupError('bad-limit', message, {
      limit: 'devices',
      remedy: 'name the parts that are allowed one by one',
    });
  }
  const writes = deviceWritesV1(policy);
  const holds = (back: string): boolean => holdsDevicePolicy(policy, back);
  return writes.map(({ file, value }, i) => ({
    file,
    value,
    readBack: 'devices.list',
    holds: i === writes.length - 1 ? holds : () => true,
  }));
}

const IO_WORDS = { readBps: 'rbps', writeBps: 'wbps', readIops: 'riops', writeIops: 'wiops' } as const;
const IO_FILES = {
  readBps: 'read_bps',
  writeBps: 'write_bps',
  readIops: 'read_iops',
  writeIops: 'write_iops',
} as const;

const SPELLINGS: Readonly<Record<LimitName, { readonly v1?: Spelling; readonly v2?: Spelling }>> = {
  memoryMax: {
    v2: memory('memory.max', 'memoryMax'),
    v1: { controller: 'memory', writes: (l) => [amountV1('memory.limit_in_bytes', l.memoryMax ?? 'max')] },
  },
  memoryHigh: { v2: memory('memory.high', 'memoryHigh') },
  memoryLow: {
    v2: memory('memory.low', 'memoryLow', 'atLeast'),
    v1: { controller: 'memory', writes: (l) => [amountV1('memory.soft_limit_in_bytes', l.memoryLow ?? 'max')] },
  },
  memoryMin: { v2: memory('memory.min', 'memoryMin', 'atLeast') },
  swapMax: { v2: memory('memory.swap.max', 'swapMax'), v1: { controller: 'memory', writes: swapV1 } },
  pidsMax: {
    v2: { controller: 'pids', writes: (l) => [amount('pids.max', l.pidsMax ?? 'max')] },
    v1: { controller: 'pids', writes: (l) => [amount('pids.max', l.pidsMax ?? 'max')] },
  },
  cpuMax: { v2: { controller: 'cpu', writes: cpuMaxV2 }, v1: { controller: 'cpu', writes: cpuMaxV1 } },
  cpuWeight: {
    v2: { controller: 'cpu', writes: (l) => [exactly('cpu.weight', l.cpuWeight ?? 100)] },
    v1: { controller: 'cpu', writes: (l) => [exactly('cpu.shares', sharesOfWeight(l.cpuWeight ?? 100))] },
  },
  cpusetCpus: {
    v2: { controller: 'cpuset', writes: (l) => idList('cpuset.cpus', 'cpuset.cpus.effective', l.cpusetCpus) },
    v1: { controller: 'cpuset', writes: (l) => idList('cpuset.cpus', 'cpuset.effective_cpus', l.cpusetCpus) },
  },
  cpusetMems: {
    v2: { controller: 'cpuset', writes: (l) => idList('cpuset.mems', 'cpuset.mems.effective', l.cpusetMems) },
    v1: { controller: 'cpuset', writes: (l) => idList('cpuset.mems', 'cpuset.effective_mems', l.cpusetMems) },
  },
  ioWeight: {
    v2: { controller: 'io', writes: (l) => [weight('io.weight', 'io.bfq.weight', 'default ', l.ioWeight ?? 100)] },
    v1: {
      controller: 'blkio',
      writes: (l) => [weight('blkio.weight', 'blkio.bfq.weight', '', blkioOfWeight(l.ioWeight ?? 100))],
    },
  },
  ioDeviceWeight: {
    v2: {
      controller: 'io',
      writes: ({ ioDeviceWeight = [] }) =>
        ioDeviceWeight.map((e) => weight('io.weight', 'io.bfq.weight', `${e.device} `, e.weight)),
    },
    v1: {
      controller: 'blkio',
      writes: ({ ioDeviceWeight = [] }) =>
        ioDeviceWeight.map((e) =>
          weight('blkio.weight_device', 'blkio.bfq.weight_device', `${e.device} `, blkioOfWeight(e.weight)),
        ),
    },
  },
  ioMax: {
    v2: { controller: 'io', writes: (l) => ioMaxV2(l.ioMax) },
    v1: { controller: 'blkio', writes: (l) => ioMaxV1(l.ioMax) },
  },
  hugetlbMax: {
    v2: { controller: 'hugetlb', writes: hugetlb((rsvd) => `${rsvd}max`, amount) },
    v1: { controller: 'hugetlb', writes: hugetlb((rsvd) => `${rsvd}limit_in_bytes`, amountV1) },
  },
  devices: {
    v2: { controller: DEVICES_V2, writes: () => [] },
    v1: { controller: 'devices', writes: devicesV1 },
  },
};
