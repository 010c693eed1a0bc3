/** `casemate-pki`: from the command line to a command, and from its result to output and exit code. */
import { parseArgs } from 'node:util';
import { COMMANDS, commandNamed } from './commands.js';
import { makeContext, type OptionValues } from './context.js';
import type { CommandDefinition } from './definition.js';
import { EXIT, type ToldFailure, tell, usage } from './failure.js';
import { commandHelp, programHelp } from './help.js';
import { PROGRAM_OPTIONS } from './options.js';
import { pageWidth, type Surroundings, styleFor, wrap } from './terminal.js';
import { VERSION } from './version.js';

/** Runs the program and gives its exit code. */
export async function main(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const json = args.includes('--json');
  try {
    return await run(args, surroundings);
  } catch (error) {
    const told = tell(error);
    if (!told) throw error;
    const { exit, kind, message, remedy } = told;
    const failure = { error: { kind, exit, message, remedy: remedy ?? null } };
    surroundings.err(json ? `${JSON.stringify(failure)}\n` : failureText(told, surroundings));
    return told.exit;
  }
}

async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const style = styleFor(surroundings.isTerminal.out, surroundings.env);
  const { command, rest, group } = commandNamed(args);
  if (!command) {
    const [first, second] = args.filter((arg) => !arg.startsWith('-'));
    if (args.includes('--version')) return await printed(surroundings, `casemate-pki ${VERSION}\n`);
    if (group && second !== undefined) throw unknownCommand(`${group} ${second}`);
    if (first !== undefined && first !== 'help' && !group) throw unknownCommand(first);
    const isHelp = args.length === 0 || first === 'help' || args.includes('--help') || args.includes('-h');
    if (!isHelp && !group) throw usage('there is no command on the command line', '"casemate-pki --help" lists them.');
    await surroundings.out(programHelp(style, pageWidth(surroundings), group));
    return isHelp ? EXIT.OK : EXIT.USAGE;
  }
  const { values, positionals } = parsed(command, rest);
  if (values.help) return await printed(surroundings, commandHelp(command, style, pageWidth(surroundings)));
  assertCount(command, positionals);
  const result = await command.run(makeContext(surroundings, style, positionals, values));
  if (values.json) await surroundings.out(`${JSON.stringify(result.json, null, 2)}\n`);
  else if (result.text !== undefined && result.text !== '') await surroundings.out(`${result.text.trimEnd()}\n`);
  return result.exit ?? EXIT.OK;
}

function parsed(
  command: CommandDefinition,
  args: readonly string[],
): { readonly values: OptionValues; readonly positionals: readonly string[] } {
  const definitions = { ...PROGRAM_OPTIONS, ...command.options };
  const options = Object.fromEntries(
    Object.entries(definitions).map(([name, { type, short }]) => [
      name,
      { type, multiple: true, ...(short && { short }) },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
    const repeated = Object.entries(values).find(
      ([name, given]) =>
        Array.isArray(given) &&
        given.length > 1 &&
        !definitions[name]?.multiple &&
        definitions[name]?.type === 'string',
    );
    if (repeated) throw usage(`--${repeated[0]} is given more than once`);
    return { values: values as OptionValues, positionals }; // every option is `multiple`, so every value is an array
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw usage(
      error.message.split('. ')[0] ?? error.message,
      `"casemate-pki ${command.name} --help" lists its options.`,
    );
  }
}

function assertCount(command: CommandDefinition, positionals: readonly string[]): void {
  const { min, max } = command.positionals ?? { min: 0, max: 0 };
  const remedy = `Usage: casemate-pki ${command.name} ${command.usage ?? ''}`.trimEnd();
  if (positionals.length < min) throw usage(`${command.name}: something is missing`, remedy);
  if (positionals.length > max) throw usage(`${command.name}: "${positionals[max]}" is one argument too many`, remedy);
}

async function printed(surroundings: Surroundings, text: string): Promise<number> {
  await surroundings.out(text);
  return EXIT.OK;
}

function unknownCommand(name: string): Error {
  const near = COMMANDS.find((command) => command.name.startsWith(name.slice(0, name.includes(' ') ? 6 : 3)));
  return usage(
    `there is no command "${name}"`,
    near ? `Did you mean "${near.name}"? "casemate-pki --help" lists all.` : '"casemate-pki --help" lists them.',
  );
}

function failureText(told: ToldFailure, surroundings: Surroundings): string {
  const style = styleFor(surroundings.isTerminal.err, surroundings.env);
  const lines = [`${style.bad('casemate-pki:')} ${told.message}`];
  if (told.remedy) lines.push(...wrap(told.remedy, pageWidth(surroundings) - 2).map((line) => `  ${line}`));
  return `${lines.join('\n')}\n`;
}
