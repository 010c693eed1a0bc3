// The arguments of the repository's scripts: what they are is told on demand, and what is not known is refused before anything is done.
import { parseArgs } from 'node:util';

/** What the script was called with, as `parseArgs` gives it. `--help` prints the usage and ends with 0, what is not known with 2. */
export function readArguments(usage, { options = {}, ...rest } = {}) {
  const { values, positionals } = parsed(usage, {
    ...rest,
    options: { ...options, help: { type: 'boolean', short: 'h' } },
  });
  if (!values.help) return { values, positionals };
  process.stdout.write(usage);
  return process.exit(0);
}

/** Says in one sentence what is wrong, then how the script is used, and ends with 2. */
export function refuseArguments(usage, problem) {
  process.stderr.write(`${problem}\n${usage}`);
  process.exit(2);
}

/** The number that an option gives; refused unless it is one that is above 0, or a whole one that is at least `from`. */
export function numberOf(usage, name, text, from) {
  const value = Number(text);
  const isMeant = from === undefined ? value > 0 : Number.isInteger(value) && value >= from;
  if (isMeant && Number.isFinite(value)) return value;
  const wanted = from === undefined ? 'a number above 0' : `a whole number from ${from}`;
  return refuseArguments(usage, `--${name}: expected ${wanted}, got "${text}".`);
}

// What parseArgs says goes on to explain `--`, which npm has taken already.
function parsed(usage, config) {
  try {
    return parseArgs(config);
  } catch (error) {
    return refuseArguments(usage, `${error.message.split('. ')[0].replace(/\.$/, '')}.`);
  }
}
