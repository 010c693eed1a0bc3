/** The authority in a directory as commands use it: its hierarchy, and its audit log, whose key stands beside it. */

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, Failure, writeOutputFile } from '@casemate/command-line';
import { openAuditFile } from '../audit-file.js';
import { type AuditEvent, type AuditStore, openAuditLog } from '../audit-log.js';
import { decryptKey, encryptKey } from '../encrypted-key.js';
import { PkiError } from '../error.js';
import type { Authority, Hierarchy } from '../hierarchy.js';
import { generateKey, importKey, type SoftwareKey } from '../key.js';
import { decodePem, encodePem } from '../pem.js';
import { openStore, type PkiStore } from '../store.js';
import type { Context } from './definition.js';

const KEY_FILE = 'audit-key.pem';
const PUBLIC_FILE = 'audit-key.pub';

/** The directory that the command line names. */
export function storePath({ text, surroundings }: Context): string {
  return text('store') ?? surroundings.env.CASEMATE_PKI ?? 'pki';
}

/** An opened authority. */
export interface OpenAuthority {
  readonly store: PkiStore;
  readonly hierarchy: Hierarchy;
  /** The authority with this name, which must be a CA. */
  readonly ca: (name: string) => Authority;
  /** Writes what happened into the audit log, and signs it. */
  readonly record: (event: AuditEvent) => Promise<void>;
}

/** Opens the authority, and of its keys that of the entry `name`, with the passphrase that the command line gives. */
export async function openAuthority(context: Context, name: string): Promise<OpenAuthority> {
  const path = storePath(context);
  await assertStore(path);
  const passphrase = await context.secretText('passphrase');
  const store = await openStore(path, passphrase === undefined ? {} : { passphrase });
  const hierarchy = await context.during(() => 'opening the key', store.load([name]));
  return {
    store,
    hierarchy,
    ca(name) {
      const authority = hierarchy.get(name);
      const { profile } = hierarchy.template.certificates.find((entry) => entry.name === name) ?? {};
      if (profile?.ca === undefined) throw new Failure(EXIT.REFUSED, `${name} is no CA`);
      return authority;
    },
    record: (event) => recordEvent(path, passphrase, event),
  };
}

/** Throws a {@link Failure} where there is no authority in a directory. */
export async function assertStore(path: string): Promise<void> {
  const found = await stat(join(path, 'hierarchy')).catch(() => undefined);
  if (found === undefined)
    throw new Failure(
      EXIT.FAILED,
      `there is no authority in ${path}`,
      '"casemate-pki init" makes one; --store says where it is.',
    );
}

/** Makes the key of a new authority's audit log; the origin is part of everything that it signs. */
export async function createAuditKey(path: string, passphrase: string | undefined, origin: string): Promise<void> {
  const key = await generateKey('ecdsa-p256-sha256');
  const pkcs8 = await key.unsafeExportKey();
  const block =
    passphrase === undefined
      ? encodePem('PRIVATE KEY', pkcs8)
      : encodePem('ENCRYPTED PRIVATE KEY', await encryptKey(pkcs8, passphrase));
  await writeOutputFile(join(path, KEY_FILE), `origin: ${origin}\n${block}`, { secret: true });
  await writeOutputFile(join(path, PUBLIC_FILE), `origin: ${origin}\n${encodePem('PUBLIC KEY', key.publicKey)}`);
}

/** Whether an authority has its audit key. */
export async function hasAuditKey(path: string): Promise<boolean> {
  return (await stat(join(path, PUBLIC_FILE)).catch(() => undefined)) !== undefined;
}

/** Name and public key of an authority's audit log, from a directory or from the file that was handed out. */
export async function auditIdentity(
  file: string,
): Promise<{ readonly origin: string; readonly publicKey: Uint8Array }> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Failure(
      EXIT.FAILED,
      `cannot read ${file}`,
      'It is the public key of an audit log: audit-key.pub.',
      cause,
    );
  });
  return { origin: originOf(text, file), publicKey: decodePem('PUBLIC KEY', text) };
}

/** The public key's file in an authority's directory. */
export function auditKeyFile(path: string): string {
  return join(path, PUBLIC_FILE);
}

function originOf(text: string, file: string): string {
  const origin = /^origin: (\S+)$/m.exec(text)?.[1];
  if (origin === undefined) throw new Failure(EXIT.MALFORMED, `${file} does not say which log its key is for`);
  return origin;
}

/** Appends an event and signs the new head. */
export async function recordEvent(path: string, passphrase: string | undefined, event: AuditEvent): Promise<void> {
  await using log = await openAuditLog({
    store: await openWhenFree(join(path, 'audit')),
    ...(await auditSigner(path, passphrase)),
  });
  await log.append(event);
  await log.sign();
}

/** The name of an authority's audit log, and the key that signs its checkpoints. */
export async function auditSigner(
  path: string,
  passphrase: string | undefined,
): Promise<{ readonly origin: string; readonly signer: SoftwareKey }> {
  const text = await readFile(join(path, KEY_FILE), 'utf8');
  return { origin: originOf(text, KEY_FILE), signer: await auditKey(text, passphrase) };
}

async function auditKey(text: string, passphrase: string | undefined): Promise<SoftwareKey> {
  if (text.includes('BEGIN PRIVATE KEY')) return importKey(decodePem('PRIVATE KEY', text));
  if (passphrase === undefined)
    throw new Failure(EXIT.UNAUTHORISED, 'the keys are encrypted', 'Give --passphrase SOURCE.');
  return importKey(await decryptKey(decodePem('ENCRYPTED PRIVATE KEY', text), passphrase));
}

/** Another command may be writing: what was done is written down all the same. */
async function openWhenFree(directory: string): Promise<AuditStore> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openAuditFile(directory);
    } catch (error) {
      if (!(error instanceof PkiError) || error.code !== 'locked' || attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
