/** The surroundings of one command: options as they were given. */
import type { Context } from './definition.js';
import { readSecret } from './secret-source.js';
import type { Style, Surroundings } from './terminal.js';

/** Option values as node:util's parseArgs gives them, `multiple` for all of them. */
export type OptionValues = Readonly<Record<string, readonly (string | boolean)[] | undefined>>;

/** Makes the context of a command. */
export function makeContext(
  surroundings: Surroundings,
  style: Style,
  positionals: readonly string[],
  values: OptionValues,
): Context {
  const texts = (name: string): readonly string[] => (values[name] ?? []).filter((value) => typeof value === 'string');
  const text = (name: string): string | undefined => texts(name).at(-1);
  return {
    surroundings,
    style,
    positionals,
    text,
    texts,
    has: (name) => values[name] !== undefined,
    async secret(name) {
      const source = text(name);
      return source === undefined ? undefined : new TextDecoder().decode(await readSecret(source, name, surroundings));
    },
    during: (what, work) => during(surroundings, what, work),
  };
}

/** A line on standard error that counts the seconds, once half a second has passed; only where that is a terminal. */
async function during<T>(surroundings: Surroundings, what: () => string, work: Promise<T>): Promise<T> {
  if (!surroundings.isTerminal.err) return await work;
  const start = Date.now();
  let shown = false;
  const timer = setInterval(() => {
    shown = true;
    surroundings.err(`\r\u001b[K${what()} … ${Math.floor((Date.now() - start) / 1000)} s`);
  }, 500);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (shown) surroundings.err('\r\u001b[K');
  }
}
