/** What an authority in a directory has revoked, one file a certificate, and the numbers of its CRLs. */
import { link, mkdir, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '@casemate/files';
import type { RevokedCertificate } from './crl-build.js';
import { CRL_REASONS, type CrlReason } from './crl-entries.js';
import { PkiError } from './error.js';
import { isCode, takeLock } from './store-lock.js';

/** Writes a revocation down, durably. Throws {@link PkiError} `exists` where the certificate is revoked already. */
export async function recordRevocation(path: string, issuer: string, revoked: RevokedCertificate): Promise<void> {
  const directory = await directoryOf(path, issuer);
  const serial = serialName(revoked.serialNumber);
  const temporary = join(directory, `.${serial}.${crypto.randomUUID()}`);
  const text = JSON.stringify({ date: revoked.revocationDate.toISOString(), reason: revoked.reason ?? 'unspecified' });
  await writeFile(temporary, `${text}\n`, { flush: true, mode: 0o644, flag: 'wx' });
  try {
    await link(temporary, join(directory, `${serial}.json`));
  } catch (cause) {
    if (!isCode(cause, 'EEXIST')) throw cause;
    throw new PkiError(
      'exists',
      `revoke certificate: expected one that is valid, got ${serial}, which is revoked already`,
      cause,
    );
  } finally {
    await unlink(temporary);
  }
}

function serialName(serialNumber: bigint): string {
  return serialNumber.toString(16).padStart(40, '0');
}

async function directoryOf(path: string, issuer: string): Promise<string> {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(issuer)) {
    throw new PkiError('bad-input', `use store: expected the name of an authority, got "${issuer}"`);
  }
  const directory = join(path, 'revoked', issuer);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/** Everything that an authority has revoked, ordered by serial number. Throws {@link PkiError} `malformed`. */
export async function readRevocations(path: string, issuer: string): Promise<readonly RevokedCertificate[]> {
  const directory = await directoryOf(path, issuer);
  const names = (await readdir(directory)).filter((name) => /^[0-9a-f]{40}\.json$/.test(name)).sort();
  return Promise.all(names.map(async (name) => parseRevocation(name, await readFile(join(directory, name), 'utf8'))));
}

function parseRevocation(name: string, text: string): RevokedCertificate {
  const match = /^\{"date":"([^"]{24})","reason":"([a-zA-Z]+)"\}\n$/.exec(text);
  const revocationDate = new Date(match?.[1] ?? '');
  const reason = CRL_REASONS.find((each): each is CrlReason => each !== undefined && each === match?.[2]);
  if (reason === undefined || Number.isNaN(revocationDate.getTime())) {
    throw new PkiError('malformed', `read revocation: expected a date and a reason in ${name}, got something else`);
  }
  return { serialNumber: BigInt(`0x${name.slice(0, 40)}`), revocationDate, reason };
}

/** The number of an authority's next CRL; each is given once. */
export async function takeCrlNumber(path: string, issuer: string): Promise<bigint> {
  const directory = await directoryOf(path, issuer);
  await using _lock = await takeLock(join(directory, 'lock'));
  const number = (await lastCrlNumber(path, issuer)) + 1n;
  await replaceFile(join(directory, 'crl-number'), `${number}\n`, { mode: 0o644 });
  return number;
}

/** The number of an authority's last CRL; 0 where there was none. */
export async function lastCrlNumber(path: string, issuer: string): Promise<bigint> {
  try {
    return BigInt((await readFile(join(await directoryOf(path, issuer), 'crl-number'), 'utf8')).trim());
  } catch (error) {
    if (isCode(error, 'ENOENT')) return 0n;
    throw error;
  }
}
