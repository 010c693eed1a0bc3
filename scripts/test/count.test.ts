/** The last line of the CI, from reports of vitest: what passed, what did not, and what passes alone but did not beside the others. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { failedFiles, type Report, total } from '../../.ci/count.mjs';
import { root } from '../setup.mjs';

const path = (name: string) => new URL(`reports/${name}.json`, import.meta.url).pathname;
const report = (name: string): Report => JSON.parse(readFileSync(path(name), 'utf8'));
const none: Report = { testResults: [] };
const count = (first: Report, second = none) => total(first, second, '/repository');

describe('a run', () => {
  it('is good where nothing failed', () => {
    expect(count(report('alone'))).toEqual({ lines: ['2 passed, 0 failed, 0 skipped'], isGood: true });
  });

  it('is bad where a test failed, which was not run again', () => {
    expect(count(report('unsteady'))).toEqual({ lines: ['2 passed, 1 failed, 2 skipped'], isGood: false });
  });

  it('is good where what failed passed alone, and says what that was', () => {
    expect(failedFiles(report('unsteady'), '/repository')).toEqual(['packages/a/test/unsteady.test.ts']);
    const lines = [
      'failed beside the others, passed alone: packages/a/test/unsteady.test.ts: a race is won',
      '3 passed, 0 failed, 2 skipped',
    ];
    expect(count(report('unsteady'), report('alone'))).toEqual({ lines, isGood: true });
  });

  it('is bad where a file did not load: that is one failure', () => {
    const lines = ['failed outside of its tests: packages/a/test/broken.test.ts', '1 passed, 1 failed, 2 skipped'];
    expect(count(report('broken'))).toEqual({ lines, isGood: false });
  });

  it('is bad where an error belonged to no test, though every file that failed passes alone', () => {
    expect(failedFiles(report('stray'), '/repository')).toEqual(['packages/a/test/unsteady.test.ts']);
    const { lines, isGood } = count(report('stray'), report('alone'));
    expect(isGood).toBe(false);
    expect(lines.slice(1)).toEqual([
      'failed outside of all tests: Error: nobody waits for this',
      '4 passed, 1 failed, 2 skipped',
    ]);
    expect(count(report('alone'), report('stray')).isGood).toBe(false);
  });

  it('is bad where nothing ran', () => {
    expect(count(none)).toEqual({ lines: ['0 passed, 0 failed, 0 skipped'], isGood: false });
  });
});

it('is counted by the program that the CI calls, which takes a report that is missing for an empty one', () => {
  const args = [`${root}/.ci/count.mjs`, 'total', path('alone'), path('missing')];
  expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toBe('2 passed, 0 failed, 0 skipped\n');
});
