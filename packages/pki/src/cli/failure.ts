/** What can go wrong in the program, as exit codes and with what to do about it. */
import { PkiError, type PkiErrorCode } from '../error.js';

/** The program's exit codes; part of its contract. */
export const EXIT = {
  /** Done. */
  OK: 0,
  /** Failed in a way that none of the others names. */
  FAILED: 1,
  /** The command line is wrong. */
  USAGE: 2,
  /** A TPM, token or store cannot be reached, or is in use. */
  UNREACHABLE: 3,
  /** A profile, policy or store does not permit it. */
  REFUSED: 4,
  /** A passphrase or PIN is wrong or missing. */
  UNAUTHORISED: 5,
  /** A check said no: a signature, a path or a log is not what it must be. */
  CHECK_FAILED: 6,
  /** A file or other input is malformed. */
  MALFORMED: 7,
} as const;

/** One of the exit codes. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A failure that the program itself found. */
export class Failure extends Error {
  readonly exit: ExitCode;
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
  readonly exit: ExitCode;
  /** A word for programs. */
  readonly kind: string;
  readonly message: string;
  readonly remedy: string | undefined;
}

/** Says what an error is; `undefined` for one that is a defect of the program. */
export function tell(error: unknown): ToldFailure | undefined {
  if (error instanceof Failure) {
    const { exit, message, remedy } = error;
    return { exit, kind: KINDS[exit] ?? 'failed', message, remedy };
  }
  if (!(error instanceof PkiError)) return undefined;
  const { code, message } = error;
  return { exit: EXITS[code] ?? EXIT.FAILED, kind: code, message, remedy: REMEDIES[code] };
}

const EXITS: Readonly<Partial<Record<PkiErrorCode, ExitCode>>> = {
  malformed: EXIT.MALFORMED,
  'bad-input': EXIT.USAGE,
  'not-allowed': EXIT.REFUSED,
  exists: EXIT.REFUSED,
  'bad-signature': EXIT.CHECK_FAILED,
  'key-mismatch': EXIT.CHECK_FAILED,
  untrusted: EXIT.CHECK_FAILED,
  replayed: EXIT.CHECK_FAILED,
  locked: EXIT.UNREACHABLE,
  'key-store': EXIT.UNREACHABLE,
  'wrong-passphrase': EXIT.UNAUTHORISED,
};

const REMEDIES: Readonly<Partial<Record<PkiErrorCode, string>>> = {
  exists: 'What is there is never overwritten: choose another --store, or go on with the one that is there.',
  locked: 'Wait until the other process has ended.',
  'wrong-passphrase': 'Give the passphrase with --passphrase SOURCE, or the secret of a key with --secret SOURCE.',
};

const KINDS: Readonly<Record<number, string>> = {
  [EXIT.FAILED]: 'failed',
  [EXIT.USAGE]: 'usage',
  [EXIT.UNREACHABLE]: 'unreachable',
  [EXIT.REFUSED]: 'refused',
  [EXIT.UNAUTHORISED]: 'unauthorised',
  [EXIT.CHECK_FAILED]: 'check-failed',
  [EXIT.MALFORMED]: 'malformed',
};
