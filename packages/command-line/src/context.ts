/** The surroundings of one command: options as they were given. */
import type { BaseContext } from './definition.js';
import { usage } from './failure.js';
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
): BaseContext {
  const texts = (name: string): readonly string[] => (values[name] ?? []).filter((value) => typeof value === 'string');
  const text = (name: string): string | undefined => texts(name).at(-1);
  // Read once: a descriptor is empty after that, and nobody wants to be asked twice.
  const secrets = new Map<string, Promise<Uint8Array | undefined>>();
  const readOnce = async (name: string): Promise<Uint8Array | undefined> => {
    const file = text(`${name}-file`);
    const source = text(name);
    if (file !== undefined && source !== undefined) throw usage(`give one of --${name} and --${name}-file`);
    const from = source ?? (file === undefined ? undefined : file === '-' ? '-' : `file:${file}`);
    return from === undefined ? undefined : await readSecret(from, name, surroundings);
  };
  const secret = async (name: string): Promise<Uint8Array | undefined> => {
    const reading = secrets.get(name) ?? readOnce(name);
    secrets.set(name, reading);
    return (await reading)?.slice();
  };
  return {
    surroundings,
    style,
    positionals,
    text,
    texts,
    has: (name) => values[name] !== undefined,
    secret,
    async secretText(name) {
      const bytes = await secret(name);
      return bytes && new TextDecoder().decode(bytes);
    },
    during: (what, work) => during(surroundings, typeof what === 'string' ? () => what : what, work),
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
