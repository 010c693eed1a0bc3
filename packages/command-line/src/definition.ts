/** What a program and its commands are. */
import type { ExitCode, ToldFailure } from './failure.js';
import type { Style, Surroundings } from './terminal.js';

/** JSON that a program prints. */
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
  /** For people; without it, `bytes` are the output, or nothing is. */
  readonly text?: string;
  /** Bytes that are the output, such as unsealed data; `--out` and `--format` say where they go and how they look. */
  readonly bytes?: Uint8Array;
  /** Not 0 where a check said no. */
  readonly exit?: ExitCode;
}

/** What every command gets; programs extend it by what their commands work with. */
export interface BaseContext {
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
  /** The secret that an option, or its sister `NAME-file`, says where to get; `undefined` where neither is given. */
  readonly secret: (name: string) => Promise<Uint8Array | undefined>;
  /** The same as text. */
  readonly secretText: (name: string) => Promise<string | undefined>;
  /** Shows on a terminal that something takes time. */
  readonly during: <T>(what: string | (() => string), work: Promise<T>) => Promise<T>;
}

/** A command of a program. */
export interface CommandDefinition<Context extends BaseContext = BaseContext> {
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

/** A program with commands. */
export interface ProgramDefinition<Context extends BaseContext = BaseContext> {
  /** What people type. */
  readonly name: string;
  /** What it is, in one line. */
  readonly summary: string;
  /** The version of its package. */
  readonly version: string;
  /** Its commands, in the order of the help. */
  readonly commands: readonly CommandDefinition<Context>[];
  /** Options of every command, beside `--json` and `--help`. */
  readonly options?: OptionDefinitions;
  /** Paragraphs of the help, between options and exit codes: rows of a table, or lines. */
  readonly sections?: readonly { readonly title: string; readonly rows: readonly (readonly string[])[] }[];
  /** What exit codes mean to it, for the help; those of every program are known. */
  readonly exitCodes?: Readonly<Partial<Record<ExitCode, string>>>;
  /** Says what an error of its packages is; `undefined` for one that is a defect of the program. */
  readonly tell?: (error: unknown) => ToldFailure | undefined;
  /** What `--json` tells beside every failure that says nothing else of it. */
  readonly failureDetails?: Readonly<Record<string, Json>>;
  /** Adds to the context what its commands work with. */
  readonly extend: (context: BaseContext) => Context;
}
