/** What a command of the program is. */
import type { ExitCode } from './failure.js';
import type { Style, Surroundings } from './terminal.js';

/** JSON that the program prints. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** An option of a command. */
interface OptionDefinition {
  /** Whether it takes a value. */
  readonly type: 'string' | 'boolean';
  /** One letter. */
  readonly short?: string;
  /** Whether it may come more than once. */
  readonly multiple?: boolean;
  /** What the help calls its value. */
  readonly value?: string;
  /** What the help says of it. */
  readonly help: string;
}

/** Options by their long names. */
export type OptionDefinitions = Readonly<Record<string, OptionDefinition>>;

/** What a command gives; the program prints it in the form that was asked for. */
export interface Result {
  /** For `--json`. */
  readonly json: Json;
  /** For people. */
  readonly text?: string;
  /** Not 0 where a check said no. */
  readonly exit?: ExitCode;
}

/** What a command gets. */
export interface Context {
  /** The surroundings of the program. */
  readonly surroundings: Surroundings;
  /** How text looks on standard output. */
  readonly style: Style;
  /** What was given beside options. */
  readonly positionals: readonly string[];
  /** The value of an option, the last where there are several. */
  readonly text: (name: string) => string | undefined;
  /** All values of an option. */
  readonly texts: (name: string) => readonly string[];
  /** Whether an option without value is given. */
  readonly has: (name: string) => boolean;
  /** The secret that an option says where to get; `undefined` where it is not given. */
  readonly secret: (name: string) => Promise<string | undefined>;
  /** Shows on a terminal that something takes time. */
  readonly during: <T>(what: () => string, work: Promise<T>) => Promise<T>;
}

/** A command of the program. */
export interface CommandDefinition {
  /** One or two words. */
  readonly name: string;
  /** What follows the name, for the help. */
  readonly usage?: string;
  /** One line. */
  readonly summary: string;
  /** More lines. */
  readonly details?: string;
  /** Lines that work as they stand. */
  readonly examples?: readonly string[];
  /** Its options, beside those of the program. */
  readonly options?: OptionDefinitions;
  /** How many positional arguments it takes. */
  readonly positionals?: { readonly min: number; readonly max: number };
  /** Does it. */
  readonly run: (context: Context) => Promise<Result>;
}
