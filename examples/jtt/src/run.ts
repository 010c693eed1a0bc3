/** One run of the program: options in, lines out, exit status back. */
import { parseArgs } from 'node:util';
import { TpmError } from '@casemate/tpm';
import { Tpm12 } from '@casemate/tpm/tpm12';
import { WireError } from '@casemate/wire';
import { COMMON_OPTIONS, type Given, may, type Option, type Subcommand, toNumber, UsageError } from './command.js';
import { offline, subcommands } from './commands/table.js';
import { type Connection, connect } from './transport.js';

/** Where the lines go. */
export interface Output {
  /** Results. */
  readonly print: (line: string) => void;
  /** Complaints. */
  readonly complain: (line: string) => void;
}

/** Runs `jtt` with these arguments. Gives the exit status: 0 done, 1 refused by the TPM or failed, 2 not understood. */
export async function run(args: readonly string[], output: Output): Promise<number> {
  try {
    await dispatch(args, output);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      output.complain(`jtt: ${error.message}`);
      return 2;
    }
    if (error instanceof TpmError || error instanceof WireError || isSystemError(error)) {
      output.complain(`jtt: ${error.message}`);
      return 1;
    }
    throw error;
  }
}

async function dispatch([name, ...args]: readonly string[], { print }: Output): Promise<void> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return print(overview());
  const command = Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (command === undefined) throw new UsageError(`"${name}" is no subcommand; jtt --help lists them`);
  const given = parse(command, args);
  if (given.help === true) return print(details(name, command));
  const connection = offline.has(command) ? nowhere : await connect(may(given, 'tpm') ?? 'device:/dev/tpm0');
  await using tpm = new Tpm12(connection);
  const { control } = connection;
  const locality = may(given, 'locality');
  if (locality === undefined) return await command.run({ tpm, given, print, control });
  if (control === undefined) throw new UsageError('--locality: only swtpm lets its client choose');
  await control.setLocality(toNumber(locality, 'locality'));
  try {
    await command.run({ tpm, given, print, control });
  } finally {
    await control.setLocality(0);
  }
}

/** For subcommands that speak to no TPM. */
const nowhere: Connection = {
  send: () => Promise.reject(new TpmError('usage', 'send: this subcommand works without a TPM')),
  close: async () => undefined,
};

function parse(command: Subcommand, args: readonly string[]): Given {
  const all: Readonly<Record<string, Option>> = { ...command.options, ...COMMON_OPTIONS };
  const options = Object.fromEntries(
    Object.entries(all).map(([name, { type, short }]) => [name, short === undefined ? { type } : { type, short }]),
  );
  try {
    return parseArgs({ args: [...args], options, strict: true }).values as Given; // of the types in `options`
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function overview(): string {
  const lines = Object.entries(subcommands).map(([name, { help }]) => `  ${name.padEnd(16)} ${help}`);
  return ['usage: jtt SUBCOMMAND [options]; jtt SUBCOMMAND --help tells more', '', ...lines].join('\n');
}

function details(name: string, command: Subcommand): string {
  const lines = Object.entries({ ...command.options, ...COMMON_OPTIONS } as Record<string, Option>).map(
    ([option, { type, short, help }]) => {
      const form = `${short === undefined ? '   ' : `-${short},`} --${option}${type === 'string' ? ' VALUE' : ''}`;
      return `  ${form.padEnd(28)} ${help}`;
    },
  );
  return [`usage: jtt ${name} [options]: ${command.help}`, '', ...lines].join('\n');
}

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error;
}
