/** What happens to a cgroup, as an async iterator: cgroup-v2.rst `cgroup.events`, `memory.events`, `pids.events`; v1 by asking. */
import { type FSWatcher, watch } from 'node:fs';
import type { CgroupDirectory } from './cgroup.js';
import { exists, flatValue, readControl } from './control-file.js';
import { readMembers } from './directory.js';

/**
 * What can happen.
 *
 * - `populated`, `empty`: there is a member again, or the last one has gone
 * - `frozen`, `thawed`: all members stand still, or run on
 * - `oom`: memory ran out, and the limit left no way but to kill; v2 only
 * - `oom-kill`: a member was killed for want of memory
 * - `memory-high`, `memory-max`, `memory-low`: the limit of this name was met; v1 tells only `memory-max`
 * - `pids-max`: a member could not fork
 */
export type CgroupEventType =
  | 'populated'
  | 'empty'
  | 'frozen'
  | 'thawed'
  | 'oom'
  | 'oom-kill'
  | 'memory-high'
  | 'memory-max'
  | 'memory-low'
  | 'pids-max';

/** One thing that happened. */
export interface CgroupEvent {
  /** What. */
  readonly type: CgroupEventType;
  /** How often since the last event of this type; 1 for changes of state. */
  readonly count: bigint;
}

/** Options of {@link Cgroup.events}. */
export interface EventOptions {
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** How often v1 hierarchies are asked, in milliseconds. Default 100. */
  readonly interval?: number;
}

/** The figures from which events are told; a state is 0 or 1, undefined where nobody tells. */
export type Observation = Readonly<Partial<Record<ObservedState | CgroupEventType, bigint>>>;

type ObservedState = 'is-populated' | 'is-frozen';

/** What has happened between two observations. */
export function eventsBetween(before: Observation, after: Observation): readonly CgroupEvent[] {
  const states = STATES.flatMap(({ key, one, zero }): CgroupEvent[] => {
    const [was, is] = [before[key], after[key]];
    return was === undefined || is === undefined || was === is ? [] : [{ type: is === 1n ? one : zero, count: 1n }];
  });
  const counts = COUNTS.flatMap((type): CgroupEvent[] => {
    const count = (after[type] ?? 0n) - (before[type] ?? 0n);
    return count > 0n ? [{ type, count }] : [];
  });
  return [...counts, ...states];
}

/** See {@link Cgroup.events}. */
export function watchEvents(
  directories: readonly CgroupDirectory[],
  options: EventOptions,
): AsyncIterableIterator<CgroupEvent> {
  return follow(directories, observe(directories), options);
}

async function* follow(
  directories: readonly CgroupDirectory[],
  start: Promise<Observation | undefined>,
  { signal, interval = 100 }: EventOptions,
): AsyncIterableIterator<CgroupEvent> {
  using alarm = new Alarm(await watchedFiles(directories), signal);
  // The removal of a cgroup is told by no notification.
  const patience = directories.some(needsAsking) || !alarm.isComplete ? interval : REMOVAL_MS;
  let before = await start;
  for (;;) {
    const after = await observe(directories);
    if (!before || !after || signal?.aborted) return;
    yield* eventsBetween(before, after);
    before = after;
    await alarm.rungWithin(patience);
  }
}

/** Rings when a watched file changes, and remembers it while nobody listens. */
class Alarm implements Disposable {
  /** Whether every file is watched; users may have no watches left. */
  readonly isComplete: boolean;
  readonly #watchers: readonly FSWatcher[];
  readonly #signal: AbortSignal | undefined;
  readonly #ring = (): void => {
    this.#hasRung = true;
    this.#wake();
  };
  #hasRung = false;
  #wake: () => void = () => undefined;

  constructor(files: readonly string[], signal: AbortSignal | undefined) {
    this.#watchers = files.flatMap((file) => watchFile(file, this.#ring));
    this.isComplete = this.#watchers.length === files.length;
    for (const watcher of this.#watchers) watcher.on('error', this.#ring);
    this.#signal = signal;
    signal?.addEventListener('abort', this.#ring, { once: true });
    if (signal?.aborted) this.#ring();
  }

  /** Resolves when it rings, or after `milliseconds`. */
  async rungWithin(milliseconds: number): Promise<void> {
    if (!this.#hasRung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#hasRung = false;
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener('abort', this.#ring);
    for (const watcher of this.#watchers) watcher.close();
  }
}

function watchFile(file: string, ring: () => void): readonly FSWatcher[] {
  try {
    return [watch(file, { persistent: true }, ring)];
  } catch {
    return []; // ENOSPC or EMFILE: the file is asked instead
  }
}

async function watchedFiles(directories: readonly CgroupDirectory[]): Promise<readonly string[]> {
  const files = directories.filter((d) => d.version === 2).flatMap(({ path }) => V2_FILES.map((f) => `${path}/${f}`));
  const there = await Promise.all(files.map(exists));
  return files.filter((_, i) => there[i]);
}

// The v1 files that count have no notification but an eventfd, which Node cannot make.
function needsAsking({ version, controllers }: CgroupDirectory): boolean {
  return version === 1 && ['memory', 'pids', 'freezer'].some((c) => controllers.includes(c));
}

async function observe(directories: readonly CgroupDirectory[]): Promise<Observation | undefined> {
  const [first] = directories;
  if (!first || !(await exists(`${first.path}/cgroup.procs`))) return undefined;
  const all = await Promise.all(directories.map((d) => (d.version === 2 ? observeV2(d.path) : observeV1(d))));
  // v2 comes last so that its figures win: it knows of nested members and of freezing without asking again
  const ordered = [...all].sort((a, b) => Number('v2' in a) - Number('v2' in b));
  const merged: Observation = Object.assign({}, ...ordered.map((o) => o.figures));
  return merged;
}

interface Observed {
  readonly figures: Observation;
  readonly v2?: true;
}

async function observeV2(path: string): Promise<Observed> {
  const [cgroup, memory, pids] = await Promise.all(V2_FILES.map((file) => readControl(`${path}/${file}`)));
  const figures = {
    'is-populated': flatValue(cgroup, 'populated'),
    'is-frozen': flatValue(cgroup, 'frozen'),
    oom: flatValue(memory, 'oom'),
    'oom-kill': flatValue(memory, 'oom_kill'),
    'memory-high': flatValue(memory, 'high'),
    'memory-max': flatValue(memory, 'max'),
    'memory-low': flatValue(memory, 'low'),
    'pids-max': flatValue(pids, 'max'),
  };
  return { figures: known(figures), v2: true };
}

async function observeV1({ path, controllers }: CgroupDirectory): Promise<Observed> {
  const has = (controller: string, file: string): Promise<string | undefined> =>
    controllers.includes(controller) ? readControl(`${path}/${file}`) : Promise.resolve(undefined);
  const [oom, fails, pids, freezer, members] = await Promise.all([
    has('memory', 'memory.oom_control'),
    has('memory', 'memory.failcnt'),
    has('pids', 'pids.events'),
    has('freezer', 'freezer.state'),
    readMembers(path),
  ]);
  const figures = {
    'is-populated': members.length > 0 ? 1n : 0n,
    'is-frozen': freezer === undefined || freezer === 'FREEZING' ? undefined : freezer === 'FROZEN' ? 1n : 0n,
    'oom-kill': flatValue(oom, 'oom_kill'),
    'memory-max': fails === undefined ? undefined : BigInt(fails),
    'pids-max': flatValue(pids, 'max'),
  };
  return { figures: known(figures) };
}

function known(figures: Readonly<Record<string, bigint | undefined>>): Observation {
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined));
}

const REMOVAL_MS = 1_000;

const V2_FILES = ['cgroup.events', 'memory.events', 'pids.events'] as const;

const COUNTS: readonly CgroupEventType[] = ['memory-low', 'memory-high', 'memory-max', 'oom', 'oom-kill', 'pids-max'];

const STATES = [
  { key: 'is-frozen', one: 'frozen', zero: 'thawed' },
  { key: 'is-populated', one: 'populated', zero: 'empty' },
] as const;
