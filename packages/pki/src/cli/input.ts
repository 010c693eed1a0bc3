/** Inputs that commands have in common: certificates, CRLs, moments, profiles. */

import { EXIT, Failure, readInputFile, usage } from '@casemate/command-line';
import { berToDer } from '../ber.js';
import { type Certificate, parseCertificate } from '../certificate.js';
import { type OpenedKey, openKey } from '../key-uri.js';
import { legacyCiphers } from '../legacy-ciphers.js';
import { parsePem } from '../pem.js';
import { type CertificateProfile, PROFILES } from '../profile.js';
import { TRUSTME_PROFILES } from '../trustme-template.js';
import type { Context } from './definition.js';

/** Every block with `label` in a PEM file, or the file itself where it is DER. */
export async function readBlocks(path: string, label: string, context: Context): Promise<readonly Uint8Array[]> {
  const bytes = await readInputFile(path, context.surroundings);
  const text = new TextDecoder().decode(bytes);
  const blocks = text.includes('-----BEGIN ')
    ? parsePem(text).filter((block) => block.label === label)
    : [{ der: bytes }];
  if (blocks.length === 0) throw new Failure(EXIT.MALFORMED, `${path} has no ${label}`);
  return blocks.map(({ der }) => der);
}

/** The certificates of all files that an option names. */
export async function readCertificates(name: string, context: Context): Promise<readonly Certificate[]> {
  const files = await Promise.all(context.texts(name).map((path) => readBlocks(path, 'CERTIFICATE', context)));
  return files.flat().map(parseCertificate);
}

/** The moment that `--time` names; now without it. */
export function momentOf(context: Context): Date {
  const text = context.text('time');
  if (text === undefined) return new Date();
  const time = new Date(text);
  if (!Number.isNaN(time.getTime())) return time;
  throw usage(`--time: expected a moment such as 2026-11-22T12:00:00Z, got "${text}"`);
}

/** The profile that an option names: by its name, or in a JSON file. */
export async function profileOf(name: string, context: Context): Promise<CertificateProfile> {
  const word = context.text(name);
  if (word !== undefined) return await profileNamed(word, name, context);
  throw usage(`--${name} is missing`, `Give one of ${profileNames().join(', ')}, or a JSON file.`);
}

/** The profile with this name, or in this JSON file; `option` is for the complaint. */
export async function profileNamed(word: string, option: string, context: Context): Promise<CertificateProfile> {
  const named = Object.entries({ ...PROFILES, ...TRUSTME_PROFILES }).find(
    ([key, profile]) => key === word || profile.name === word,
  );
  if (named !== undefined) return named[1];
  if (!word.endsWith('.json'))
    throw usage(
      `--${option}: there is no profile "${word}"`,
      `Give one of ${profileNames().join(', ')}, or a JSON file.`,
    );
  return parseProfile(new TextDecoder().decode(await readInputFile(word, context.surroundings)), word);
}

function parseProfile(text: string, path: string): CertificateProfile {
  try {
    // createCertificate and issueFromCsr check what is in it.
    return JSON.parse(text) as CertificateProfile;
  } catch (cause) {
    throw new Failure(EXIT.MALFORMED, `${path} is no JSON`, undefined, cause);
  }
}

function profileNames(): readonly string[] {
  return Object.values({ ...PROFILES, ...TRUSTME_PROFILES }).map((profile) => profile.name);
}

/** The key that an option names; its secret is asked for on the terminal where no option says where it is. */
export async function keyOf(context: Context, option = 'key'): Promise<OpenedKey> {
  const uri = context.text(option);
  if (uri === undefined)
    throw usage(
      `--${option} is missing`,
      'Give the URI of a key: file:PATH, pkcs12:PATH, tpm:HANDLE, tpmkey:PATH, pkcs11:…',
    );
  const module = context.text('module');
  return openKey(uri, {
    legacy: legacyCiphers,
    secret: async ({ name }) =>
      (await context.secretText('secret')) ?? (await context.surroundings.askSecret(`passphrase or PIN of ${name}: `)),
    ...(module === undefined ? {} : { pkcs11Module: module }),
  });
}

/** Bytes of a file that may be BER with indefinite lengths. */
export function asDer(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0x30 && bytes[1] === 0x80 ? berToDer(bytes) : bytes;
}
