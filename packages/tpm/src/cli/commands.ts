/** The commands of the program. */
import { decodeCommand } from './commands/decode.js';
import { flushCommand, handlesCommand } from './commands/handles.js';
import { getcapCommand, infoCommand } from './commands/info.js';
import { KEY_COMMANDS } from './commands/key.js';
import { NV_COMMANDS } from './commands/nv.js';
import { extendCommand, pcrsCommand } from './commands/pcrs.js';
import { ekCommand, lockoutCommand, randomCommand, shutdownCommand, startupCommand } from './commands/platform.js';
import { checkQuoteCommand, quoteCommand } from './commands/quote.js';
import { sealCommand, unsealCommand } from './commands/seal.js';
import type { CommandDefinition } from './definition.js';

/** All of them, in the order of the help. */
export const COMMANDS: readonly CommandDefinition[] = [
  infoCommand,
  pcrsCommand,
  extendCommand,
  quoteCommand,
  checkQuoteCommand,
  sealCommand,
  unsealCommand,
  ...KEY_COMMANDS,
  ...NV_COMMANDS,
  ekCommand,
  randomCommand,
  handlesCommand,
  flushCommand,
  getcapCommand,
  lockoutCommand,
  startupCommand,
  shutdownCommand,
  decodeCommand,
];

/** The command that a command line names, and the arguments without its name; or the first word of several commands. */
export function commandNamed(args: readonly string[]): {
  readonly command: CommandDefinition | undefined;
  readonly rest: readonly string[];
  readonly group: string | undefined;
} {
  const [first, second] = wordPlaces(args);
  const word = first === undefined ? '' : (args[first] ?? '');
  const pair = second === undefined ? '' : `${word} ${args[second] ?? ''}`;
  const command = COMMANDS.find(({ name }) => name === pair) ?? COMMANDS.find(({ name }) => name === word);
  const used = command?.name === pair ? [first, second] : [first];
  const rest = args.filter((_, i) => !used.includes(i));
  const group = COMMANDS.some(({ name }) => name.startsWith(`${word} `)) ? word : undefined;
  return { command, rest, group };
}

/** Where the first two arguments stand that are no options; the options of the program may come before the command. */
function wordPlaces(args: readonly string[]): readonly number[] {
  const places: number[] = [];
  for (let i = 0; i < args.length && places.length < 2; i++) {
    const arg = args[i] ?? '';
    if (WITH_VALUE.has(arg)) i++;
    else if (!arg.startsWith('-')) places.push(i);
  }
  return places;
}

const WITH_VALUE: ReadonlySet<string> = new Set(['--tpm', '-T', '--record', '--timeout']);
