/** Operations on one cgroup directory and the cgroups nested below it: members, freezer, kill, removal. */
import { readdir, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { CgroupDirectory } from './cgroup.js';
import { codeOf, pause, readControl, writeControl } from './control-file.js';
import { CgroupError } from './error.js';

/** The members of the directory and of all cgroups below it; none if it is gone. */
export async function readMembers(path: string): Promise<readonly number[]> {
  // A member outside our pid namespace reads as 0, and kill(0) would strike ourselves; killing pid 1 ends the whole namespace.
  const own = (await readOwnMembers(path)).filter((pid) => pid > 1);
  const nested = await Promise.all((await childrenOf(path)).map(readMembers));
  return [...own, ...nested.flat()];
}

/** The members of the directory itself; 0 is one outside our pid namespace. */
export async function readOwnMembers(path: string): Promise<readonly number[]> {
  return parsePids((await readControl(`${path}/cgroup.procs`)) ?? '');
}

/** Whether the directory is still the one that was made, and not another of the same name. */
export async function isSame({ path, inode }: CgroupDirectory): Promise<boolean> {
  return (await inodeOf(path)) === inode;
}

/** The inode of a directory, which no later one of the same name has; undefined if it is gone. */
export async function inodeOf(path: string): Promise<bigint | undefined> {
  const now = await stat(path, { bigint: true }).catch(() => undefined);
  return now?.ino;
}

/** Freezes or thaws, and waits until the kernel says so. Throws {@link CgroupError} `busy` after 5 s. */
export async function setFrozen(directory: CgroupDirectory, frozen: boolean): Promise<void> {
  const { version, path } = directory;
  const [file, value] =
    version === 2 ? ['cgroup.freeze', frozen ? '1' : '0'] : ['freezer.state', frozen ? 'FROZEN' : 'THAWED'];
  await eventually(`${frozen ? 'freeze' : 'thaw'} cgroup ${path}`, async () => {
    // v1 may stay in FREEZING while members fork: the kernel wants the write repeated
    await writeControl(`${path}/${file}`, value);
    if (version === 1) return (await readControl(`${path}/${file}`)) === value;
    const events = await readControl(`${path}/cgroup.events`);
    return events?.includes(`frozen ${value}`) ?? false;
  });
}

/** SIGKILL to every member, nested cgroups included, until none is left. Throws {@link CgroupError} `busy` after 5 s. */
export async function killEveryone(directory: CgroupDirectory): Promise<void> {
  if (!(await isSame(directory))) return;
  await eventually(`kill the members of cgroup ${directory.path}`, async () => {
    const members = await readMembers(directory.path);
    if (members.length === 0) return true;
    await killOnce(directory, members);
    return false;
  });
}

/** Kills the members and removes the directory and those below it. Throws {@link CgroupError} `busy` after 5 s. */
export async function removeTree(directory: CgroupDirectory): Promise<void> {
  if (!(await isSame(directory))) return;
  await eventually(`remove cgroup ${directory.path}`, async () => {
    if (await removeOnce(directory.path)) return true;
    await killEveryone(directory);
    return false;
  });
}

/** Removes the directory that held a cgroup of ours, unless it still holds another: the kernel refuses that. */
export async function removeHome(path: string): Promise<void> {
  await rmdir(dirname(path)).catch(() => undefined);
}

// Against a fork bomb a loop of signals alone may never end: members are frozen meanwhile, or may not fork any more.
async function killOnce(directory: CgroupDirectory, members: readonly number[]): Promise<void> {
  const { version, path, controllers } = directory;
  if (version === 2 && (await written(`${path}/cgroup.kill`, '1'))) return; // Linux 5.14
  const [file, stop, go] =
    version === 2
      ? ['cgroup.freeze', '1', '0']
      : controllers.includes('freezer')
        ? ['freezer.state', 'FROZEN', 'THAWED']
        : [];
  if (file === undefined || stop === undefined || go === undefined) {
    await written(`${path}/pids.max`, '0');
    for (const pid of members) kill(pid);
    return;
  }
  // Frozen members cannot exit, so that no process id in the list passes to a stranger before the signal.
  await written(`${path}/${file}`, stop);
  for (const pid of await readMembers(path)) kill(pid);
  await written(`${path}/${file}`, go);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH')
      throw new CgroupError('io', `kill process ${pid}: got ${codeOf(error)}`, { cause: error });
  }
}

async function removeOnce(path: string): Promise<boolean> {
  for (const child of await childrenOf(path)) await removeOnce(child);
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true;
    if (codeOf(error) === 'EBUSY') return false;
    throw new CgroupError('io', `remove cgroup ${path}: got ${codeOf(error)}`, { cause: error });
  }
}

/** The cgroups directly below `path`; none if it is gone. */
export async function childrenOf(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((e) => e.isDirectory()).map((e) => `${path}/${e.name}`);
}

function parsePids(text: string): readonly number[] {
  return text
    .split('\n')
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
}

async function written(path: string, value: string): Promise<boolean> {
  return writeControl(path, value).then(
    () => true,
    () => false,
  );
}

async function eventually(what: string, done: () => Promise<boolean>): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
    if (await done()) return;
    if (Date.now() > until)
      throw new CgroupError('busy', `${what}: expected to be done within ${PATIENCE_MS} ms, got no end`);
    await pause(wait);
  }
}

const PATIENCE_MS = 5_000;
