/** Making cgroups: where this user may, with every limit that was asked for, or not at all. */
import { mkdir, rmdir, stat } from 'node:fs/promises';
import { applyLimits } from './apply.js';
import { Cgroup, type CgroupDirectory, type DeviceAttacher, type MissingLimit } from './cgroup.js';
import { codeOf, exists, readControl, writeControl } from './control-file.js';
import { readOwnMembers, removeHome, removeTree } from './directory.js';
import { CgroupError } from './error.js';
import { readHierarchies } from './hierarchies.js';
import { parseIdList } from './id-list.js';
import { controllerOf, planLimits } from './limit-writes.js';
import { type CgroupLimits, checkLimits, type LimitName, limitNames } from './limits.js';
import { buildOwnName } from './name.js';
import { destroyOrphans } from './orphans.js';
import { type ChosenPlace, type Placement, PROGRAM_LEAF, placeCgroup } from './placement.js';

/** What to create. */
export interface CgroupOptions {
  /** A label that becomes part of the name; letters, digits, `-` and `_`. */
  readonly label?: string;
  /** What the members may use at most. */
  readonly limits?: CgroupLimits;
  /** Limits that may be missing where they cannot be given; {@link Cgroup.missing} then lists them. */
  readonly optionalLimits?: readonly LimitName[];
  /** Controllers to take part in for their statistics alone: `memory`, `pids`, `cpu`, `io`, `hugetlb`. */
  readonly accounting?: readonly string[];
  /**
   * Where the cgroup is made: `own` is below the program's own cgroup, for root too, as a service with `Delegate=yes` should;
   * paths are directories of a subtree that was handed to this program, at most one in each hierarchy, and others take no part.
   */
  readonly within?: 'own' | string | readonly string[];
  /**
   * Whether the processes of a v2 cgroup that was delegated, this program among them, may be moved into a leaf of it. The kernel
   * hands controllers down only from a cgroup that has no processes of its own. Default false: it is an error then.
   */
  readonly moveProgram?: boolean;
  /** Loads and attaches the eBPF program that device rules are in v2: `attachDeviceProgram` of @casemate/namespaces. */
  readonly attachDevices?: DeviceAttacher;
  /** Go on without any limit that cannot be given; {@link Cgroup.missing} then lists them. */
  readonly insecureSkipMissingLimits?: boolean;
}

/**
 * Creates a cgroup with the limits that are asked for.
 *
 * Root's cgroups lie in `casemate/` at the root of each hierarchy, an ordinary user's in `casemate/` below the caller's own
 * cgroup, if that is delegated to the user. What programs that were killed have left there is destroyed first.
 *
 * Throws {@link CgroupError}: `bad-limit`, `no-hierarchy`, `not-delegated`, `internal-processes`, `limit-unavailable` (with `limit`
 * and `remedy`), `not-applied`, `io`. After an error nothing is left.
 */
export async function createCgroup(options: CgroupOptions = {}): Promise<Cgroup> {
  checkLimits(options.limits ?? {}); // refuses bad values before anything is touched
  const placement = await placeCgroup(await readHierarchies(), {
    ...options,
    canAttach: options.attachDevices !== undefined,
  });
  refuseMissing(placement.missing, options);
  planEverywhere(placement, options.limits ?? {});
  await cleanUpOnce(placement);
  return build(placement, options);
}

function refuseMissing(missing: readonly MissingLimit[], options: CgroupOptions): void {
  const first = missing.find(({ limit }) => !mayMiss(options)(limit));
  if (!first) return;
  throw new CgroupError('limit-unavailable', `set limit ${first.limit}: ${first.reason}`, first);
}

// Some values can be held by one version and not by the other: that too shows before anything is touched.
function planEverywhere({ places, missing }: Placement, limits: CgroupLimits): void {
  const wanted = skipping(limits, missing);
  for (const { version, controllers } of places) {
    const own = limitNames(wanted).filter((limit) => controllers.includes(controllerOf(limit, version) ?? ''));
    planLimits(Object.fromEntries(own.map((limit) => [limit, wanted[limit]])), version);
  }
}

function mayMiss({ insecureSkipMissingLimits = false, optionalLimits = [] }: CgroupOptions) {
  return (limit: LimitName): boolean => insecureSkipMissingLimits || optionalLimits.includes(limit);
}

async function build(placement: Placement, options: CgroupOptions): Promise<Cgroup> {
  const name = buildOwnName(options.label ?? 'sandbox');
  const made: CgroupDirectory[] = [];
  const { attachDevices, moveProgram = false } = options;
  const optional = mayMiss(options);
  try {
    for (const place of placement.places) {
      const path = `${place.parent}/${name}`;
      const inode = await makeDirectory(path, place, moveProgram);
      made.push({ version: place.version, controllers: place.controllers, path, inode });
    }
    const limits = skipping(options.limits ?? {}, placement.missing);
    const lost = await applyLimits(limits, { directories: made, optional, attachDevices, isNew: true });
    return new Cgroup(name, made, [...placement.missing, ...lost], attachDevices);
  } catch (cause) {
    for (const directory of made) await removeTree(directory);
    for (const { parent } of placement.places) await removeHome(`${parent}/${name}`);
    if (cause instanceof CgroupError) throw cause;
    throw new CgroupError('io', `create cgroup ${name}: got ${codeOf(cause)}`, { cause });
  }
}

// Another program may remove the common parent, empty for a moment, between its making and its use, and make it anew.
async function makeDirectory(path: string, place: ChosenPlace, moveProgram: boolean): Promise<bigint> {
  for (let tries = 0; ; tries++) {
    try {
      await prepareParent(place, moveProgram);
      await mkdir(path);
      if (await hasControllers(path, place.enable)) {
        await inheritCpuset(path, place);
        return (await stat(path, { bigint: true })).ino;
      }
      await rmdir(path);
      if (tries === MAX_TRIES) throw new CgroupError('busy', `create cgroup ${path}: its parent changes all the time`);
    } catch (error) {
      if (tries === MAX_TRIES || !isGone(error)) throw error;
    }
  }
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENODEV'].includes(codeOf(error instanceof CgroupError ? error.cause : error));
}

async function hasControllers(path: string, wanted: readonly string[]): Promise<boolean> {
  if (wanted.length === 0) return true;
  const has = (await readControl(`${path}/cgroup.controllers`))?.split(' ');
  return wanted.every((controller) => has?.includes(controller));
}

// v2 hands a controller down one level at a time, and only to the children of a cgroup that has it itself.
async function prepareParent(place: ChosenPlace, moveProgram: boolean): Promise<void> {
  const { parent, enable } = place;
  const above = parent.slice(0, parent.lastIndexOf('/'));
  if (enable.length > 0) await enableControllers(above, enable, moveProgram);
  await mkdir(parent, { recursive: true });
  if (enable.length > 0) await enableControllers(parent, enable, moveProgram);
  await inheritCpuset(parent, place);
}

async function enableControllers(path: string, controllers: readonly string[], moveProgram: boolean): Promise<void> {
  const on = new Set((await readControl(`${path}/cgroup.subtree_control`))?.split(' '));
  const absent = controllers.filter((c) => !on.has(c));
  if (absent.length === 0) return;
  const value = absent.map((c) => `+${c}`).join(' ');
  for (let tries = 0; ; tries++) {
    try {
      await refuseThreads(path, absent);
      return await writeControl(`${path}/cgroup.subtree_control`, value);
    } catch (error) {
      if (codeOf(error instanceof CgroupError ? error.cause : error) !== 'EBUSY') throw error;
      // Some cannot be moved: those outside our pid namespace, and those of somebody who forks faster than we move.
      if (!moveProgram || tries === MAX_TRIES) throw internalProcesses(path, absent, error);
      await vacate(path);
    }
  }
}

/**
 * Some controllers (pids, cpu, cpuset) the kernel does hand down from a cgroup with processes: it then makes it the root of a tree for threads,
 * in which no cgroup for processes can be. That is refused here as the kernel refuses it for the other controllers. Only the root of the
 * hierarchy, which has no type, may have both.
 */
async function refuseThreads(path: string, controllers: readonly string[]): Promise<void> {
  if (!(await exists(`${path}/cgroup.type`)) || (await readOwnMembers(path)).length === 0) return;
  const cause = Object.assign(new Error('the cgroup has processes'), { code: 'EBUSY' });
  throw new CgroupError('io', `enable ${controllers.join(', ')} below ${path}: got EBUSY`, { cause });
}

function internalProcesses(path: string, controllers: readonly string[], cause: unknown): CgroupError {
  const message = `enable ${controllers.join(', ')} below ${path}: expected a cgroup without processes of its own, got some`;
  return new CgroupError('internal-processes', message, {
    remedy:
      'pass `moveProgram: true` to have them moved into a leaf, or let systemd do it with DelegateSubgroup= (systemd 254)',
    cause,
  });
}

// "No internal processes": a cgroup hands controllers down only once its own members, this program among them, are in a leaf.
async function vacate(path: string): Promise<void> {
  const leaf = `${path}/${PROGRAM_LEAF}`;
  await mkdir(leaf, { recursive: true });
  for (const pid of (await readOwnMembers(path)).filter((member) => member > 0)) {
    await writeControl(`${leaf}/cgroup.procs`, String(pid)).catch((error: unknown) => {
      if (!(error instanceof CgroupError) || codeOf(error.cause) !== 'ESRCH') throw error; // it has ended meanwhile
    });
  }
}

// In v1 a new cpuset has no CPU and no node, and takes no process until it has.
async function inheritCpuset(path: string, { version, controllers }: ChosenPlace): Promise<void> {
  if (version === 2 || !controllers.includes('cpuset')) return;
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (parseIdList((await readControl(`${path}/${file}`)) ?? '')?.size) continue;
    const above = await readControl(`${path.slice(0, path.lastIndexOf('/'))}/${file}`);
    if (above) await writeControl(`${path}/${file}`, above);
  }
}

function skipping(limits: CgroupLimits, missing: readonly MissingLimit[]): CgroupLimits {
  const names = new Set<string>(missing.map((m) => m.limit));
  return Object.fromEntries(Object.entries(limits).filter(([name]) => !names.has(name)));
}

const cleaned = new Set<string>();

async function cleanUpOnce(placement: Placement): Promise<void> {
  const fresh = placement.places.filter((p) => !cleaned.has(p.parent));
  for (const { parent } of fresh) cleaned.add(parent);
  await destroyOrphans(fresh);
}

const MAX_TRIES = 20;
