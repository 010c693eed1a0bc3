/** Where passwords come from: never from the command line, unless its user says that this is insecure. */
import { closeSync, readFileSync } from 'node:fs';
import { EXIT, Failure, usage } from './failure.js';
import { readInputFile } from './files.js';
import { isOpen, type Surroundings } from './terminal.js';

/** What the help says of sources. */
export const SOURCES = 'file:PATH, fd:N, env:NAME, - (standard input), prompt, or insecure:TEXT';

/** Gets a secret from where `source` says; of a file, descriptor or standard input one newline at the end is left out. */
export async function readSecret(source: string, what: string, surroundings: Surroundings): Promise<Uint8Array> {
  const colon = source.indexOf(':');
  const [kind, rest] = colon < 0 ? [source, ''] : [source.slice(0, colon), source.slice(colon + 1)];
  switch (kind) {
    case '-':
    case 'stdin':
      return withoutNewline(await surroundings.readInput());
    case 'file':
      return withoutNewline(await readInputFile(rest, surroundings));
    case 'fd':
      return withoutNewline(readDescriptor(rest, what));
    case 'env':
      return fromEnvironment(rest, what, surroundings);
    case 'prompt':
      return await asked(what, surroundings);
    case 'insecure':
      return new TextEncoder().encode(rest);
    default:
      throw usage(`--${what}: "${kind}" is no source of a password`, `Give one of ${SOURCES}.`);
  }
}

function readDescriptor(text: string, what: string): Uint8Array {
  const descriptor = Number(text);
  if (!/^\d+$/.test(text) || !isOpen(descriptor)) throw usage(`--${what}: file descriptor "${text}" is not open`);
  try {
    return new Uint8Array(readFileSync(descriptor));
  } finally {
    if (descriptor > 2) closeSync(descriptor);
  }
}

function fromEnvironment(name: string, what: string, { env }: Surroundings): Uint8Array {
  const value = env[name];
  if (value !== undefined) return new TextEncoder().encode(value);
  throw usage(`--${what}: there is no environment variable ${name}`);
}

async function asked(what: string, surroundings: Surroundings): Promise<Uint8Array> {
  const answer = await surroundings.askSecret(`${what}: `);
  if (answer !== undefined) return new TextEncoder().encode(answer);
  throw new Failure(
    EXIT.USAGE,
    `--${what} prompt: there is no terminal to ask on`,
    'Give the password by file:, fd: or env:.',
  );
}

function withoutNewline(bytes: Uint8Array): Uint8Array {
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : bytes.length;
  return bytes.slice(0, end);
}
