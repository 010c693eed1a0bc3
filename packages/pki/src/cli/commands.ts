/** The commands of the program. */
import { AUDIT_COMMANDS } from './commands/audit.js';
import { CEREMONY_COMMANDS } from './commands/ceremony.js';
import { initCommand } from './commands/init.js';
import { inspectCommand } from './commands/inspect.js';
import { issueCommand } from './commands/issue.js';
import { crlCommand, revokeCommand } from './commands/revoke.js';
import { serveCommand } from './commands/serve.js';
import { signCommand, verifyCommand } from './commands/sign.js';
import type { CommandDefinition } from './definition.js';

/** All of them, in the order of the help. */
export const COMMANDS: readonly CommandDefinition[] = [
  initCommand,
  issueCommand,
  signCommand,
  verifyCommand,
  revokeCommand,
  crlCommand,
  inspectCommand,
  serveCommand,
  ...AUDIT_COMMANDS,
  ...CEREMONY_COMMANDS,
];

/** The command that a command line names, and the arguments without its name; or the first word of several commands. */
export function commandNamed(args: readonly string[]): {
  readonly command: CommandDefinition | undefined;
  readonly rest: readonly string[];
  readonly group: string | undefined;
} {
  const places = args.flatMap((arg, i) => (arg.startsWith('-') ? [] : [i])).slice(0, 2);
  const [first, second] = places;
  const word = first === undefined ? '' : (args[first] ?? '');
  const pair = second === undefined ? '' : `${word} ${args[second] ?? ''}`;
  const command = COMMANDS.find(({ name }) => name === pair) ?? COMMANDS.find(({ name }) => name === word);
  const used = command?.name === pair ? [first, second] : [first];
  const rest = args.filter((_, i) => !used.includes(i));
  const group = COMMANDS.some(({ name }) => name.startsWith(`${word} `)) ? word : undefined;
  return { command, rest, group };
}
