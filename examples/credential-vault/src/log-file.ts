/** The entries of the audit log, one line each, in a file that anybody may read and nobody has to trust. */
import { open, readFile, truncate } from 'node:fs/promises';

/** One line: when, which credential, for whom and what for. */
export interface LogEntry {
  readonly name: string;
  readonly who: string;
  readonly purpose: string;
  readonly time: string;
}

/** The bytes that are logged: the name, a zero, the rest as JSON. */
export function encodeEntry({ name, ...rest }: LogEntry): Uint8Array {
  return new TextEncoder().encode(`${name}\0${JSON.stringify(rest)}`);
}

/** An entry for people. Anybody may have written it: what would steer a terminal is shown instead. */
export function entryText(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes).replace('\0', ' ');
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** Every entry; none where there is no file. */
export async function readEntries(path: string): Promise<readonly Uint8Array[]> {
  const text = (await readFile(path, 'utf8').catch(orMissing)) ?? '';
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line) => new Uint8Array(Buffer.from(line, 'base64')));
}

/** Appends an entry, durably. */
export async function appendEntry(path: string, entry: Uint8Array): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await file.appendFile(`${Buffer.from(entry).toString('base64')}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Takes back what a program wrote down, perhaps not to the end, that was killed before the audit service had it. */
export async function keepFirst(path: string, count: number): Promise<void> {
  const text = await readFile(path, 'utf8').catch(orMissing);
  if (text === undefined) return;
  const lines = text.split('\n').slice(0, count);
  const length = Buffer.byteLength(lines.map((line) => `${line}\n`).join(''));
  if (length < Buffer.byteLength(text)) await truncate(path, length);
}

/** `undefined` for a file that is not there; throws any other error. */
export function orMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}
