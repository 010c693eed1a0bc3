/** From the command line to a command, and from its result to output and exit code. */
import { parseArgs } from 'node:util';
import { makeContext, type OptionValues } from './context.js';
import type { BaseContext, CommandDefinition, ProgramDefinition, Result } from './definition.js';
import { EXIT, type ToldFailure, tellFailure, usage } from './failure.js';
import { writeOutputFile } from './files.js';
import { commandHelp, programHelp, programOptions } from './help.js';
import { pageWidth, processSurroundings, type Surroundings, styleFor, wrap } from './terminal.js';

/** Runs a program with the command line and the streams of this process, and sets its exit code. */
export async function startProgram<C extends BaseContext>(program: ProgramDefinition<C>): Promise<void> {
  // A reader that has seen enough, such as head, is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await runProgram(program, process.argv.slice(2), processSurroundings());
}

/** Runs a program and gives its exit code. */
export async function runProgram<C extends BaseContext>(
  program: ProgramDefinition<C>,
  args: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  try {
    return await run(program, args, surroundings);
  } catch (error) {
    const told = tellFailure(error) ?? program.tell?.(error);
    if (!told) throw error;
    const isJson = args.includes('--json');
    surroundings.err(
      isJson ? `${JSON.stringify(failureJson(program, told))}\n` : failureText(program.name, told, surroundings),
    );
    return told.exit;
  }
}

async function run<C extends BaseContext>(
  program: ProgramDefinition<C>,
  args: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const style = styleFor(surroundings.isTerminal.out, surroundings.env);
  const { command, rest, words } = commandNamed(program, args);
  if (!command) return await withoutCommand(program, args, words, surroundings);
  const { values, positionals } = parsed(program, command, rest);
  if (values.help) return await printed(surroundings, commandHelp(program, command, style, pageWidth(surroundings)));
  assertCount(program, command, positionals);
  const result = await command.run(program.extend(makeContext(surroundings, style, positionals, values)));
  await print(result, values, surroundings);
  return result.exit ?? EXIT.OK;
}

/** The command that a command line names, the arguments without its name, and the first two words. */
function commandNamed<C extends BaseContext>(
  program: ProgramDefinition<C>,
  args: readonly string[],
): {
  readonly command: CommandDefinition<C> | undefined;
  readonly rest: readonly string[];
  readonly words: readonly string[];
} {
  const places = wordPlaces(program, args);
  const words = places.map((place) => args[place] ?? '');
  const command =
    program.commands.find(({ name }) => words.length === 2 && name === words.join(' ')) ??
    program.commands.find(({ name }) => name === words[0]);
  const used = places.slice(0, command?.name === words[0] ? 1 : 2);
  return { command, rest: args.filter((_, i) => !used.includes(i)), words };
}

/** Where the first two arguments stand that are no options; the options of the program may come before the command. */
function wordPlaces<C extends BaseContext>(program: ProgramDefinition<C>, args: readonly string[]): readonly number[] {
  const withValue = Object.entries(programOptions(program)).flatMap(([name, { type, short }]) =>
    type === 'string' ? [`--${name}`, ...(short ? [`-${short}`] : [])] : [],
  );
  const places: number[] = [];
  for (let i = 0; i < args.length && places.length < 2; i++) {
    const arg = args[i] ?? '';
    if (withValue.includes(arg)) i++;
    else if (!arg.startsWith('-')) places.push(i);
  }
  return places;
}

async function withoutCommand<C extends BaseContext>(
  program: ProgramDefinition<C>,
  args: readonly string[],
  [first, second]: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { name, version, commands } = program;
  if (args.includes('--version')) return await printed(surroundings, `${name} ${version}\n`);
  const group = first !== undefined && commands.some((one) => one.name.startsWith(`${first} `)) ? first : undefined;
  if (group && second !== undefined) throw unknownCommand(program, `${group} ${second}`);
  if (first !== undefined && first !== 'help' && !group) throw unknownCommand(program, first);
  const isHelp = args.length === 0 || first === 'help' || args.includes('--help') || args.includes('-h');
  if (!isHelp && !group) throw usage('there is no command on the command line', `"${name} --help" lists them.`);
  const style = styleFor(surroundings.isTerminal.out, surroundings.env);
  await surroundings.out(programHelp(program, style, pageWidth(surroundings), group));
  return isHelp ? EXIT.OK : EXIT.USAGE;
}

function parsed<C extends BaseContext>(
  program: ProgramDefinition<C>,
  command: CommandDefinition<C>,
  args: readonly string[],
): { readonly values: OptionValues; readonly positionals: readonly string[] } {
  const definitions = { ...programOptions(program), ...command.options };
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
      `"${program.name} ${command.name} --help" lists its options.`,
    );
  }
}

function assertCount<C extends BaseContext>(
  program: ProgramDefinition<C>,
  command: CommandDefinition<C>,
  positionals: readonly string[],
): void {
  const { min, max } = command.positionals ?? { min: 0, max: 0 };
  const remedy = `Usage: ${program.name} ${command.name} ${command.usage ?? ''}`.trimEnd();
  if (positionals.length < min) throw usage(`${command.name}: something is missing`, remedy);
  if (positionals.length > max) throw usage(`${command.name}: "${positionals[max]}" is one argument too many`, remedy);
}

async function print(result: Result, values: OptionValues, surroundings: Surroundings): Promise<void> {
  if (values.json) return await surroundings.out(`${JSON.stringify(result.json, null, 2)}\n`);
  if (result.bytes) return await printBytes(result.bytes, values, surroundings);
  if (result.text !== undefined && result.text !== '') await surroundings.out(`${result.text.trimEnd()}\n`);
}

/** Raw bytes would garble a terminal, so there they become hexadecimal. */
async function printBytes(bytes: Uint8Array, values: OptionValues, surroundings: Surroundings): Promise<void> {
  const out = values.out?.at(-1);
  const isFile = typeof out === 'string' && out !== '-';
  const format = values.format?.at(-1) ?? (surroundings.isTerminal.out && !isFile ? 'hex' : 'raw');
  const data = formatted(bytes, String(format));
  if (isFile) return await writeOutputFile(out, data, { secret: true });
  await surroundings.out(data);
}

function formatted(bytes: Uint8Array, format: string): Uint8Array | string {
  if (format === 'raw') return bytes;
  if (format === 'hex' || format === 'base64') return `${Buffer.from(bytes).toString(format)}\n`;
  throw usage(`--format: expected raw, hex or base64, got "${format}"`);
}

async function printed(surroundings: Surroundings, text: string): Promise<number> {
  await surroundings.out(text);
  return EXIT.OK;
}

function unknownCommand<C extends BaseContext>(program: ProgramDefinition<C>, name: string): Error {
  const names = program.commands.map((command) => command.name);
  const distances = names.map((other) => distance(name, other));
  const nearest = names.find((_, i) => distances[i] === Math.min(...distances) && (distances[i] ?? 0) <= 2);
  const near = nearest ?? names.find((other) => name.length > 2 && other.startsWith(name));
  const list = `"${program.name} --help" lists ${near ? 'all' : 'them'}.`;
  return usage(`there is no command "${name}"`, near ? `Did you mean "${near}"? ${list}` : list);
}

/** How many letters must be put in, left out or changed to make one word of the other (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const change = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next[j] = Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[other.length] ?? 0;
}

function failureText(name: string, told: ToldFailure, surroundings: Surroundings): string {
  const style = styleFor(surroundings.isTerminal.err, surroundings.env);
  const lines = [`${style.bad(`${name}:`)} ${told.message}`];
  if (told.remedy) lines.push(...wrap(told.remedy, pageWidth(surroundings) - 2).map((line) => `  ${line}`));
  return `${lines.join('\n')}\n`;
}

function failureJson<C extends BaseContext>(
  { failureDetails }: ProgramDefinition<C>,
  { exit, kind, message, remedy, details }: ToldFailure,
): unknown {
  return { error: { kind, exit, message, remedy: remedy ?? null, ...failureDetails, ...details } };
}
