/** The fuzzer of the decoder in C, for a moment: that it builds, runs, and finds nothing. For longer: sdk/test/fuzz.mk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, SDK, whatIsMissing } from './sdk-build.js';

const missing = whatIsMissing('clang', 'make', 'xxd');
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);

describe.skipIf(missing !== '')(`the decoder in C${missing === '' ? '' : ` (${missing})`}`, () => {
  let place: string;
  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), 'casemate-fuzz-'));
  });
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  it('stays within messages of every kind, and has one encoding for each', () => {
    const options = [`OUT=${place}`, 'UNTIL=-runs=40000 -seed=1'];
    const output = run('sh', ['-c', 'make -f "$0" "$@" 2>&1', join(SDK, 'test/fuzz.mk'), ...options]);
    const seen = /Done (\d+) runs/.exec(output);
    expect(Number(seen?.[1])).toBeGreaterThanOrEqual(40_000);
    expect(Number(/cov: (\d+) .*\n(?!.*cov: )/.exec(output)?.[1])).toBeGreaterThan(100);
  }, 120_000);
});
