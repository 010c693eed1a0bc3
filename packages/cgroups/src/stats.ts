/** What the members of a cgroup use: cgroup-v2.rst "Controllers", cgroup-v1 memory.rst, cpuacct.rst, pids.rst. */
import type { CgroupDirectory } from './cgroup.js';
import { readControl } from './control-file.js';

/** Use of resources; a part is absent where the cgroup has no controller that counts it. */
export interface CgroupStats {
  /** Memory in bytes. */
  readonly memory?: {
    /** In use now. */
    readonly current: bigint;
    /** The most that ever was in use, where the kernel keeps it. */
    readonly peak?: bigint;
    /** How often a member was killed for want of memory. */
    readonly oomKills?: bigint;
  };
  /** CPU time in microseconds. */
  readonly cpu?: {
    /** Used in all. */
    readonly usage: bigint;
    /** Spent waiting because the quota was used up, where a quota can be set. */
    readonly throttled?: bigint;
  };
  /** Processes and threads. */
  readonly pids?: {
    /** Alive now. */
    readonly current: number;
  };
}

/** Reads what the given directories can tell. */
export async function readStats(directories: readonly CgroupDirectory[]): Promise<CgroupStats> {
  const [memory, cpu, pids] = await Promise.all([readMemory(directories), readCpu(directories), readPids(directories)]);
  return { ...(memory && { memory }), ...(cpu && { cpu }), ...(pids && { pids }) };
}

async function readMemory(directories: readonly CgroupDirectory[]): Promise<CgroupStats['memory']> {
  const at = holder(directories, 'memory');
  if (!at) return undefined;
  const v2 = at.version === 2;
  const [current, peak, events] = await Promise.all([
    readControl(`${at.path}/${v2 ? 'memory.current' : 'memory.usage_in_bytes'}`),
    readControl(`${at.path}/${v2 ? 'memory.peak' : 'memory.max_usage_in_bytes'}`),
    readControl(`${at.path}/${v2 ? 'memory.events' : 'memory.oom_control'}`),
  ]);
  const oomKills = flatValue(events, 'oom_kill');
  if (current === undefined) return undefined;
  return {
    current: BigInt(current),
    ...(peak !== undefined && { peak: BigInt(peak) }),
    ...(oomKills !== undefined && { oomKills }),
  };
}

async function readCpu(directories: readonly CgroupDirectory[]): Promise<CgroupStats['cpu']> {
  const v2 = directories.find((d) => d.version === 2); // cpu.stat is there even without the controller
  const text = v2 && (await readControl(`${v2.path}/cpu.stat`));
  const usage = flatValue(text, 'usage_usec');
  if (usage !== undefined) {
    const throttled = flatValue(text, 'throttled_usec') ?? (await throttledV1(directories));
    return { usage, ...(throttled !== undefined && { throttled }) };
  }
  const at = holder(directories, 'cpuacct');
  const nanoseconds = at && (await readControl(`${at.path}/cpuacct.usage`));
  if (nanoseconds === undefined) return undefined;
  const throttled = await throttledV1(directories);
  return { usage: BigInt(nanoseconds) / 1000n, ...(throttled !== undefined && { throttled }) };
}

async function throttledV1(directories: readonly CgroupDirectory[]): Promise<bigint | undefined> {
  const at = directories.find((d) => d.version === 1 && d.controllers.includes('cpu'));
  const nanoseconds = at && flatValue(await readControl(`${at.path}/cpu.stat`), 'throttled_time');
  return nanoseconds === undefined ? undefined : nanoseconds / 1000n;
}

async function readPids(directories: readonly CgroupDirectory[]): Promise<CgroupStats['pids']> {
  const at = holder(directories, 'pids');
  const current = at && (await readControl(`${at.path}/pids.current`));
  return current === undefined ? undefined : { current: Number(current) };
}

function holder(directories: readonly CgroupDirectory[], controller: string): CgroupDirectory | undefined {
  return directories.find((d) => d.controllers.includes(controller));
}

function flatValue(text: string | undefined, key: string): bigint | undefined {
  const match = text && new RegExp(`^${key} (\\d+)$`, 'm').exec(text);
  return match?.[1] === undefined ? undefined : BigInt(match[1]);
}
