/** What stands in for vitest in a guest machine, where the whole of it would take minutes to load: its own `expect`, and tests one by one. */
import { ASYMMETRIC_MATCHERS_OBJECT, JestAsymmetricMatchers, JestChaiExpect } from '@vitest/expect';
import * as chai from 'chai';

chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

/** vitest's matchers. */
export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  Reflect.get(globalThis, ASYMMETRIC_MATCHERS_OBJECT),
);

type Body = (...values: readonly unknown[]) => unknown;

interface Test {
  readonly name: string;
  readonly body: Body | undefined; // a skipped one has none
}

interface Group {
  readonly name: string;
  readonly items: (Test | Group)[];
  readonly before: Body[];
  readonly after: Body[];
  readonly beforeEach: Body[];
  readonly afterEach: Body[];
}

function newGroup(name: string): Group {
  return { name, items: [], before: [], after: [], beforeEach: [], afterEach: [] };
}

let current = newGroup('');

/** Declares a group. */
export const describe = Object.assign(
  (name: string, declare: Body) => {
    const outer = current;
    current = newGroup(name);
    outer.items.push(current);
    declare();
    current = outer;
  },
  {
    each: (rows: readonly unknown[]) => (name: string, declare: Body) => {
      for (const row of rows) describe(titleOf(name, row), () => declare(...valuesOf(row)));
    },
  },
);

/** Of vitest's own helpers those that the tests use. */
export const vi = {
  /** Time limits are those of the stand-in. */
  setConfig: (): void => undefined,
  async waitFor(body: Body, { timeout = 1000, interval = 50 } = {}): Promise<unknown> {
    const until = Date.now() + timeout * SLOWNESS;
    for (;;) {
      try {
        return await body();
      } catch (error) {
        if (Date.now() > until) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, interval));
    }
  },
};

/** Declares a test. */
export const it = Object.assign(
  (name: string, body: Body) => {
    current.items.push({ name, body });
  },
  {
    skip: (name: string) => {
      current.items.push({ name, body: undefined });
    },
    each: (rows: readonly unknown[]) => (name: string, body: Body) => {
      for (const row of rows) it(titleOf(name, row), () => body(...valuesOf(row)));
    },
  },
);

/** What is done before the tests of a group. */
export function beforeAll(body: Body): void {
  current.before.push(body);
}

/** What is done after the tests of a group. */
export function afterAll(body: Body): void {
  current.after.unshift(body);
}

/** What is done before each test of a group. */
export function beforeEach(body: Body): void {
  current.beforeEach.push(body);
}

/** What is done after each test of a group. */
export function afterEach(body: Body): void {
  current.afterEach.unshift(body);
}

/** How many tests ended how. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs all tests that have been declared, telling of each by a line. */
export async function runAll(tell: (line: string) => void): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  await runGroup(current, [], counts, tell);
  return counts;
}

async function runGroup(
  group: Group,
  path: readonly Group[],
  counts: Counts,
  tell: (line: string) => void,
): Promise<void> {
  const groups = [...path, group];
  const prepared = await attempt(group.before);
  for (const item of group.items) {
    if ('items' in item) await runGroup(item, groups, counts, tell);
    else await runTest(item, groups, prepared, counts, tell);
  }
  const undone = await attempt(group.after);
  if (undone) tell(`# clean-up of ${group.name}: ${undone}`);
}

async function runTest(
  { name, body }: Test,
  groups: readonly Group[],
  unprepared: string | undefined,
  counts: Counts,
  tell: (line: string) => void,
): Promise<void> {
  const title = [...groups.map((g) => g.name).filter(Boolean), name].join(' > ');
  if (!body) {
    counts.skipped++;
    return tell(`skip ${title}`);
  }
  const start = Date.now();
  const bodies = [...groups.flatMap((g) => g.beforeEach), body, ...groups.toReversed().flatMap((g) => g.afterEach)];
  const problem = unprepared ?? (await attempt(bodies));
  counts[problem ? 'failed' : 'passed']++;
  tell(`${problem ? 'FAIL' : 'pass'} ${title} (${Date.now() - start} ms)`);
  if (problem) tell(problem.replace(/^/gm, '     '));
}

async function attempt(bodies: readonly Body[]): Promise<string | undefined> {
  try {
    for (const body of bodies) await within(PATIENCE_MS, body);
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

async function within(milliseconds: number, body: Body): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${milliseconds} ms`)), milliseconds);
  });
  await Promise.race([Promise.resolve(body()), late]).finally(() => clearTimeout(timer));
}

function valuesOf(row: unknown): readonly unknown[] {
  return Array.isArray(row) ? row : [row];
}

function titleOf(name: string, row: unknown): string {
  const values = [...valuesOf(row)];
  const named = name.replaceAll(/\$(\w+)/g, (all, key: string) =>
    typeof row === 'object' && row !== null && key in row ? String(Reflect.get(row, key)) : all,
  );
  return named.replaceAll(/%[sidpjo]/g, () => String(values.shift()));
}

const SLOWNESS = 20; // of an emulated machine
const PATIENCE_MS = 600_000; // ten times vitest's own here
