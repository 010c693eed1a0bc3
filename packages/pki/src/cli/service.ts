/**
 * The authority in a directory once it is served: a database has taken over what it issued and revoked, and from then on every command
 * works on that, beside the running service.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, Failure, type OptionDefinitions, usage, writeOutputFile } from '@casemate/command-line';
import { parseCertificate } from '../certificate.js';
import { PkiError } from '../error.js';
import type { Hierarchy } from '../hierarchy.js';
import type { CertificateProfile } from '../profile.js';
import { type CertificateAuthority, openAuthority as openEngine } from '../service/authority.js';
import { type AuthorityStore, type Change, serialText } from '../service/authority-store.js';
import { openStore, type PkiStore } from '../store.js';
import { lastCrlNumber, readRevocations } from '../store-revocation.js';
import { assertStore, auditSigner, storePath } from './authority.js';
import type { Context } from './definition.js';

/** Where the database is. */
export const DATABASE_OPTIONS: OptionDefinitions = {
  database: {
    type: 'string',
    value: 'FILE|URL',
    help: 'of an authority that is served: a SQLite file or postgres://…; service.db of the store without it',
  },
};

/** An open service. */
export interface OpenService extends AsyncDisposable {
  /** The engine. */
  readonly authority: CertificateAuthority;
  /** The hierarchy, with the keys of the CAs. */
  readonly hierarchy: Hierarchy;
}

/** Says of an authority that it is served, and by which kind of database. No URL stands in it: there may be a password in one. */
const MARK = 'service';
const MINUTE = 60_000;

/** Whether the authority is served: its directory is no more than its keys and its past then. */
export async function isServed(context: Context): Promise<boolean> {
  if (context.text('database') !== undefined) return true;
  const kind = await readFile(join(storePath(context), MARK), 'utf8').catch(() => undefined);
  if (kind?.trim() === 'postgres') throw usage('this authority is served from PostgreSQL', 'Give its --database URL.');
  return kind !== undefined;
}

/** The name of the audit log of a service. The directory has one of its own: one name for two logs would be two histories of one. */
export function serviceOrigin(origin: string): string {
  return `${origin}/service`;
}

/** Opens the database; either kind is loaded only where it is used. */
export async function openDatabase(context: Context): Promise<AuthorityStore> {
  const place = context.text('database') ?? join(storePath(context), 'service.db');
  const isPostgres = /^postgres(ql)?:/.test(place);
  try {
    return isPostgres
      ? await (await import('../postgres.js')).openPostgresStore({ connection: place })
      : await (await import('../sqlite.js')).openSqliteStore(place);
  } catch (cause) {
    if (cause instanceof PkiError) throw cause;
    const where = isPostgres ? 'the database' : place;
    throw new Failure(
      EXIT.UNREACHABLE,
      `cannot open ${where}: ${cause instanceof Error ? cause.message : cause}`,
      undefined,
      cause,
    );
  }
}

/** Opens the CAs with these names over the database, which takes over what the directory alone knows of them. */
export async function openService(
  context: Context,
  profiles: Readonly<Record<string, readonly CertificateProfile[]>>,
): Promise<OpenService> {
  const path = storePath(context);
  await assertStore(path);
  const names = Object.keys(profiles);
  const passphrase = await context.secretText('passphrase');
  const files = await openStore(path, passphrase === undefined ? {} : { passphrase });
  const hierarchy = await context.during('opening the keys', files.load(names));
  const { origin, signer } = await auditSigner(path, passphrase);
  const store = await openDatabase(context);
  try {
    const entries = names.map((name) => entryOf(hierarchy, name, profiles[name] ?? []));
    const authorities = await Promise.all(
      entries.map(async (entry) => ({
        ...entry,
        crl: { ...entry.crl, firstNumber: Number(await lastCrlNumber(path, entry.name)) + 1 },
      })),
    );
    const authority = openEngine({ store, authorities, audit: { origin: serviceOrigin(origin), signer } });
    for (const name of names) await takeOver(files, authority, name);
    const isPostgres = /^postgres(ql)?:/.test(context.text('database') ?? '');
    await writeOutputFile(join(path, MARK), isPostgres ? 'postgres\n' : 'sqlite\n');
    const close = async (): Promise<void> => {
      await authority.close();
      await store.close();
    };
    return { authority, hierarchy, [Symbol.asyncDispose]: close };
  } catch (error) {
    await store.close();
    throw error;
  }
}

function entryOf(hierarchy: Hierarchy, name: string, profiles: readonly CertificateProfile[]) {
  const { issuer, certificate, chain, root } = hierarchy.get(name);
  const { profile } = hierarchy.template.certificates.find((entry) => entry.name === name) ?? {};
  if (profile?.ca === undefined) throw new Failure(EXIT.REFUSED, `${name} is no CA`);
  const crl = { every: 24 * 60 * MINUTE, deltaEvery: 60 * MINUTE };
  return { name, issuer: { ...issuer, certificate }, chain, root, profiles, crl };
}

/** What `issue` and `revoke` left in the directory goes into the database, so that OCSP and the CRLs know of it. */
async function takeOver(files: PkiStore, authority: CertificateAuthority, name: string): Promise<void> {
  const { store } = authority;
  for (const der of await files.issued(name)) {
    const { serialNumber } = parseCertificate(der);
    if ((await store.certificate(name, serialText(serialNumber))) !== undefined) continue;
    const record = { authority: name, profile: 'imported', owner: 'store:', certificate: der };
    await unlessThere(authority.record([record], { event: 'import' }));
  }
  for (const { serialNumber, revocationDate: since, reason = 'unspecified' } of await readRevocations(
    files.path,
    name,
  )) {
    const serial = serialText(serialNumber);
    if ((await store.revocation(name, serial)) !== undefined) continue;
    const change: Change = { change: 'revoke', issuer: name, serial, since, changedAt: authority.now(), reason };
    const event = { event: 'revoke', authority: name, serial, reason, requester: 'import' };
    await unlessThere(store.commit([change, authority.auditChange(event)]));
  }
}

/** Another process may have been faster, and a CRL may list what the directory does not have any more. */
async function unlessThere(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    const isThere = error instanceof PkiError && ['exists', 'conflict', 'not-found'].includes(error.code);
    if (!isThere) throw error;
  }
}
