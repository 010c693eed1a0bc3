/** Temporary directories that go with the test file that made them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const made: string[] = [];

// Registered before the hooks of the file that imports this, and therefore run after them.
afterAll(() => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

/** A new directory whose name has `what` in it. */
export function temporaryDirectory(what: string): string {
  const path = mkdtempSync(join(tmpdir(), `utpm-${what}-`));
  made.push(path);
  return path;
}
