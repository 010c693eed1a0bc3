/** The help texts. */
import { COMMANDS } from './commands.js';
import type { CommandDefinition, OptionDefinitions } from './definition.js';
import { PROGRAM_OPTIONS } from './options.js';
import { SOURCES } from './secret-source.js';
import { type Style, table, wrap } from './terminal.js';

/** The help of the program, or of the commands whose first word is `group`. */
export function programHelp(style: Style, width: number, group?: string): string {
  const commands = COMMANDS.filter(({ name }) => group === undefined || name.startsWith(`${group} `));
  const rows = commands.map(({ name, summary }) => [style.bold(name), summary]);
  const parts = [
    'casemate-pki: an authority for devices, software and their users\n',
    `usage: casemate-pki ${group ?? 'COMMAND'} [arguments] [options]\n`,
    `${table(rows, { indent: 2, width })}\n`,
    `options of every command\n${optionTable(PROGRAM_OPTIONS, style, width)}\n`,
    `passphrases come from a SOURCE\n  ${SOURCES}\n`,
    `exit codes\n${table(EXIT_CODES, { indent: 2, width })}\n`,
    '"casemate-pki COMMAND --help" says more.\n',
  ];
  return parts.join('\n');
}

/** The help of one command. */
export function commandHelp(command: CommandDefinition, style: Style, width: number): string {
  const { name, usage = '', summary, details, options, examples } = command;
  const parts = [
    `casemate-pki ${name}: ${summary}\n`,
    `usage: casemate-pki ${[name, usage].join(' ').trimEnd()} [options]\n`,
  ];
  if (details) {
    const lines = wrap(details, width - 2).map((line) => `  ${line}`);
    parts.push(`${lines.join('\n')}\n`);
  }
  if (options) parts.push(`options\n${optionTable(options, style, width)}\n`);
  parts.push(`options of every command\n${optionTable(PROGRAM_OPTIONS, style, width)}\n`);
  if (Object.values(options ?? {}).some(({ value }) => value === 'SOURCE')) parts.push(`SOURCE\n  ${SOURCES}\n`);
  if (examples) parts.push(`examples\n${examples.map((line) => `  ${line}`).join('\n')}\n`);
  return parts.join('\n');
}

function optionTable(options: OptionDefinitions, style: Style, width: number): string {
  const rows = Object.entries(options).map(([name, { short, value, help }]) => {
    const long = `${short ? `-${short}, ` : '    '}--${name}`;
    return [style.bold(value === undefined ? long : `${long} ${value}`), help];
  });
  return table(rows, { indent: 2, width });
}

const EXIT_CODES = [
  ['0', 'done'],
  ['1', 'failed otherwise, such as a file that cannot be read'],
  ['2', 'the command line is wrong'],
  ['3', 'a TPM, token or store cannot be reached, or is in use'],
  ['4', 'a profile, policy or store does not permit it'],
  ['5', 'a passphrase or PIN is wrong or missing'],
  ['6', 'a check said no'],
  ['7', 'a file is malformed'],
];
