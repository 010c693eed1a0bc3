/** What compilers say, with the place that they say it of. */
import { type PalDiagnostic, PalLinkerError } from '../error.js';

/** The messages of gcc or clang: `file:line:column: error: text`. */
export function diagnosticsOfC(text: string): readonly PalDiagnostic[] {
  return [...text.matchAll(/^([^\s:][^:\n]*):(\d+):(?:(\d+):)? (fatal error|error|warning): (.*)$/gm)].map(
    ([, file = '', line, column, severity, message = '']) => ({
      severity: severity === 'warning' ? 'warning' : 'error',
      message,
      file,
      ...{ line: Number(line), column: Number(column ?? 1) },
    }),
  );
}

/** The messages of asc: `ERROR TS1: text`, the lines themselves, and `in file(line,column)`. */
export function diagnosticsOfAssemblyScript(text: string): readonly PalDiagnostic[] {
  const pattern = /^(ERROR|WARNING) (?:[A-Z]+\d+: )?(.*)\n(?:(?!ERROR|WARNING).*\n)*? *└─ in (\S.*)\((\d+),(\d+)\)$/gm;
  return [...text.matchAll(pattern)].map(([, severity, message = '', file = '', line, column]) => ({
    severity: severity === 'WARNING' ? 'warning' : 'error',
    message,
    file,
    ...{ line: Number(line), column: Number(column) },
  }));
}

const sources = new WeakMap<object, readonly string[]>();

/** Notes which files a build had read when it failed: one of them will be mended. Gives the error. */
export function readBy<E>(files: readonly string[], error: E): E {
  if (typeof error === 'object' && error !== null && !sources.has(error)) sources.set(error, files);
  return error;
}

/** The files that are known to have been read before `error`, absolute. */
export function filesReadBefore(error: PalLinkerError): readonly string[] {
  return sources.get(error) ?? [];
}

/** The error for sources that a compiler refused. Its message is all that the compiler said. */
export function refused(what: string, text: string, diagnostics: readonly PalDiagnostic[]): PalLinkerError {
  return new PalLinkerError('compile', `compile ${what}: ${text.trim()}`, {}, { diagnostics });
}
