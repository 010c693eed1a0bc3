/** How much members wait for CPU, memory and disks: kernel docs accounting/psi.rst. */
import type { CgroupDirectory } from './cgroup.js';
import { pauseOrAbort, readControl } from './control-file.js';
import { CgroupError } from './error.js';

/** A resource that members can wait for. */
export type PressureResource = 'cpu' | 'memory' | 'io';

/** How much of the time was lost to waiting. */
export interface PressureFigures {
  /** Percent of the last ten seconds, of the last minute and of the last five. */
  readonly avg10: number;
  /** See `avg10`. */
  readonly avg60: number;
  /** See `avg10`. */
  readonly avg300: number;
  /** Microseconds since the cgroup was made. */
  readonly total: bigint;
}

/** The pressure on one resource. */
export interface ResourcePressure {
  /** Time in which at least one member waited. */
  readonly some: PressureFigures;
  /** Time in which all members that could run waited at once; older kernels have none for the CPU. */
  readonly full?: PressureFigures;
}

/** The pressure on every resource that the kernel tells of. */
export type CgroupPressure = Readonly<Partial<Record<PressureResource, ResourcePressure>>>;

/** When {@link Cgroup.watchPressure} is to tell. */
export interface PressureOptions {
  /** The resource. */
  readonly resource: PressureResource;
  /** Whether one waiting member counts, or only all at once. Default `some`. */
  readonly kind?: 'some' | 'full';
  /** How many microseconds of waiting. */
  readonly stall: number;
  /** In how many microseconds: 50,000 … 10,000,000, and more than `stall`. */
  readonly window: number;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Arms a trigger of the kernel: `pressureTrigger` of @casemate/namespaces. Without it the file is read four times in a window. */
  readonly trigger?: PressureTrigger;
}

/** Arms the trigger in the pressure file at `path`, and yields each time that it fires, until `signal` is aborted. */
export type PressureTrigger = (path: string, trigger: string, signal?: AbortSignal) => AsyncIterable<void>;

/** Members have waited longer than was asked for. */
export interface PressureEvent {
  /** The resource. */
  readonly resource: PressureResource;
  /** Microseconds of waiting in the window that has just passed; with a trigger, since the event before. */
  readonly stalled: bigint;
}

/** The figures in a pressure file; undefined if they are none. */
export function parsePressure(text: string): ResourcePressure | undefined {
  const [some, full] = [figures(text, 'some'), figures(text, 'full')];
  return some && { some, ...(full && { full }) };
}

/** Reads the pressure files of the v2 directory among `directories`. Throws {@link CgroupError} `unsupported`. */
export async function readPressure(name: string, directories: readonly CgroupDirectory[]): Promise<CgroupPressure> {
  const path = pressureDirectory(name, directories);
  const found = await Promise.all(
    RESOURCES.map(async (resource) => [resource, await readOne(path, resource)] as const),
  );
  const known = found.filter(([, pressure]) => pressure !== undefined);
  if (known.length === 0) throw unsupported(name, 'the kernel tells of none; boot it with psi=1');
  return Object.fromEntries(known);
}

/** See {@link Cgroup.watchPressure}. */
export async function* watchPressure(
  name: string,
  directories: readonly CgroupDirectory[],
  options: PressureOptions,
): AsyncIterableIterator<PressureEvent> {
  const { resource, kind = 'some', stall, window, signal } = options;
  checkOptions(options);
  const path = pressureDirectory(name, directories);
  const total = async (): Promise<bigint | undefined> => (await readOne(path, resource))?.[kind]?.total;
  const start = (await total()) ?? refuse(name, resource, kind);
  if (options.trigger) {
    const fired = options.trigger(`${path}/${resource}.pressure`, `${kind} ${stall} ${window}`, signal);
    return yield* triggered(fired, { resource, start, total });
  }
  let totals: readonly bigint[] = [start];
  while (await pauseOrAbort(window / 1000 / STEPS, signal)) {
    const now = await total();
    if (now === undefined) return; // the cgroup has been removed
    totals = [...totals, now].slice(-STEPS - 1);
    const stalled = now - (totals[0] ?? now);
    if (stalled < BigInt(stall)) continue;
    totals = [now]; // no stall is told twice
    yield { resource, stalled };
  }
}

async function* triggered(
  fired: AsyncIterable<void>,
  {
    resource,
    start,
    total,
  }: { readonly resource: PressureResource; readonly start: bigint; readonly total: () => Promise<bigint | undefined> },
): AsyncIterableIterator<PressureEvent> {
  let before = start;
  for await (const _ of fired) {
    const now = await total();
    if (now === undefined) return; // the cgroup has been removed
    yield { resource, stalled: now - before };
    before = now;
  }
}

async function readOne(path: string, resource: PressureResource): Promise<ResourcePressure | undefined> {
  return parsePressure((await readControl(`${path}/${resource}.pressure`)) ?? '');
}

function figures(text: string, kind: string): PressureFigures | undefined {
  const line = new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`, 'm').exec(text);
  const [, avg10, avg60, avg300, total] = line ?? [];
  if (total === undefined) return undefined;
  return { avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300), total: BigInt(total) };
}

function pressureDirectory(name: string, directories: readonly CgroupDirectory[]): string {
  const v2 = directories.find((d) => d.version === 2);
  if (v2) return v2.path;
  throw unsupported(name, 'cgroup v1 has none; mount cgroup2 beside it');
}

function checkOptions({ stall, window }: PressureOptions): void {
  const good = Number.isInteger(window) && window >= 50_000 && window <= 10_000_000 && stall > 0 && stall <= window;
  if (good && Number.isInteger(stall)) return;
  const expected = 'a window of 50000 … 10000000 µs and a stall within it';
  throw new CgroupError('bad-limit', `watch pressure: expected ${expected}, got ${stall} in ${window}`);
}

function refuse(name: string, resource: string, kind: string): never {
  throw unsupported(name, `the kernel has no ${kind} figures for ${resource}`);
}

function unsupported(name: string, reason: string): CgroupError {
  return new CgroupError('unsupported', `read the pressure on cgroup ${name}: ${reason}`);
}

const RESOURCES: readonly PressureResource[] = ['cpu', 'memory', 'io'];
const STEPS = 4;
