/** Tests that need a program of the machine: they skip with the reason, or fail where MUST_RUN=1 says that it is there. */
import { spawnSync } from 'node:child_process';
import { it } from 'vitest';

/** `it`, or a skipped or failing test where one of the programs is missing. */
export function itWith(
  ...programs: readonly string[]
): (name: string, body: () => Promise<void>, timeout?: number) => void {
  const missing = programs.filter((program) => spawnSync('which', [program]).status !== 0);
  if (missing.length === 0) return it;
  const reason = `${missing.join(', ')} not installed`;
  if (process.env.MUST_RUN !== '1') return (name, body) => it.skip(`${name} (${reason})`, body);
  return (name) =>
    it(name, () => {
      throw new Error(`MUST_RUN=1, but ${reason}`);
    });
}
