/** Undoing in steps, of which one that fails must not keep the next from being done. */

/** Runs one step after another to the last, and then throws the first error that there was. */
export async function runAll(steps: Iterable<() => unknown>): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
