/** The help texts. */
import type { BaseContext, CommandDefinition, OptionDefinitions, ProgramDefinition } from './definition.js';
import { EXIT } from './failure.js';
import { SOURCES } from './secret-source.js';
import { type Style, table, wrap } from './terminal.js';

/** The help of a program, or of those of its commands whose first word is `group`. */
export function programHelp<C extends BaseContext>(
  program: ProgramDefinition<C>,
  style: Style,
  width: number,
  group?: string,
): string {
  const commands = program.commands.filter(({ name }) => group === undefined || name.startsWith(`${group} `));
  const rows = commands.map(({ name, summary }) => [style.bold(name), summary]);
  const sections = program.sections ?? [];
  const parts = [
    `${program.name}: ${program.summary}\n`,
    `usage: ${program.name} ${group ?? 'COMMAND'} [arguments] [options]\n`,
    `${table(rows, { indent: 2, width })}\n`,
    `options of every command\n${optionTable(programOptions(program), style, width)}\n`,
    ...sections.map(({ title, rows }) => `${title}\n${table(rows, { indent: 2, width })}\n`),
    `exit codes\n${table(exitCodeRows(program), { indent: 2, width })}\n`,
    `"${program.name} COMMAND --help" says more.\n`,
  ];
  return parts.join('\n');
}

/** The help of one command. */
export function commandHelp<C extends BaseContext>(
  program: ProgramDefinition<C>,
  command: CommandDefinition<C>,
  style: Style,
  width: number,
): string {
  const { name, usage = '', summary, details, options, examples } = command;
  const parts = [
    `${program.name} ${name}: ${summary}\n`,
    `usage: ${program.name} ${[name, usage].join(' ').trimEnd()} [options]\n`,
  ];
  if (details) {
    const lines = wrap(details, width - 2).map((line) => `  ${line}`);
    parts.push(`${lines.join('\n')}\n`);
  }
  if (options) parts.push(`options\n${optionTable(options, style, width)}\n`);
  parts.push(`options of every command\n${optionTable(programOptions(program), style, width)}\n`);
  if (Object.values(options ?? {}).some(({ value }) => value === 'SOURCE')) parts.push(`SOURCE\n  ${SOURCES}\n`);
  if (examples) parts.push(`examples\n${examples.map((line) => `  ${line}`).join('\n')}\n`);
  return parts.join('\n');
}

/** The options of every command of a program. */
export function programOptions<C extends BaseContext>({ options }: ProgramDefinition<C>): OptionDefinitions {
  return {
    ...options,
    json: { type: 'boolean', help: 'print JSON' },
    help: { type: 'boolean', short: 'h', help: 'this text' },
  };
}

function optionTable(options: OptionDefinitions, style: Style, width: number): string {
  const rows = Object.entries(options).map(([name, { short, value, help }]) => {
    const long = `${short ? `-${short}, ` : '    '}--${name}`;
    return [style.bold(value === undefined ? long : `${long} ${value}`), help];
  });
  return table(rows, { indent: 2, width });
}

function exitCodeRows<C extends BaseContext>(program: ProgramDefinition<C>): readonly (readonly string[])[] {
  // Codes are small integers, so that they come in their order.
  return Object.entries({ ...EXIT_CODES, ...program.exitCodes });
}

const EXIT_CODES = {
  [EXIT.OK]: 'done',
  [EXIT.FAILED]: 'failed otherwise, such as a file that cannot be read',
  [EXIT.USAGE]: 'the command line is wrong',
  [EXIT.CHECK_FAILED]: 'a check said no',
  [EXIT.MALFORMED]: 'a file is malformed',
};
