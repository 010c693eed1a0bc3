/** What the members of a cgroup use: cgroup-v2.rst "Controllers", cgroup-v1 memory.rst, cpuacct.rst, blkio-controller.rst, pids.rst. */
import { readdir } from 'node:fs/promises';
import type { CgroupDirectory } from './cgroup.js';
import { flatValue, readControl } from './control-file.js';

/** Use of resources; a part is absent where the cgroup has no controller that counts it. */
export interface CgroupStats {
  /** Memory. */
  readonly memory?: MemoryStats;
  /** CPU time. */
  readonly cpu?: CpuStats;
  /** Processes and threads. */
  readonly pids?: PidsStats;
  /** Block devices, by `MAJOR:MINOR`. */
  readonly io?: Readonly<Record<string, IoStats>>;
  /** Huge pages, by page size as in {@link CgroupLimits.hugetlbMax}. */
  readonly hugetlb?: Readonly<Record<string, HugetlbStats>>;
}

/** Memory in bytes. */
export interface MemoryStats {
  /** In use now. */
  readonly current: bigint;
  /** The most that ever was in use, where the kernel keeps it. */
  readonly peak?: bigint;
  /** Swap in use now, where it is counted. */
  readonly swap?: bigint;
  /** How often a member was killed for want of memory. */
  readonly oomKills?: bigint;
  /** How often the limit `memoryMax` was met. */
  readonly maxEvents?: bigint;
  /** How often members were slowed down for `memoryHigh`; v2 only. */
  readonly highEvents?: bigint;
  /** Memory that programs asked for, without files behind it. */
  readonly anon?: bigint;
  /** Contents of files. */
  readonly file?: bigint;
  /** Memory of the kernel for the members; v2 only. */
  readonly kernel?: bigint;
  /** Every figure of `memory.stat` under the kernel's names; in v1 those that count nested cgroups, without `total_`. */
  readonly detail: Readonly<Record<string, bigint>>;
}

/** CPU time in microseconds. */
export interface CpuStats {
  /** Used in all. */
  readonly usage: bigint;
  /** Of it, in programs. */
  readonly user?: bigint;
  /** Of it, in the kernel. */
  readonly system?: bigint;
  /** Spent waiting because the quota was used up, where a quota can be set. */
  readonly throttled?: bigint;
  /** Periods of the quota that have passed with members that ran, and in how many of them the quota was used up. */
  readonly periods?: { readonly all: bigint; readonly throttled: bigint };
}

/** Processes and threads. */
export interface PidsStats {
  /** Alive now. */
  readonly current: number;
  /** The most that ever were alive, where the kernel keeps it (Linux 6.1 for v2). */
  readonly peak?: number;
  /** How often a member could not fork for the limit. */
  readonly maxEvents?: bigint;
}

/** What went to and from one device. */
export interface IoStats {
  /** Bytes read. */
  readonly readBytes: bigint;
  /** Bytes written. */
  readonly writeBytes: bigint;
  /** Read operations. */
  readonly reads: bigint;
  /** Write operations. */
  readonly writes: bigint;
}

/** Huge pages of one size. */
export interface HugetlbStats {
  /** Bytes in use. */
  readonly current: bigint;
  /** How often the limit was met. */
  readonly maxEvents?: bigint;
}

/** Reads what the given directories can tell. */
export async function readStats(directories: readonly CgroupDirectory[]): Promise<CgroupStats> {
  const [memory, cpu, pids, io, hugetlb] = await Promise.all([
    readMemory(holder(directories, 'memory')),
    readCpu(directories),
    readPids(holder(directories, 'pids')),
    readIo(directories),
    readHugetlb(holder(directories, 'hugetlb')),
  ]);
  return {
    ...(memory && { memory }),
    ...(cpu && { cpu }),
    ...(pids && { pids }),
    ...(io && { io }),
    ...(hugetlb && { hugetlb }),
  };
}

/** The lines `KEY NUMBER` of a file. */
export function parseFlat(text: string | undefined): Readonly<Record<string, bigint>> {
  const lines = text?.split('\n').flatMap((line) => {
    const match = /^(\S+) (\d+)$/.exec(line);
    return match?.[1] === undefined || match[2] === undefined ? [] : [[match[1], BigInt(match[2])] as const];
  });
  return Object.fromEntries(lines ?? []);
}

/** The devices of v2 `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`. */
export function parseIoStat(text: string): Readonly<Record<string, IoStats>> {
  const devices = text.split('\n').flatMap((line) => {
    const device = /^(\d+:\d+) /.exec(line)?.[1];
    const value = (key: string): bigint => BigInt(new RegExp(` ${key}=(\\d+)`).exec(line)?.[1] ?? 0);
    if (device === undefined) return [];
    const [readBytes, writeBytes] = [value('rbytes'), value('wbytes')];
    return [[device, { readBytes, writeBytes, reads: value('rios'), writes: value('wios') }] as const];
  });
  return Object.fromEntries(devices);
}

/** The devices of the v1 files `io_service_bytes` and `io_serviced`: lines `8:0 Read 4096`. */
export function parseBlkio(bytes: string, operations: string): Readonly<Record<string, IoStats>> {
  const devices = new Set([...bytes.matchAll(/^(\d+:\d+) /gm)].map(([, device = '']) => device));
  const value = (text: string, device: string, key: string): bigint =>
    BigInt(new RegExp(`^${device} ${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  return Object.fromEntries(
    [...devices].map((device) => [
      device,
      {
        readBytes: value(bytes, device, 'Read'),
        writeBytes: value(bytes, device, 'Write'),
        reads: value(operations, device, 'Read'),
        writes: value(operations, device, 'Write'),
      },
    ]),
  );
}

async function readMemory(at: CgroupDirectory | undefined): Promise<MemoryStats | undefined> {
  if (!at) return undefined;
  return at.version === 2 ? readMemoryV2(at.path) : readMemoryV1(at.path);
}

async function readMemoryV2(path: string): Promise<MemoryStats | undefined> {
  const [current, peak, swap, events, stat] = await readAll(path, MEMORY_V2);
  if (current === undefined) return undefined;
  const detail = parseFlat(stat);
  return {
    current: BigInt(current),
    ...some({ peak: whole(peak), swap: whole(swap), anon: detail.anon, file: detail.file, kernel: detail.kernel }),
    ...some({
      oomKills: flatValue(events, 'oom_kill'),
      maxEvents: flatValue(events, 'max'),
      highEvents: flatValue(events, 'high'),
    }),
    detail,
  };
}

async function readMemoryV1(path: string): Promise<MemoryStats | undefined> {
  const [current, peak, both, oom, fails, stat] = await readAll(path, MEMORY_V1);
  if (current === undefined) return undefined;
  const all = Object.entries(parseFlat(stat)).filter(([key]) => key.startsWith('total_'));
  const detail = Object.fromEntries(all.map(([key, value]) => [key.slice('total_'.length), value]));
  const swap = both === undefined ? undefined : BigInt(both) - BigInt(current);
  return {
    current: BigInt(current),
    ...some({
      peak: whole(peak),
      swap: swap !== undefined && swap < 0n ? 0n : swap,
      anon: detail.rss,
      file: detail.cache,
    }),
    ...some({ oomKills: flatValue(oom, 'oom_kill'), maxEvents: whole(fails) }),
    detail,
  };
}

// In v2 cpu.stat is there even without the controller; the quota's figures come from whichever has it.
async function readCpu(directories: readonly CgroupDirectory[]): Promise<CpuStats | undefined> {
  const v2 = directories.find((d) => d.version === 2);
  const text = v2 && (await readControl(`${v2.path}/cpu.stat`));
  const usage = flatValue(text, 'usage_usec');
  if (usage === undefined) return readCpuV1(directories);
  const times = some({ user: flatValue(text, 'user_usec'), system: flatValue(text, 'system_usec') });
  const throttled = flatValue(text, 'throttled_usec');
  if (throttled === undefined) return { usage, ...times, ...(await readQuotaV1(directories)) };
  return { usage, ...times, throttled, ...periodsOf(text) };
}

async function readCpuV1(directories: readonly CgroupDirectory[]): Promise<CpuStats | undefined> {
  const at = holder(directories, 'cpuacct');
  const [usage, user, system] = await readAll(at?.path, CPUACCT);
  if (usage === undefined) return undefined;
  return {
    usage: microseconds(usage) ?? 0n,
    ...some({ user: microseconds(user), system: microseconds(system) }),
    ...(await readQuotaV1(directories)),
  };
}

async function readQuotaV1(directories: readonly CgroupDirectory[]): Promise<Partial<CpuStats>> {
  const at = directories.find((d) => d.version === 1 && d.controllers.includes('cpu'));
  const text = at && (await readControl(`${at.path}/cpu.stat`));
  const nanoseconds = flatValue(text, 'throttled_time');
  return nanoseconds === undefined ? {} : { throttled: nanoseconds / 1000n, ...periodsOf(text) };
}

function periodsOf(text: string | undefined): Pick<CpuStats, 'periods'> {
  const [all, throttled] = [flatValue(text, 'nr_periods'), flatValue(text, 'nr_throttled')];
  return all === undefined || throttled === undefined ? {} : { periods: { all, throttled } };
}

async function readPids(at: CgroupDirectory | undefined): Promise<PidsStats | undefined> {
  const [current, peak, events] = await readAll(at?.path, ['pids.current', 'pids.peak', 'pids.events']);
  if (current === undefined) return undefined;
  const maxEvents = flatValue(events, 'max');
  return {
    current: Number(current),
    ...(peak !== undefined && { peak: Number(peak) }),
    ...(maxEvents !== undefined && { maxEvents }),
  };
}

async function readIo(directories: readonly CgroupDirectory[]): Promise<CgroupStats['io']> {
  const v2 = directories.find((d) => d.version === 2 && d.controllers.includes('io'));
  if (v2) return parseIoStat((await readControl(`${v2.path}/io.stat`)) ?? '');
  const [bytes, operations] = await readAll(holder(directories, 'blkio')?.path, BLKIO);
  return bytes === undefined ? undefined : parseBlkio(bytes, operations ?? '');
}

async function readHugetlb(at: CgroupDirectory | undefined): Promise<CgroupStats['hugetlb']> {
  if (!at) return undefined;
  const suffix = at.version === 2 ? 'current' : 'usage_in_bytes';
  const sizes = (await readdir(at.path).catch(() => [])).flatMap((file) => {
    const [head, size, tail] = file.split('.');
    return head === 'hugetlb' && tail === suffix && size !== undefined ? [size] : [];
  });
  const all = await Promise.all(sizes.map(async (size) => [size, await readHugeSize(at, size, suffix)] as const));
  return Object.fromEntries(all);
}

async function readHugeSize({ path, version }: CgroupDirectory, size: string, suffix: string): Promise<HugetlbStats> {
  const counter = version === 2 ? 'events' : 'failcnt';
  const [current, counted] = await readAll(`${path}/hugetlb.${size}`, [suffix, counter], '.');
  const maxEvents = version === 2 ? flatValue(counted, 'max') : whole(counted);
  return { current: whole(current) ?? 0n, ...(maxEvents !== undefined && { maxEvents }) };
}

function holder(directories: readonly CgroupDirectory[], controller: string): CgroupDirectory | undefined {
  return directories.find((d) => d.controllers.includes(controller));
}

function readAll(
  path: string | undefined,
  files: readonly string[],
  joint = '/',
): Promise<readonly (string | undefined)[]> {
  return Promise.all(files.map((file) => (path === undefined ? undefined : readControl(`${path}${joint}${file}`))));
}

function whole(text: string | undefined): bigint | undefined {
  return text !== undefined && /^\d+$/.test(text) ? BigInt(text) : undefined;
}

function microseconds(nanoseconds: string | undefined): bigint | undefined {
  const all = whole(nanoseconds);
  return all === undefined ? undefined : all / 1000n;
}

/** Leaves out what is undefined. */
function some<K extends string>(
  figures: Readonly<Record<K, bigint | undefined>>,
): Readonly<Partial<Record<K, bigint>>> {
  const known = Object.entries<bigint | undefined>(figures).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known) as Partial<Record<K, bigint>>; // undefined ones have just been left out
}

const MEMORY_V2 = ['memory.current', 'memory.peak', 'memory.swap.current', 'memory.events', 'memory.stat'];
const MEMORY_V1 = [
  'memory.usage_in_bytes',
  'memory.max_usage_in_bytes',
  'memory.memsw.usage_in_bytes',
  'memory.oom_control',
  'memory.failcnt',
  'memory.stat',
];
const CPUACCT = ['cpuacct.usage', 'cpuacct.usage_user', 'cpuacct.usage_sys'];
const BLKIO = ['blkio.throttle.io_service_bytes_recursive', 'blkio.throttle.io_serviced_recursive'];
