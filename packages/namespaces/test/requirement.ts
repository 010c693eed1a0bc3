/** Tests that need something of the machine: they skip with the reason, or fail where MUST_RUN=1 says that it is there. */
import { it } from 'vitest';

/** `it` where the kernel is new enough for what is tested; which one a machine has is nobody's mistake. */
export function itKernel(
  met: boolean,
  reason: string,
  declare: (name: string, body: () => Promise<void> | void) => void,
): (name: string, body: () => Promise<void> | void) => void {
  return met ? declare : (name, body) => it.skip(`${name} (skipped: ${reason})`, body);
}

/** `it`, if `met`; declare a skipped test whose name says why, or a failing one. */
export function itNeeds(met: boolean, reason: string): (name: string, body: () => Promise<void> | void) => void {
  if (met) return (name, body) => it(name, body);
  if (process.env.MUST_RUN !== '1') return (name, body) => it.skip(`${name} (skipped: ${reason})`, body);
  return (name) =>
    it(name, () => {
      throw new Error(`this test must run, but ${reason}`);
    });
}
