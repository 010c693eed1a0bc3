/** This package's errors as exit codes, and what to do about them. */
import { EXIT, type ExitCode, type ToldFailure } from '@casemate/command-line';
import { PkiError, type PkiErrorCode } from '../error.js';

/** Says what an error of this package is; `undefined` for any other. */
export function tellPkiError(error: unknown): ToldFailure | undefined {
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
