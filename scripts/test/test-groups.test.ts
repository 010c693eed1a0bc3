/** Which tests run alone follows from what they reach: a word of their own, of a helper, or a module of a package. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../setup.mjs';
import { reasonToRunAlone, testFiles } from '../test-groups.mjs';

let place: string;
let planted = 0;
beforeAll(() => {
  place = join(mkdtempSync(join(tmpdir(), 'casemate-groups-')), 'test');
  mkdirSync(place);
});
afterAll(() => rmSync(join(place, '..'), { recursive: true, force: true }));

/** Why a test of this text would run alone, without the path behind it. */
function reasonFor(text: string): string | undefined {
  // Each file is read once: another text needs another name.
  const file = join(place, `${planted++}.test.ts`);
  writeFileSync(file, text);
  return reasonToRunAlone(relative(root, file))?.split(':')[0];
}

describe('a test file', () => {
  it('runs beside others where it reaches nothing that they could disturb', () => {
    expect(reasonFor("import { Reader } from '@casemate/wire';\nimport { spawn } from 'node:child_process';")).toBe(
      undefined,
    );
  });

  it('runs alone where it starts sandboxes or makes control groups, however many files lie between', () => {
    writeFileSync(join(place, 'third.ts'), "export { startContainer } from '@casemate/container';\n");
    writeFileSync(join(place, 'second.ts'), "export const load = async () => await import('./third.js');\n");
    expect(reasonFor("import {\n  load,\n} from './second.js';\n")).toMatch(/sandboxes|control groups/);
    expect(reasonFor("import '@casemate/cgroups';\n")).toBe('makes control groups');
  });

  it('runs beside others where it takes no more than types', () => {
    expect(reasonFor("import type { Container } from '@casemate/container';\n")).toBe(undefined);
  });

  it('runs alone where it measures time, gives little of it, or looks at what everyone has; its helpers too', () => {
    writeFileSync(join(place, 'clock.ts'), 'export const now = () => performance.now();\n');
    expect(reasonFor("import { now } from './clock.js';\n")).toBe('measures time');
    expect(reasonFor('await connect({ timeout: 300 });\n')).toBe('gives something less than a second');
    expect(reasonFor('await connect({ timeout: 30_000 });\n')).toBe(undefined);
    expect(reasonFor("const all = readdirSync('/proc');\n")).toBe('looks at what everyone has');
  });
});

it('finds the tests of this repository, of both kinds', () => {
  const files = testFiles();
  expect(files).toContain('scripts/test/test-groups.test.ts');
  expect(reasonToRunAlone('packages/wire/test/reader.test.ts')).toBe(undefined);
  expect(reasonToRunAlone('packages/namespaces/test/seccomp.test.ts')).toContain('sandboxes');
  expect(files.every((file) => /^(packages|examples|scripts)\/.*\.test\.ts$/.test(file))).toBe(true);
  expect(new Set(files.map((file) => reasonToRunAlone(file) === undefined))).toEqual(new Set([true, false]));
});
