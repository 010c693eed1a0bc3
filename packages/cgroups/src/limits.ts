/** Limits and how each hierarchy version spells them: kernel docs cgroup-v2.rst, cgroup-v1/*.rst, scheduler/sched-bwc.rst. */
import { CgroupError } from './error.js';

/** What a cgroup may use at most. Whatever is not given is not limited. */
export interface CgroupLimits {
  /** Memory in bytes; a whole multiple of the page size is kept exactly, anything else is rounded down by the kernel. */
  readonly memoryMax?: number | bigint;
  /** Swap in bytes on top of the memory; 0 forbids swapping. */
  readonly swapMax?: number | bigint;
  /** Processes and threads. */
  readonly pidsMax?: number;
  /** CPU time: `quota` microseconds in every `period` microseconds (period 1,000 … 1,000,000). */
  readonly cpuMax?: { readonly quota: number; readonly period: number };
  /** Share of the CPU against siblings, 1 … 10,000; 100 is the default of the kernel. */
  readonly cpuWeight?: number;
}

/** The name of a limit. */
export type LimitName = keyof CgroupLimits;

/** One write that gives one limit: into `file`, and what the file must then hold. */
export interface LimitWrite {
  /** The limit that this write gives. */
  readonly limit: LimitName;
  /** The controller that it needs. */
  readonly controller: string;
  /** The file in the cgroup's directory. */
  readonly file: string;
  /** What is written. */
  readonly value: string;
  /** Whether the text read back afterwards is as strict as what was asked for. */
  readonly holds: (readBack: string) => boolean;
}

/** The names of the limits in `limits`. */
export function limitNames(limits: CgroupLimits): readonly LimitName[] {
  return LIMIT_NAMES.filter((name) => limits[name] !== undefined);
}

/** The controller that gives a limit. */
export function controllerOf(limit: LimitName): string {
  return CONTROLLERS[limit];
}

/** The writes, in order, that give `limits` in a hierarchy of `version`. Throws {@link CgroupError} `bad-limit`. */
export function planLimits(limits: CgroupLimits, version: 1 | 2): readonly LimitWrite[] {
  checkLimits(limits);
  return limitNames(limits).flatMap((name) => (version === 2 ? planV2(name, limits) : planV1(name, limits)));
}

function planV2(name: LimitName, limits: CgroupLimits): readonly LimitWrite[] {
  const { memoryMax, swapMax, pidsMax, cpuMax, cpuWeight } = limits;
  const write = writer(name);
  if (name === 'memoryMax' && memoryMax !== undefined)
    return [write('memory.max', String(memoryMax), atMost(memoryMax))];
  if (name === 'swapMax' && swapMax !== undefined) return [write('memory.swap.max', String(swapMax), atMost(swapMax))];
  if (name === 'pidsMax' && pidsMax !== undefined) return [write('pids.max', String(pidsMax), atMost(pidsMax))];
  if (name === 'cpuMax' && cpuMax) {
    const text = `${cpuMax.quota} ${cpuMax.period}`;
    return [write('cpu.max', text, (back) => back === text)];
  }
  return [write('cpu.weight', String(cpuWeight), (back) => back === String(cpuWeight))];
}

function planV1(name: LimitName, limits: CgroupLimits): readonly LimitWrite[] {
  const { memoryMax, swapMax, pidsMax, cpuMax, cpuWeight } = limits;
  const write = writer(name);
  if (name === 'memoryMax' && memoryMax !== undefined) {
    return [write('memory.limit_in_bytes', String(memoryMax), atMost(memoryMax))];
  }
  if (name === 'swapMax' && swapMax !== undefined) {
    const both = BigInt(memoryMax ?? 0) + BigInt(swapMax); // checkLimits has seen to memoryMax being there
    return [write('memory.memsw.limit_in_bytes', String(both), atMost(both))];
  }
  if (name === 'pidsMax' && pidsMax !== undefined) return [write('pids.max', String(pidsMax), atMost(pidsMax))];
  if (name === 'cpuMax' && cpuMax) {
    return [
      write('cpu.cfs_period_us', String(cpuMax.period), (back) => back === String(cpuMax.period)),
      write('cpu.cfs_quota_us', String(cpuMax.quota), (back) => back === String(cpuMax.quota)),
    ];
  }
  const shares = sharesOfWeight(cpuWeight ?? 100);
  return [write('cpu.shares', String(shares), (back) => back === String(shares))];
}

/** The v1 `cpu.shares` (2 … 262,144) that stands for a v2 weight (1 … 10,000), linear between the two ends. */
export function sharesOfWeight(weight: number): number {
  return 2 + Math.floor(((weight - 1) * 262_142) / 9_999);
}

function checkLimits(limits: CgroupLimits): void {
  for (const name of ['memoryMax', 'swapMax'] as const) {
    const value = limits[name];
    if (value !== undefined) assertBetween(name, value, name === 'memoryMax' ? 4096 : 0, MAX_BYTES);
  }
  if (limits.swapMax !== undefined && limits.memoryMax === undefined) {
    throw new CgroupError('bad-limit', 'set limit swapMax: expected memoryMax beside it, got none', {
      limit: 'swapMax',
    });
  }
  if (limits.pidsMax !== undefined) assertBetween('pidsMax', limits.pidsMax, 1, 4_194_304);
  if (limits.cpuWeight !== undefined) assertBetween('cpuWeight', limits.cpuWeight, 1, 10_000);
  if (limits.cpuMax === undefined) return;
  assertBetween('cpuMax', limits.cpuMax.period, 1_000, 1_000_000);
  assertBetween('cpuMax', limits.cpuMax.quota, 1_000, 1_000_000_000);
}

function assertBetween(limit: LimitName, value: number | bigint, min: number, max: number): void {
  const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
  if (whole && value >= min && value <= max) return;
  throw new CgroupError('bad-limit', `set limit ${limit}: expected a whole number ${min} … ${max}, got ${value}`, {
    limit,
  });
}

function writer(limit: LimitName) {
  return (file: string, value: string, holds: (readBack: string) => boolean): LimitWrite => ({
    limit,
    controller: CONTROLLERS[limit],
    file,
    value,
    holds,
  });
}

function atMost(limit: number | bigint): (readBack: string) => boolean {
  return (back) => /^\d+$/.test(back) && BigInt(back) <= BigInt(limit);
}

const MAX_BYTES = Number.MAX_SAFE_INTEGER;

const CONTROLLERS: Readonly<Record<LimitName, string>> = {
  memoryMax: 'memory',
  swapMax: 'memory',
  pidsMax: 'pids',
  cpuMax: 'cpu',
  cpuWeight: 'cpu',
};

const LIMIT_NAMES: readonly LimitName[] = ['memoryMax', 'swapMax', 'pidsMax', 'cpuMax', 'cpuWeight'];
