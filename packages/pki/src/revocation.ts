/** What CRLs say about one certificate: the newest complete list with the newest delta on it (RFC 5280 section 6.3). */
import { parseSignatureIdentifier } from './algorithm.js';
import { equalBytes } from './bytes.js';
import type { Certificate } from './certificate.js';
import type { Crl } from './crl.js';
import type { CrlEntry } from './crl-entries.js';
import { scopeProblem } from './crl-scope.js';
import { PkiError } from './error.js';
import { nameText, sameName } from './name.js';
import { EXTENSION } from './oid.js';
import { verifySignature } from './signature.js';

/** What the CRLs at hand say about one certificate. */
export type RevocationStatus =
  /** No CRL of this issuer is there. */
  | { readonly status: 'no-crl' }
  | { readonly status: 'good' }
  | { readonly status: 'revoked'; readonly since: Date; readonly reason: string }
  /** CRLs of this issuer are there, but none that may be used. */
  | { readonly status: 'unusable'; readonly reason: string };

/**
 * Asks `crls` about `certificate` at `time`. `signers` are the certificates under the issuer's name whose keys may have signed them:
 * the issuer's own first, and those of its other keys. Indirect CRLs are not used.
 */
export async function revocationStatus(
  certificate: Certificate,
  signers: readonly Certificate[],
  crls: readonly Crl[],
  time: Date,
): Promise<RevocationStatus> {
  const candidates = crls.filter((each) => sameName(each.issuer, certificate.issuer));
  const { usable, problem } = await usableLists(candidates, certificate, signers, time);
  const complete = newest(usable.filter((each) => each.baseNumber === undefined));
  if (complete === undefined) return problem === '' ? { status: 'no-crl' } : { status: 'unusable', reason: problem };
  const entry = currentEntry(certificate, complete, deltaOf(complete, usable));
  if (entry === undefined) return complete.scope?.hasSomeReasons ? someReasons(complete) : { status: 'good' };
  return { status: 'revoked', since: entry.revocationDate, reason: entry.reason ?? 'unspecified' };
}

async function usableLists(
  candidates: readonly Crl[],
  certificate: Certificate,
  signers: readonly Certificate[],
  time: Date,
): Promise<{ readonly usable: readonly Crl[]; readonly problem: string }> {
  const usable: Crl[] = [];
  let problem = candidates.length > 0 ? `only delta CRLs of ${nameText(certificate.issuer)} are there` : '';
  for (const crl of candidates) {
    const found = listProblem(crl, certificate, time) ?? (await signatureProblem(crl, signers));
    if (found === undefined) usable.push(crl);
    else problem = found;
  }
  return { usable, problem };
}

function newest(lists: readonly Crl[]): Crl | undefined {
  return lists.reduce<Crl | undefined>(
    (best, each) => (best && numberOf(best) >= numberOf(each) ? best : each),
    undefined,
  );
}

function numberOf(crl: Crl): bigint {
  return crl.number ?? -1n;
}

/** RFC 5280 5.2.4: a delta belongs to a complete list of the same scope that is at least its base and older than itself. */
function deltaOf(complete: Crl, usable: readonly Crl[]): Crl | undefined {
  const number = numberOf(complete);
  return newest(
    usable.filter(
      (each) =>
        each.baseNumber !== undefined &&
        each.baseNumber <= number &&
        numberOf(each) > number &&
        equalBytes(scopeBytes(each), scopeBytes(complete)),
    ),
  );
}

function scopeBytes(crl: Crl): Uint8Array {
  return crl.extensions.find((each) => each.oid === EXTENSION.issuingDistributionPoint)?.value ?? new Uint8Array();
}

function currentEntry(certificate: Certificate, complete: Crl, delta: Crl | undefined): CrlEntry | undefined {
  const entry = delta?.entries.get(certificate.serialNumber) ?? complete.entries.get(certificate.serialNumber);
  return entry?.reason === 'removeFromCRL' ? undefined : entry;
}

function someReasons(crl: Crl): RevocationStatus {
  return { status: 'unusable', reason: `the CRL of ${nameText(crl.issuer)} covers only some reasons` };
}

function listProblem(crl: Crl, certificate: Certificate, time: Date): string | undefined {
  const name = nameText(crl.issuer);
  const content = extensionProblem(crl) ?? scopeProblem(crl.scope, certificate);
  if (content !== undefined) return `the CRL of ${name} ${content}`;
  if (time < crl.thisUpdate) return `the CRL of ${name} is from the future, ${crl.thisUpdate.toISOString()}`;
  if (crl.nextUpdate === undefined || time > crl.nextUpdate) return `the CRL of ${name} is out of date`;
  return undefined;
}

async function signatureProblem(crl: Crl, signers: readonly Certificate[]): Promise<string | undefined> {
  const name = nameText(crl.issuer);
  const entitled = signers.filter(({ keyUsage }) => keyUsage === undefined || keyUsage.has('cRLSign'));
  if (entitled.length === 0) return `${name} may not sign CRLs`;
  for (const signer of entitled) if (await isSignedBy(crl, signer)) return undefined;
  return `the CRL of ${name} has a bad signature`;
}

const PROCESSED: ReadonlySet<string> = new Set([EXTENSION.issuingDistributionPoint, EXTENSION.deltaCRLIndicator]);

function extensionProblem(crl: Crl): string | undefined {
  const number = crl.extensions.find((each) => each.oid === EXTENSION.cRLNumber);
  if (number === undefined) return 'has no number';
  if (number.critical) return 'has a critical number';
  if (crl.entries.hasUnknownCritical) return 'has an entry with a critical extension';
  const critical = crl.extensions.find((each) => each.critical && !PROCESSED.has(each.oid));
  if (critical !== undefined) return `has the critical extension ${critical.oid}`;
  if (numberOf(crl) < 0n) return 'has a negative number';
  return crl.baseNumber !== undefined && crl.baseNumber > numberOf(crl) ? 'is older than its base' : undefined;
}

/** Checked once for each list and key: a list of a hundred thousand entries is asked about many certificates. */
async function isSignedBy(crl: Crl, issuer: Certificate): Promise<boolean> {
  const known = authentic.get(crl);
  if (known !== undefined && equalBytes(known, issuer.publicKey)) return true;
  const isAuthentic = await verifyList(crl, issuer);
  if (isAuthentic) authentic.set(crl, issuer.publicKey);
  return isAuthentic;
}

/** The key under which a list was found authentic. */
const authentic = new WeakMap<Crl, Uint8Array>();

async function verifyList(crl: Crl, issuer: Certificate): Promise<boolean> {
  try {
    const scheme = parseSignatureIdentifier(crl.signatureAlgorithm, 'CertificateList/signatureAlgorithm');
    return await verifySignature(issuer.publicKey, scheme, crl.tbs, crl.signature);
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}
