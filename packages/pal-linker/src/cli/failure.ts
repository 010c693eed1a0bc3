/** This package's errors as exit codes. */
import { EXIT, type ExitCode, type Json, kindOf, type ToldFailure } from '@casemate/command-line';
import { PalLinkerError, type PalLinkerErrorCode } from '../error.js';

/** Says what an error of this package is; `undefined` for any other. */
export function tellPalLinkerError(error: unknown): ToldFailure | undefined {
  if (error instanceof Error && error.name === 'AbortError') return told(EXIT.INTERRUPTED, 'interrupted', {});
  if (!(error instanceof PalLinkerError)) return undefined;
  const { code, message, object, section, symbol, offset, diagnostics } = error;
  const place = Object.entries({ object, section, symbol, offset }).filter(([, value]) => value !== undefined);
  const details: Record<string, Json> = { code, ...Object.fromEntries(place) };
  if (code === 'compile') details.diagnostics = diagnostics.map((each) => ({ ...each }));
  const remedy = REMEDIES.find(([pattern]) => code === 'compile' && pattern.test(message))?.[1];
  return { ...told(EXITS.get(code) ?? EXIT.REFUSED, message, details), remedy };
}

const REMEDIES: readonly (readonly [pattern: RegExp, remedy: string])[] = [
  [
    /casemate-pal\.h/,
    'It comes with @casemate/trustvisor: install that in this project, or say where it lies with -I.',
  ],
  [
    /tee-sdk\/|trustvisor\/tv_utpm\.h/,
    'It comes with @casemate/tz: install that in this project, or say where its C SDK lies with --sdk.',
  ],
];

function told(exit: ExitCode, message: string, details: Readonly<Record<string, Json>>): ToldFailure {
  return { exit, kind: kindOf(exit), message, remedy: undefined, details };
}

/** What is not here was refused by the linker. */
const EXITS: ReadonlyMap<PalLinkerErrorCode, ExitCode> = new Map([
  ['input', EXIT.USAGE],
  ['image', EXIT.MALFORMED],
  ['signature', EXIT.MALFORMED],
  ['tool', EXIT.UNREACHABLE],
]);
