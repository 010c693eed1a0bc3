/** Giving limits to a cgroup that exists: every write is read back, and a limit that does not hold is an error or listed as missing. */
import { readdir, readFile, stat } from 'node:fs/promises';
import type { CgroupDirectory, DeviceAttacher, MissingLimit } from './cgroup.js';
import { codeOf, exists, readControl, writeControl, writeControlNow } from './control-file.js';
import { compileDeviceProgram } from './device-program.js';
import { CgroupError } from './error.js';
import { controllerOf, DEVICES_V2, type LimitWrite, planLimits } from './limit-writes.js';
import { type CgroupLimits, type LimitName, limitNames } from './limits.js';

/** What {@link applyLimits} needs beside the limits. */
export interface Application {
  /** The cgroup. */
  readonly directories: readonly CgroupDirectory[];
  /** Limits that may be missing. */
  readonly optional: (limit: LimitName) => boolean;
  /** Whether it has just been made, and so has no members. */
  readonly isNew?: boolean;
  /** Loads and attaches device programs in v2. */
  readonly attachDevices?: DeviceAttacher | undefined;
}

/** Gives every limit, one after another; returns the optional ones that could not be given. Throws {@link CgroupError}. */
export async function applyLimits(limits: CgroupLimits, to: Application): Promise<readonly MissingLimit[]> {
  const missing: MissingLimit[] = [];
  const resolved = await resolveDevices(limits);
  for (const limit of limitNames(resolved)) {
    try {
      await applyOne(limit, resolved, to);
    } catch (error) {
      if (!(error instanceof CgroupError) || error.code === 'bad-limit' || !to.optional(limit)) throw error;
      missing.push({ limit, reason: error.message, remedy: error.remedy ?? 'see the reason' });
    }
  }
  return missing;
}

/** The directory that gives a limit. */
export function giverOf<D extends { readonly version: 1 | 2; readonly controllers: readonly string[] }>(
  directories: readonly D[],
  limit: LimitName,
): D | undefined {
  return directories.find((d) => {
    const controller = controllerOf(limit, d.version);
    return controller !== undefined && d.controllers.includes(controller);
  });
}

async function applyOne(limit: LimitName, limits: CgroupLimits, to: Application): Promise<void> {
  const directory = giverOf(to.directories, limit) ?? to.directories.find((d) => needsAttacher(limit, d.version));
  if (!directory) throw unavailable(limit, 'no directory of this cgroup has its controller', NAME_IT);
  if (limit === 'devices' && directory.version === 2) return attach(directory, limits, to.attachDevices);
  if (limit === 'ioWeight' || limit === 'ioDeviceWeight') await assertWeighted(limit, directory);
  const writes = planLimits(limits, directory.version).filter((write) => write.limit === limit);
  for (const write of writes) await applyWrite(directory, write, to.isNew ? writeControlNow : writeControl);
}

async function attach(
  { path }: CgroupDirectory,
  { devices = [] }: CgroupLimits,
  attachDevices: DeviceAttacher | undefined,
): Promise<void> {
  if (!attachDevices) throw unavailable('devices', 'no function to attach an eBPF program was given', ATTACH);
  try {
    await attachDevices(path, compileDeviceProgram(devices));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw unavailable('devices', reason, 'only root of the first user namespace may attach device programs', cause);
  }
}

type Writer = (path: string, value: string) => void | Promise<void>;

async function applyWrite(directory: CgroupDirectory, write: LimitWrite, writer: Writer): Promise<void> {
  const file = await fileOf(directory, write);
  if (file === undefined) return;
  const path = `${directory.path}/${file}`;
  await writeLimit(path, directory, write, writer);
  const proof = `${directory.path}/${write.readBack ?? file}`;
  const back = await readControl(proof);
  if (back !== undefined && write.holds(back)) return;
  const problem = `set limit ${write.limit}: expected ${proof} to hold "${write.value}", got "${back}"`;
  throw new CgroupError('not-applied', problem, { limit: write.limit });
}

async function fileOf(
  { path }: CgroupDirectory,
  { limit, file, otherFile, extra }: LimitWrite,
): Promise<string | undefined> {
  if (await exists(`${path}/${file}`)) return file;
  if (otherFile !== undefined && (await exists(`${path}/${otherFile}`))) return otherFile;
  if (extra) return undefined;
  if (!(await exists(path))) throw new CgroupError('gone', `set limit ${limit}: expected cgroup ${path}, got none`);
  const { reason, remedy } = lacksFile(limit, `${path}/${file}`);
  throw unavailable(limit, reason, remedy);
}

async function writeLimit(path: string, directory: CgroupDirectory, write: LimitWrite, writer: Writer): Promise<void> {
  try {
    await makeRoom(directory, write);
    await writer(path, write.value);
  } catch (error) {
    const remedy = REMEDIES[codeOf(error instanceof CgroupError ? error.cause : error)];
    if (!remedy || !(error instanceof CgroupError)) throw error;
    throw unavailable(write.limit, error.message, remedy, error);
  }
}

// v1 keeps memory ≤ memory+swap at every moment, so the latter must make room before the former is raised.
async function makeRoom({ version, path }: CgroupDirectory, { file, value }: LimitWrite): Promise<void> {
  if (version !== 1 || file !== 'memory.limit_in_bytes') return;
  const both = `${path}/memory.memsw.limit_in_bytes`;
  const now = await readControl(both);
  if (now === undefined || (value !== '-1' && BigInt(value) <= BigInt(now))) return;
  await writeControl(both, value);
}

/** The limit that lacks its control file. */
export function lacksFile(limit: LimitName, path: string): MissingLimit {
  const swap = limit === 'swapMax' || path.includes('memsw');
  const remedy = swap ? 'boot with swapaccount=1' : 'use a kernel whose controller has this limit';
  return { limit, reason: `the kernel has no ${path}`, remedy };
}

// The file io.weight is there, and of no effect, where neither iocost nor bfq governs any device.
async function assertWeighted(limit: LimitName, { path }: CgroupDirectory): Promise<void> {
  const disks = await readdir('/sys/block').catch(() => []);
  const schedulers = await Promise.all(disks.map((disk) => readControl(`/sys/block/${disk}/queue/scheduler`)));
  if (schedulers.some((text) => text?.includes('[bfq]'))) return;
  const qos = await readFile(await costFile(path), 'utf8').catch(() => '');
  if (/\benable=1\b/.test(qos)) return;
  throw unavailable(limit, 'no device has the bfq scheduler or iocost, so that weights are of no effect', WEIGHTS);
}

// io.cost.qos is in the root of the hierarchy only.
async function costFile(path: string): Promise<string> {
  const parts = path.split('/');
  for (let depth = 2; depth <= parts.length; depth++) {
    const file = `${parts.slice(0, depth).join('/')}/io.cost.qos`;
    if (await exists(file)) return file;
  }
  return `${path}/io.cost.qos`;
}

/** Device files become `MAJOR:MINOR`. Throws {@link CgroupError} `bad-limit` for a path that is no block device. */
async function resolveDevices(limits: CgroupLimits): Promise<CgroupLimits> {
  const { ioMax, ioDeviceWeight } = limits;
  const resolve = <E extends { readonly device: string }>(
    limit: LimitName,
    entries: readonly E[],
  ): Promise<readonly E[]> =>
    Promise.all(entries.map(async (entry) => ({ ...entry, device: await deviceNumber(limit, entry.device) })));
  return {
    ...limits,
    ...(ioMax && { ioMax: await resolve('ioMax', ioMax) }),
    ...(ioDeviceWeight && { ioDeviceWeight: await resolve('ioDeviceWeight', ioDeviceWeight) }),
  };
}

async function deviceNumber(limit: LimitName, device: string): Promise<string> {
  if (!device.startsWith('/')) return device;
  const file = await stat(device, { bigint: true }).catch(() => undefined);
  if (!file?.isBlockDevice()) {
    throw new CgroupError('bad-limit', `set limit ${limit}: expected a block device, got ${device}`, { limit });
  }
  const { rdev } = file; // makedev(3): the numbers are interleaved
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

function unavailable(limit: LimitName, reason: string, remedy: string, cause?: unknown): CgroupError {
  return new CgroupError('limit-unavailable', `set limit ${limit}: ${reason}`, { limit, remedy, cause });
}

/** Whether a limit needs a device program here. */
export function needsAttacher(limit: LimitName, version: 1 | 2): boolean {
  return version === 2 && controllerOf(limit, 2) === DEVICES_V2;
}

/** What mends the lack of an attacher. */
export const ATTACH = 'pass `attachDevices: attachDeviceProgram` of @casemate/namespaces, or use cgroup v1';
const NAME_IT = 'give the limit, or name its controller in `accounting`, when the cgroup is created';
const WEIGHTS = 'echo bfq into /sys/block/DISK/queue/scheduler, or enable iocost in io.cost.qos of the root cgroup';

const REMEDIES: Readonly<Record<string, string>> = {
  ENODEV: 'name a whole disk that exists, not a partition of it',
  EBUSY: 'members use more than this already, and the kernel could not take it back; stop some of them first',
  EPERM: 'the cgroup above does not allow that much; ask for less, or as root',
  EACCES: 'only root may set this limit',
  ENOSPC: 'a sibling has exclusive use of these CPUs or nodes',
  ERANGE: 'ask for CPUs and nodes that the cgroup above has',
  EOPNOTSUPP: 'the kernel does not have this limit for this device or kind of cgroup',
  EINVAL: 'the kernel does not take this value here; the cgroup above may allow less',
};
