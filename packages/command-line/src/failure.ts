/** What can go wrong in a program, as exit codes and with what to do about it. */
import type { Json } from './definition.js';

/** The exit codes of the programs; part of their contract. What 3 to 5 mean to one of them, its help says. */
export const EXIT = {
  /** Done. */
  OK: 0,
  /** Failed in a way that none of the others names. */
  FAILED: 1,
  /** The command line is wrong. */
  USAGE: 2,
  /** What the program works with cannot be reached, does not answer, or is in use. */
  UNREACHABLE: 3,
  /** What the program works with does not permit it. */
  REFUSED: 4,
  /** A secret is wrong or missing. */
  UNAUTHORISED: 5,
  /** A check said no: a signature, a nonce or a value is not what it must be. */
  CHECK_FAILED: 6,
  /** A file or other input is malformed. */
  MALFORMED: 7,
  /** Interrupted from the keyboard. */
  INTERRUPTED: 130,
} as const;

/** One of the exit codes. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A failure that the program itself found. */
export class Failure extends Error {
  /** What the program ends with. */
  readonly exit: ExitCode;
  /** What its user can do about it. */
  readonly remedy: string | undefined;

  constructor(exit: ExitCode, message: string, remedy?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exit = exit;
    this.remedy = remedy;
  }
}

/** The failure for a command line that is wrong. */
export function usage(message: string, remedy?: string): Failure {
  return new Failure(EXIT.USAGE, message, remedy);
}

/** A failure as it is told to people and programs. */
export interface ToldFailure {
  /** What the program ends with. */
  readonly exit: ExitCode;
  /** A word for programs. */
  readonly kind: string;
  /** One sentence. */
  readonly message: string;
  /** What can be done about it. */
  readonly remedy: string | undefined;
  /** What `--json` tells beside it. */
  readonly details?: Readonly<Record<string, Json>>;
}

/** The word for programs that an exit code stands for. */
export function kindOf(exit: ExitCode): string {
  return KINDS[exit] ?? 'failed';
}

/** Says what a failure of the program itself is; `undefined` for any other error. */
export function tellFailure(error: unknown): ToldFailure | undefined {
  if (!(error instanceof Failure)) return undefined;
  const { exit, message, remedy } = error;
  return { exit, kind: kindOf(exit), message, remedy };
}

const KINDS: Readonly<Record<number, string>> = {
  [EXIT.FAILED]: 'failed',
  [EXIT.USAGE]: 'usage',
  [EXIT.UNREACHABLE]: 'unreachable',
  [EXIT.REFUSED]: 'refused',
  [EXIT.UNAUTHORISED]: 'unauthorised',
  [EXIT.CHECK_FAILED]: 'check-failed',
  [EXIT.MALFORMED]: 'malformed',
  [EXIT.INTERRUPTED]: 'interrupted',
};
