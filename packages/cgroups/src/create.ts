/** Making cgroups: where this user may, with every limit that was asked for, or not at all. */
import { mkdir } from 'node:fs/promises';
import { Cgroup, type CgroupDirectory, type MissingLimit } from './cgroup.js';
import { codeOf, readControl, writeControl } from './control-file.js';
import { readOwnMembers, removeHome, removeTree } from './directory.js';
import { CgroupError } from './error.js';
import { readHierarchies } from './hierarchies.js';
import { type CgroupLimits, type LimitWrite, planLimits } from './limits.js';
import { buildName, currentOwner } from './name.js';
import { destroyOrphans } from './orphans.js';
import { lacksFile, type Placement, PROGRAM_LEAF, placeCgroup } from './placement.js';

/** What to create. */
export interface CgroupOptions {
  /** A label that becomes part of the name; letters, digits, `-` and `_`. */
  readonly label?: string;
  /** What the members may use at most. */
  readonly limits?: CgroupLimits;
  /** Controllers to take part in for their statistics alone, such as `memory`, `pids`, `cpuacct`. */
  readonly accounting?: readonly string[];
  /** Go on without limits that cannot be given; {@link Cgroup.missing} then lists them. */
  readonly insecureSkipMissingLimits?: boolean;
}

/**
 * Creates a cgroup with the limits that are asked for.
 *
 * Root's cgroups lie in `casemate/` at the root of each hierarchy, an ordinary user's in `casemate/` below the caller's own
 * cgroup, if that is delegated to the user. What programs that were killed have left there is destroyed first.
 *
 * Throws {@link CgroupError}: `bad-limit`, `no-hierarchy`, `not-delegated`, `limit-unavailable` (with `limit` and `remedy`),
 * `not-applied`, `io`. After an error nothing is left.
 */
export async function createCgroup(options: CgroupOptions = {}): Promise<Cgroup> {
  planLimits(options.limits ?? {}, 2); // refuses bad values before anything is touched
  const placement = await placeCgroup(await readHierarchies(), options);
  refuseMissing(placement.missing, options);
  await cleanUpOnce(placement);
  return build(placement, options);
}

function refuseMissing(missing: readonly MissingLimit[], options: CgroupOptions): void {
  const [first] = missing;
  if (!first || options.insecureSkipMissingLimits) return;
  throw new CgroupError('limit-unavailable', `set limit ${first.limit}: ${first.reason}`, first);
}

async function build(placement: Placement, options: CgroupOptions): Promise<Cgroup> {
  const name = buildName(options.label ?? 'sandbox', await currentOwner());
  const made: CgroupDirectory[] = [];
  try {
    for (const { parent, version, controllers, enable } of placement.places) {
      const path = `${parent}/${name}`;
      await makeDirectory(path, parent, enable);
      made.push({ version, controllers, path });
    }
    await applyLimits(made, skipping(options.limits ?? {}, placement.missing));
  } catch (cause) {
    for (const directory of made) await removeTree(directory);
    for (const { path } of made) await removeHome(path);
    if (cause instanceof CgroupError) throw cause;
    throw new CgroupError('io', `create cgroup ${name}: got ${codeOf(cause)}`, { cause });
  }
  return new Cgroup(name, made, placement.missing);
}

// Another program may remove the common parent, empty for a moment, between its making and its use.
async function makeDirectory(path: string, parent: string, enable: readonly string[]): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await prepareParent(parent, enable);
      return await mkdir(path);
    } catch (error) {
      if (tries === 20 || !isGone(error)) throw error;
    }
  }
}

function isGone(error: unknown): boolean {
  return codeOf(error instanceof CgroupError ? error.cause : error) === 'ENOENT';
}

// v2 hands a controller down one level at a time, and only to the children of a cgroup that has it itself.
async function prepareParent(parent: string, enable: readonly string[]): Promise<void> {
  const above = parent.slice(0, parent.lastIndexOf('/'));
  if (enable.length > 0) await enableControllers(above, enable);
  await mkdir(parent, { recursive: true });
  if (enable.length > 0) await enableControllers(parent, enable);
}

async function enableControllers(path: string, controllers: readonly string[]): Promise<void> {
  const on = new Set((await readControl(`${path}/cgroup.subtree_control`))?.split(' '));
  const absent = controllers.filter((c) => !on.has(c));
  if (absent.length === 0) return;
  const enable = (): Promise<void> =>
    writeControl(`${path}/cgroup.subtree_control`, absent.map((c) => `+${c}`).join(' '));
  await enable().catch(async (error: unknown) => {
    if (!(error instanceof CgroupError) || codeOf(error.cause) !== 'EBUSY') throw error;
    await vacate(path);
    await enable();
  });
}

// "No internal processes": a cgroup hands controllers down only once its own members, this program among them, are in a leaf.
async function vacate(path: string): Promise<void> {
  const leaf = `${path}/${PROGRAM_LEAF}`;
  await mkdir(leaf, { recursive: true });
  for (const pid of await readOwnMembers(path)) {
    await writeControl(`${leaf}/cgroup.procs`, String(pid)).catch((error: unknown) => {
      if (!(error instanceof CgroupError) || codeOf(error.cause) !== 'ESRCH') throw error; // it has ended meanwhile
    });
  }
}

function skipping(limits: CgroupLimits, missing: readonly MissingLimit[]): CgroupLimits {
  const names = new Set<string>(missing.map((m) => m.limit));
  return Object.fromEntries(Object.entries(limits).filter(([name]) => !names.has(name)));
}

async function applyLimits(directories: readonly CgroupDirectory[], limits: CgroupLimits): Promise<void> {
  for (const directory of directories) {
    const writes = planLimits(limits, directory.version).filter((w) => directory.controllers.includes(w.controller));
    for (const write of writes) await applyLimit(directory, write);
  }
}

async function applyLimit(directory: CgroupDirectory, write: LimitWrite): Promise<void> {
  const path = `${directory.path}/${write.file}`;
  if ((await readControl(path)) === undefined) {
    const { limit, reason, remedy } = lacksFile(write.limit, path);
    throw new CgroupError('limit-unavailable', `set limit ${limit}: ${reason}`, { limit, remedy });
  }
  await writeControl(path, write.value);
  const back = await readControl(path);
  if (back !== undefined && write.holds(back)) return;
  const problem = `set limit ${write.limit}: expected ${path} to hold "${write.value}", got "${back}"`;
  throw new CgroupError('not-applied', problem, { limit: write.limit });
}

const cleaned = new Set<string>();

async function cleanUpOnce(placement: Placement): Promise<void> {
  const fresh = placement.places.filter((p) => !cleaned.has(p.parent));
  for (const { parent } of fresh) cleaned.add(parent);
  await destroyOrphans(fresh);
}
