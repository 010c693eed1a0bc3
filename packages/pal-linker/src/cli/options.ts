/** Options that several commands have, and how their values are read. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BaseContext, EXIT, Failure, type OptionDefinitions, readInputFile, usage } from '@casemate/command-line';
import { PalLinkerError } from '../error.js';
import { openSigningKey } from '../node-signature.js';
import type { PalSigner } from '../signature.js';

/** How an image is signed. */
export const SIGNING: OptionDefinitions = {
  'signing-key': { type: 'string', value: 'FILE', help: 'sign with this private key (PEM): ECDSA, Ed25519 or RSA' },
  passphrase: { type: 'string', value: 'SOURCE', help: 'what the key is encrypted with' },
  'security-version': { type: 'string', value: 'N', help: 'the security version that the signature covers; 0' },
  pss: { type: 'boolean', help: 'sign with PSS padding (RSA)' },
};

/** The signer of the options above; `undefined` where no key is given. */
export async function signerOf(context: BaseContext): Promise<PalSigner | undefined> {
  const path = context.text('signing-key');
  if (path === undefined) return undefined;
  const pem = new TextDecoder().decode(await readInputFile(path, context.surroundings));
  const passphrase = await context.secretText('passphrase');
  try {
    return openSigningKey(pem, {
      ...(passphrase !== undefined && { passphrase }),
      padding: context.has('pss') ? 'pss' : 'pkcs1',
    });
  } catch (error) {
    if (!(error instanceof PalLinkerError)) throw error;
    const isLocked = error.message.includes('passphrase');
    const remedy = isLocked ? 'Give it with --passphrase SOURCE, such as --passphrase prompt.' : undefined;
    throw new Failure(isLocked ? EXIT.UNAUTHORISED : EXIT.USAGE, `${path}: ${error.message}`, remedy, error);
  }
}

/** The value of an option that is a number, such as `3`; `undefined` where it is not given. */
export function numberOf(context: BaseContext, name: string): number | undefined {
  const text = context.text(name);
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text)) throw usage(`--${name}: expected a number, got "${text}"`);
  return Number(text);
}

/** The value of an option that is a number of bytes, such as `4096`, `64k` or `1m`; `undefined` where it is not given. */
export function bytesOf(context: BaseContext, name: string): number | undefined {
  const text = context.text(name);
  if (text === undefined) return undefined;
  const [, digits = '', unit = ''] = /^(\d{1,10})([kmKM]?)$/.exec(text) ?? [];
  if (digits === '') throw usage(`--${name}: expected a number of bytes such as 4096, 64k or 1m, got "${text}"`);
  return Number(digits) * (UNITS[unit.toLowerCase()] ?? 1);
}

const UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1024 * 1024 };

/** The value of an option that is one of a few words; `undefined` where it is not given. */
export function wordOf<const W extends string>(context: BaseContext, name: string, words: readonly W[]): W | undefined {
  const text = context.text(name);
  const found = words.find((word) => word === text);
  if (text === undefined || found !== undefined) return found;
  throw usage(`--${name}: expected ${words.slice(0, -1).join(', ')} or ${words.at(-1)}, got "${text}"`);
}

/** What the package of this directory says of itself. */
export async function readManifest(directory: string): Promise<{ readonly version?: string }> {
  try {
    const manifest: unknown = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8'));
    const isObject = typeof manifest === 'object' && manifest !== null;
    return isObject && 'version' in manifest && typeof manifest.version === 'string'
      ? { version: manifest.version }
      : {};
  } catch {
    return {};
  }
}
