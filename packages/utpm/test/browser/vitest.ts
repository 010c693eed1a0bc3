/** What stands in for vitest in a browser: its own `expect`, and just enough to declare tests and run them one after another. */
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
  readonly body: () => unknown;
}

const tests: Test[] = [];
const groups: string[] = [];

/** Declares a group. */
export const describe = Object.assign(
  (name: string, declare: Body) => {
    groups.push(name);
    declare();
    groups.pop();
  },
  {
    each: (rows: readonly unknown[]) => (name: string, declare: Body) => {
      for (const row of rows) describe(titleOf(name, row), () => declare(...valuesOf(row)));
    },
  },
);

/** Declares a test. */
export const it = Object.assign(
  (name: string, body: () => unknown) => {
    tests.push({ name: [...groups, name].join(' > '), body });
  },
  {
    each: (rows: readonly unknown[]) => (name: string, body: Body) => {
      for (const row of rows) it(titleOf(name, row), () => body(...valuesOf(row)));
    },
  },
);

function valuesOf(row: unknown): readonly unknown[] {
  return Array.isArray(row) ? row : [row];
}

function titleOf(name: string, row: unknown): string {
  const values = [...valuesOf(row)];
  return name.replaceAll(/%[sidp]/g, () => String(values.shift()));
}

/** What became of the tests. */
export interface Outcome {
  readonly passed: readonly string[];
  readonly failed: readonly { readonly name: string; readonly error: string }[];
}

/** Runs all tests that have been declared. */
export async function runAll(): Promise<Outcome> {
  const passed: string[] = [];
  const failed: { name: string; error: string }[] = [];
  for (const { name, body } of tests) {
    try {
      await body();
      passed.push(name);
    } catch (error) {
      failed.push({ name, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  }
  return { passed, failed };
}
