/** The C library of the SDK beside the host's, compiled for this machine under sanitizers: `sdk/test/libc.c`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, SDK, whatIsMissing } from './sdk-build.js';

const missing = whatIsMissing('clang', 'make', 'objcopy');
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);
const seed = process.env.SDK_SEED ?? '1';
const rounds = process.env.SDK_ROUNDS ?? '1500';

describe.skipIf(missing !== '')(`the C library of PALs${missing === '' ? '' : ` (${missing})`}`, () => {
  let place: string;
  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), 'casemate-libc-'));
    run('make', ['-s', '-j2', '-f', join(SDK, 'test/native-libc.mk'), `OUT=${place}`]);
  }, 120_000);
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  it('does what that of the host does: memory, text, formats, numbers, sorting, the heap, dates, jumps', () => {
    const printed = run(join(place, 'libc'), [seed, rounds]);
    expect(printed).toMatch(/^\d{6,} comparisons, 0 differences\n$/);
  });
});
