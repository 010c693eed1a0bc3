/** A cgroup that this program made, in every hierarchy that it needs: membership, statistics, freezer, kill, removal. */

import { writeControl } from './control-file.js';
import { killEveryone, readMembers, removeHome, removeTree, setFrozen } from './directory.js';
import { CgroupError } from './error.js';
import type { LimitName } from './limits.js';
import { type CgroupStats, readStats } from './stats.js';

/** The directory of a cgroup in one hierarchy. */
export interface CgroupDirectory {
  /** The version of the hierarchy. */
  readonly version: 1 | 2;
  /** The controllers that act on members through this directory. */
  readonly controllers: readonly string[];
  /** Absolute path. */
  readonly path: string;
}

/** A limit that could not be given, and why. */
export interface MissingLimit {
  /** Which limit. */
  readonly limit: LimitName;
  /** Why, as one clause. */
  readonly reason: string;
  /** What usually mends it. */
  readonly remedy: string;
}

/** A cgroup made by {@link createCgroup}. It exists until {@link Cgroup.destroy}. */
export class Cgroup implements AsyncDisposable {
  /** The last component of every directory's path. */
  readonly name: string;
  /** One directory for each hierarchy that takes part; a process joins all of them. */
  readonly directories: readonly CgroupDirectory[];
  /** The limits that the caller agreed to go without and that are missing. */
  readonly missing: readonly MissingLimit[];

  /** Made by {@link createCgroup} only. */
  constructor(name: string, directories: readonly CgroupDirectory[], missing: readonly MissingLimit[]) {
    this.name = name;
    this.directories = directories;
    this.missing = missing;
  }

  /** Moves the process `pid`, all its threads, into this cgroup. Throws {@link CgroupError} `io`. */
  async add(pid: number): Promise<void> {
    if (!Number.isSafeInteger(pid) || pid < 1) {
      throw new CgroupError('io', `add to cgroup ${this.name}: expected a process id, got ${pid}`);
    }
    for (const { path } of this.directories) await writeControl(`${path}/cgroup.procs`, String(pid));
  }

  /** The process ids of the members, nested cgroups included, as this program's pid namespace numbers them. */
  async members(): Promise<readonly number[]> {
    const all = await Promise.all(this.directories.map(({ path }) => readMembers(path)));
    return [...new Set(all.flat())];
  }

  /** What the members use now; a part is absent where no directory has its controller. */
  stats(): Promise<CgroupStats> {
    return readStats(this.directories);
  }

  /** Stops every member where it stands; resolves once all are stopped. Throws `unsupported` or `busy`. */
  freeze(): Promise<void> {
    return setFrozen(this.#freezer('freeze'), true);
  }

  /** Lets the members run on. */
  thaw(): Promise<void> {
    return setFrozen(this.#freezer('thaw'), false);
  }

  /** Sends SIGKILL to every member, nested cgroups included; resolves once all are gone. Throws `busy`. */
  async killAll(): Promise<void> {
    for (const directory of this.directories) await killEveryone(directory);
  }

  /** Kills every member and removes the directories. A second call does nothing. Throws `busy`. */
  async destroy(): Promise<void> {
    for (const directory of this.directories) await removeTree(directory);
    for (const { path } of this.directories) await removeHome(path);
  }

  /** The same as {@link Cgroup.destroy}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  #freezer(verb: string): CgroupDirectory {
    const found =
      this.directories.find((d) => d.version === 2) ?? this.directories.find((d) => d.controllers.includes('freezer'));
    if (found) return found;
    throw new CgroupError('unsupported', `${verb} cgroup ${this.name}: expected a v2 or freezer directory, got none`);
  }
}
