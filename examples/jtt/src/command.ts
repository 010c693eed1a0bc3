/** What a subcommand is, and how its options become values. */
import type { SwtpmControl } from '@casemate/tpm/swtpm';
import { type PasswordEncoding, passwordSecret, type Tpm12, wellKnownSecret } from '@casemate/tpm/tpm12';

/** A command line that cannot be obeyed; the message is for the person who typed it. */
export class UsageError extends Error {}

/** An option of a subcommand. */
export interface Option {
  /** `string` takes a value. */
  readonly type: 'string' | 'boolean';
  /** The one-letter form. */
  readonly short?: string;
  /** What `--help` says. */
  readonly help: string;
}

/** The options as they were given. */
export type Given = Readonly<Record<string, string | boolean | undefined>>;

/** What a subcommand works with. */
export interface Context {
  /** The TPM. */
  readonly tpm: Tpm12;
  /** The options as they were given. */
  readonly given: Given;
  /** Prints a line on the standard output. */
  readonly print: (line: string) => void;
  /** The simulator's control channel, where there is one. */
  readonly control: SwtpmControl | undefined;
}

/** A subcommand. */
export interface Subcommand {
  /** What `--help` says of it. */
  readonly help: string;
  /** Its options beside those of all. */
  readonly options: Readonly<Record<string, Option>>;
  /** Does it. */
  run(context: Context): Promise<void>;
}

/** Options that several subcommands have. */
export const OPTIONS = {
  owner: { type: 'string', short: 'o', help: "the owner's password" },
  auth: { type: 'string', short: 'a', help: 'the password of the key, data or area' },
  srk: { type: 'string', short: 's', help: 'the password of the storage root key (default: the well-known secret)' },
  pcrs: { type: 'string', short: 'p', help: 'PCR indexes, as in 11,12' },
  index: { type: 'string', help: 'the NV index, as in 0x00015213' },
  file: { type: 'string', short: 'f', help: 'the file to write or read' },
  key: { type: 'string', short: 'k', help: 'the file of the key' },
} as const satisfies Readonly<Record<string, Option>>;

/** Options that every subcommand has. */
export const COMMON_OPTIONS = {
  encoding: {
    type: 'string',
    short: 'e',
    help: 'how passwords become bytes: UTF-16LE (default), ASCII, or HEX of the secret',
  },
  tpm: { type: 'string', help: 'device:/dev/tpm0 (default), swtpm:path=SOCKET or swtpm:host=H,port=P' },
  locality: { type: 'string', help: 'the locality to speak from, 0 to 4; with swtpm only' },
  help: { type: 'boolean', short: 'h', help: 'this text' },
} as const satisfies Readonly<Record<string, Option>>;

/** The value of an option that must be there. */
export function need(given: Given, name: string): string {
  const value = given[name];
  if (typeof value === 'string') return value;
  throw new UsageError(`expected --${name}`);
}

/** The value of an option that may be left out. */
export function may(given: Given, name: string): string | undefined {
  const value = given[name];
  return typeof value === 'string' ? value : undefined;
}

/** A number in decimal or, with 0x, in hexadecimal. */
export function toNumber(text: string, name: string): number {
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isInteger(value) && value <= 0xffffffff) return value;
  throw new UsageError(`--${name}: expected a number such as 20 or 0x15213, got "${text}"`);
}

/** PCR indexes or localities: numbers with commas between them. */
export function toNumbers(text: string, name: string): readonly number[] {
  return text.split(',').map((part) => toNumber(part.trim(), name));
}

/** Bytes in hexadecimal, of this length where one is given. */
export function toBytes(text: string, name: string, length?: number): Uint8Array {
  const isHex = /^([0-9a-f]{2})*$/i.test(text);
  if (!isHex || (length !== undefined && text.length !== 2 * length)) {
    throw new UsageError(`--${name}: expected ${length ?? 'some'} bytes in hexadecimal, got "${text}"`);
  }
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** Bytes as hexadecimal. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The secret of an option with a password; none where the option was not given. */
export function secretOf(given: Given, name: string): Uint8Array | undefined {
  const password = may(given, name);
  if (password === undefined) return undefined;
  const encoding = (may(given, 'encoding') ?? 'UTF-16LE').toUpperCase();
  if (encoding === 'HEX') return toBytes(password, name, 20);
  const known = ENCODINGS[encoding];
  if (known === undefined) throw new UsageError(`--encoding: expected ASCII, UTF-16LE or HEX, got "${encoding}"`);
  return passwordSecret(password, known);
}

/** The secret of the storage root key. */
export function srkSecret(given: Given): Uint8Array {
  return secretOf(given, 'srk') ?? wellKnownSecret();
}

/** The owner's secret. Throws {@link UsageError} where it was not given. */
export function ownerSecret(given: Given): Uint8Array {
  const secret = secretOf(given, 'owner');
  if (secret !== undefined) return secret;
  throw new UsageError("expected -o with the owner's password");
}

const ENCODINGS: Readonly<Record<string, PasswordEncoding>> = {
  ASCII: 'utf-8',
  'UTF-8': 'utf-8',
  'UTF-16LE': 'utf-16le',
};
