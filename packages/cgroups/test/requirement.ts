/** Tests that need something of the machine: they skip with the reason, or fail where MUST_RUN=1 says that it is there. */
import { it } from 'vitest';

/**
 * `it`, if `met`; otherwise a skipped test, also where MUST_RUN=1: for what only another kernel or hierarchy has, where
 * `npm run guest` runs it.
 */
export function itElsewhere(met: boolean, reason: string): (name: string, body: () => Promise<void> | void) => void {
  if (met) return (name, body) => it(name, body);
  return (name, body) => it.skip(`${name} (skipped: ${reason}; npm run guest -- cgroups runs it)`, body);
}

/** `it`, if `met`; otherwise a skipped test whose name says why, or a failing one. */
export function itNeeds(met: boolean, reason: string): (name: string, body: () => Promise<void> | void) => void {
  if (met) return (name, body) => it(name, body);
  if (process.env.MUST_RUN !== '1') return (name, body) => it.skip(`${name} (skipped: ${reason})`, body);
  return (name) =>
    it(name, () => {
      throw new Error(`this test must run, but ${reason}`);
    });
}
