/** A cgroup that this program made, in every hierarchy that it needs: membership, limits, statistics, events, freezer, kill, removal. */

import { applyLimits } from './apply.js';
import { writeControl } from './control-file.js';
import { isSame, killEveryone, readMembers, removeHome, removeTree, setFrozen } from './directory.js';
import { CgroupError } from './error.js';
import { type CgroupEvent, type EventOptions, watchEvents } from './events.js';
import type { CgroupLimits, LimitName } from './limits.js';
import {
  type CgroupPressure,
  type PressureEvent,
  type PressureOptions,
  readPressure,
  watchPressure,
} from './pressure.js';
import { type CgroupStats, readStats } from './stats.js';

/** The directory of a cgroup in one hierarchy. */
export interface CgroupDirectory {
  /** The version of the hierarchy. */
  readonly version: 1 | 2;
  /** The controllers that act on members through this directory; in v2 `devices` stands for a device program. */
  readonly controllers: readonly string[];
  /** Absolute path. */
  readonly path: string;
  /** Inode of the directory: no later one of the same path has it. */
  readonly inode: bigint;
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

/** Loads an eBPF program of type CGROUP_DEVICE and attaches it to the v2 cgroup at `path`, in place of one attached before. */
export type DeviceAttacher = (path: string, program: Uint8Array) => Promise<void>;

/** A cgroup made by {@link createCgroup}. It exists until {@link Cgroup.destroy}. */
export class Cgroup implements AsyncDisposable {
  /** The last component of every directory's path. */
  readonly name: string;
  /** One directory for each hierarchy that takes part; a process joins all of them. */
  readonly directories: readonly CgroupDirectory[];
  /** The limits that the caller agreed to go without and that are missing. */
  readonly missing: readonly MissingLimit[];
  readonly #attachDevices: DeviceAttacher | undefined;

  /** Made by {@link createCgroup} and {@link openCgroup} only. */
  constructor(
    name: string,
    directories: readonly CgroupDirectory[],
    missing: readonly MissingLimit[],
    attachDevices?: DeviceAttacher,
  ) {
    this.name = name;
    this.directories = directories;
    this.missing = missing;
    this.#attachDevices = attachDevices;
  }

  /** Moves the process `pid`, all its threads, into this cgroup. Throws {@link CgroupError} `io` or `gone`. */
  async add(pid: number): Promise<void> {
    if (!Number.isSafeInteger(pid) || pid < 1) {
      throw new CgroupError('io', `add to cgroup ${this.name}: expected a process id, got ${pid}`);
    }
    for (const directory of this.directories) {
      if (!(await isSame(directory))) throw this.#gone(`add process ${pid}`);
      await writeControl(`${directory.path}/cgroup.procs`, String(pid));
    }
  }

  /**
   * Changes limits while members run; those that are not named stay as they are, `'max'` takes one away. In v1 and v2 a limit of
   * memory below what is in use makes the kernel take memory back, in v2 it kills where it cannot. The limits are given one after
   * another: those before the one that fails hold. Throws {@link CgroupError} `bad-limit`, `limit-unavailable`, `not-applied`, `gone`, `io`.
   */
  async setLimits(
    limits: CgroupLimits,
    options: {
      /** Limits that may be missing; those that are are returned. */
      readonly optionalLimits?: readonly LimitName[];
      /** As in {@link CgroupOptions}, if it was not given there. */
      readonly attachDevices?: DeviceAttacher;
    } = {},
  ): Promise<readonly MissingLimit[]> {
    for (const directory of this.directories) if (!(await isSame(directory))) throw this.#gone('set limits');
    return applyLimits(limits, {
      directories: this.directories,
      optional: (limit) => options.optionalLimits?.includes(limit) ?? false,
      attachDevices: options.attachDevices ?? this.#attachDevices,
    });
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

  /** How much the members wait for resources. Throws {@link CgroupError} `unsupported` without v2 or without PSI in the kernel. */
  pressure(): Promise<CgroupPressure> {
    return readPressure(this.name, this.directories);
  }

  /**
   * What happens to the cgroup, from now on, until it is removed, `signal` is aborted or the loop is left. v2 tells by inotify, v1 is
   * asked every `interval` milliseconds.
   */
  events(options: EventOptions = {}): AsyncIterableIterator<CgroupEvent> {
    return watchEvents(this.directories, options);
  }

  /**
   * Tells each time that members waited for a resource at least `stall` microseconds in `window`. Ends as {@link Cgroup.events} does.
   * The kernel's own triggers need a poll(2) that Node has not: without `trigger` the file is read four times in a window.
   * Throws `unsupported`.
   */
  watchPressure(options: PressureOptions): AsyncIterableIterator<PressureEvent> {
    return watchPressure(this.name, this.directories, options);
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

  #gone(verb: string): CgroupError {
    return new CgroupError('gone', `${verb}: expected cgroup ${this.name}, got none: it has been removed`);
  }
}
