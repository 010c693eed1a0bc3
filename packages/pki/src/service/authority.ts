/**
 * A certificate authority at work: issues, renews and revokes, publishes CRLs and answers OCSP. Everything it does is in its store,
 * with an entry of the audit log, before anybody is told of it.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { generalNames } from '../alternative-name.js';
import { type AuditEvent, type AuditLog, encodeAuditEntry, openAuditLog } from '../audit-log.js';
import { equalBytes, toHex } from '../bytes.js';
import { asCertificate, type Certificate, type CertificateInput, parseCertificate } from '../certificate.js';
import { parseCrl } from '../crl.js';
import { createCrl, type RevokedCertificate } from '../crl-build.js';
import type { CrlReason } from '../crl-entries.js';
import { type CheckedCsr, type Csr, checkCsr } from '../csr.js';
import { PkiError } from '../error.js';
import type { GeneralName } from '../general-name.js';
import { encodeGeneralName } from '../general-name.js';
import { createCertificate, type Issuer } from '../issue.js';
import type { Signer } from '../key.js';
import { buildName, nameText } from '../name.js';
import { answerOcsp, type CertificateStatus } from '../ocsp-response.js';
import { extendedKeyUsageOid, OCSP } from '../oid.js';
import { type PathResult, validatePath } from '../path.js';
import { assertProfile, type CertificateProfile } from '../profile.js';
import {
  type AuthorityStore,
  type CertificateRecord,
  type Change,
  type CrlRecord,
  serialText,
} from './authority-store.js';

/** When an authority publishes its lists. Times are milliseconds. */
export interface CrlSchedule {
  /** From one complete list to the next; a day without it. */
  readonly every?: number;
  /** From one delta list to the next; no delta lists without it. */
  readonly deltaEvery?: number;
  /** How much longer than that a list is good, so that a late one hurts nobody; an hour without it. */
  readonly overlap?: number;
  /** Where the delta lists are published, for the complete list to name. */
  readonly freshestCrlUri?: string;
  /** The number of the first list, for a CA that published elsewhere before; 1 without it. */
  readonly firstNumber?: number;
}

/** One CA of an engine. */
export interface AuthorityEntry {
  /** Its word in URLs, records and the audit log: lower-case letters, digits and hyphens. */
  readonly name: string;
  /** Its certificate, its key and its locations. */
  readonly issuer: Issuer & { readonly certificate: CertificateInput };
  /** Its certificate and those above it without the root, DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** The root, DER. */
  readonly root: Uint8Array;
  /** What it issues, by name. */
  readonly profiles: readonly CertificateProfile[];
  /** When it publishes CRLs. */
  readonly crl?: CrlSchedule;
  /** Who answers OCSP for it; the CA itself without it. */
  readonly ocsp?: { readonly signer: Signer; readonly certificate: CertificateInput };
  /** Milliseconds for which an OCSP answer is good; an hour without it. */
  readonly ocspValidity?: number;
}

/** Options of {@link openAuthority}. */
export interface AuthorityOptions {
  /** Where everything is kept. */
  readonly store: AuthorityStore;
  /** The CAs. */
  readonly authorities: readonly AuthorityEntry[];
  /** The audit log's name and the key that signs its checkpoints. */
  readonly audit: { readonly origin: string; readonly signer: Signer };
  /** The clock; the system's without it. */
  readonly now?: () => Date;
}

/** What {@link CertificateAuthority.issue} issues. */
export interface IssueInput {
  /** The CA's name. */
  readonly authority: string;
  /** The profile's name. */
  readonly profile: string;
  /** The request, DER or read; what it asks for beyond the profile is a refusal. */
  readonly csr: Uint8Array | Csr;
  /** To whom, see {@link CertificateRecord.owner}. */
  readonly owner: string;
  /** The challengePassword that the request may have. */
  readonly challengePassword?: string;
  /** A last look at the names of the request, after all other checks. */
  readonly authorize?: (checked: CheckedCsr) => void | Promise<void>;
  /** First second of validity; now without it. */
  readonly notBefore?: Date;
  /** Last second of validity; what the profile says without it, or its issuer's end. */
  readonly notAfter?: Date;
  /** What else happens in the same commit. */
  readonly also?: (issued: Issued) => readonly Change[];
}

/** What {@link CertificateAuthority.renew} renews. */
export interface RenewInput extends IssueInput {
  /** The certificate to be renewed: issued by the same CA, in force, with the same names. */
  readonly previous: CertificateInput;
}

/** A certificate that is in the store. */
export interface Issued {
  /** The certificate, DER. */
  readonly certificate: Uint8Array;
  /** The CA's chain, DER, without the root. */
  readonly chain: readonly Uint8Array[];
  /** 40 lower-case hexadecimal digits. */
  readonly serial: string;
}

/** What {@link CertificateAuthority.revoke} revokes. */
export interface RevokeInput {
  /** The CA's name. */
  readonly authority: string;
  /** The serial number, see {@link serialText}. */
  readonly serial: string;
  /** Why; `unspecified` without it. */
  readonly reason?: Exclude<CrlReason, 'removeFromCRL'>;
  /** Who asked. */
  readonly requester: string;
  /** What else happens in the same commit. */
  readonly also?: readonly Change[];
}

/** An OCSP answer for an HTTP response. */
export interface OcspAnswer {
  /** The response, DER. */
  readonly response: Uint8Array;
  /** When it was signed. */
  readonly thisUpdate: Date;
  /** Until when it may be kept. */
  readonly nextUpdate: Date;
}

/** An authority at work. */
export interface CertificateAuthority {
  /** The CAs, by name. */
  readonly authorities: ReadonlyMap<string, AuthorityEntry>;
  /** The store. */
  readonly store: AuthorityStore;
  /** The present. */
  now(): Date;
  /** A CA. Throws {@link PkiError} `not-found`. */
  get(name: string): AuthorityEntry;
  /** A profile of a CA. Throws {@link PkiError} `not-found`. */
  profile(authority: string, name: string): CertificateProfile;
  /**
   * Checks a request against the profile field by field, issues, and records it with an audit entry; durable when it resolves.
   * Throws {@link PkiError} as `issueFromCsr` does.
   */
  issue(input: IssueInput): Promise<Issued>;
  /**
   * {@link issue} for a certificate that there is already. Throws {@link PkiError} `not-allowed` where it is not in force, also where
   * it is revoked meanwhile, or has other names or another profile.
   */
  renew(input: RenewInput): Promise<Issued>;
  /** Records certificates that were made elsewhere (as TPM enrolment makes them) with audit entries and further changes. */
  record(
    certificates: readonly { authority: string; profile: string; owner: string; certificate: Uint8Array }[],
    event: AuditEvent,
    also?: readonly Change[],
  ): Promise<void>;
  /** Revokes a certificate. Throws {@link PkiError} `conflict` where it was never issued or is revoked already. */
  revoke(input: RevokeInput): Promise<void>;
  /** Lifts a hold. Throws {@link PkiError} `conflict` where there is none. */
  release(input: Omit<RevokeInput, 'reason'>): Promise<void>;
  /** What is known of a serial number. */
  statusOf(authority: string, serialNumber: bigint): Promise<CertificateStatus>;
  /** Makes and publishes a list; gives that of another process where that was faster and knew as much. */
  publishCrl(authority: string, kind: 'complete' | 'delta'): Promise<CrlRecord>;
  /** Publishes every list that is due, forgets what expired, and signs the audit log. */
  maintain(): Promise<void>;
  /** Answers an OCSP question (DER) about certificates of this CA. */
  answerOcsp(authority: string, question: Uint8Array): Promise<OcspAnswer>;
  /** Validates a client's certificate: a path to a root of ours, for client authentication, issued by us and not revoked. */
  authenticate(certificate: CertificateInput, intermediates?: readonly CertificateInput[]): Promise<PathResult>;
  /** An entry of the audit log as a change, for commits of one's own. */
  auditChange(event: AuditEvent): Change;
  /** The audit log, opened when it is first asked for. */
  audit(): Promise<AuditLog>;
  /** Waits for what is under way. The store stays open. */
  close(): Promise<void>;
}

const DAY = 86_400_000;
const HOUR = 3_600_000;
/** How many days a certificate may begin before or after it is issued. */
const MAX_START = 30;
/** Clocks of processes that share a store may differ by so much. */
const CLOCK_SKEW = 60_000;

/** Opens an engine. Throws {@link PkiError} `bad-input` for names or profiles that cannot be. */
export function openAuthority(options: AuthorityOptions): CertificateAuthority {
  const engine = new Engine(options);
  return engine;
}

class Engine implements CertificateAuthority {
  readonly authorities: ReadonlyMap<string, AuthorityEntry>;
  readonly store: AuthorityStore;
  readonly #options: AuthorityOptions;
  #audit: Promise<AuditLog> | undefined;

  constructor(options: AuthorityOptions) {
    this.#options = options;
    this.store = options.store;
    // Read once: every certificate that is issued needs its issuer's.
    this.authorities = new Map(options.authorities.map((each) => [each.name, opened(each)]));
  }

  now(): Date {
    return this.#options.now?.() ?? new Date();
  }

  get(name: string): AuthorityEntry {
    const found = this.authorities.get(name);
    if (found !== undefined) return found;
    throw new PkiError(
      'not-found',
      `use authority: expected one of ${[...this.authorities.keys()].join(', ')}, got "${name}"`,
    );
  }

  profile(authority: string, name: string): CertificateProfile {
    const { profiles } = this.get(authority);
    const found = profiles.find((each) => each.name === name);
    if (found !== undefined) return found;
    const known = profiles.map((each) => each.name).join(', ');
    throw new PkiError('not-found', `use profile: expected one of ${known} of ${authority}, got "${name}"`);
  }

  issue(input: IssueInput): Promise<Issued> {
    return this.#issue(input, 'issue', {});
  }

  async renew(input: RenewInput): Promise<Issued> {
    const previous = asCertificate(input.previous);
    await this.#assertRenewable(previous, input);
    const serial = serialText(previous.serialNumber);
    const issued = await this.#issue(input, 'renew', { previous: serial }, (checked) =>
      assertSameNames(previous, checked),
    );
    await this.#assertStillInForce(previous, issued, input.authority);
    return issued;
  }

  /** Whoever revoked the old certificate while the new one was made could not know of it: it goes the same way, and to nobody. */
  async #assertStillInForce(previous: Certificate, { serial }: Issued, authority: string): Promise<void> {
    const status = await this.statusOf(authority, previous.serialNumber);
    if (status.status !== 'revoked') return;
    const { reason = 'unspecified' } = status;
    if (reason !== 'removeFromCRL') await this.revoke({ authority, serial, reason, requester: 'renewal' });
    throw new PkiError('not-allowed', 'renew certificate: expected one in force, got one that was revoked meanwhile');
  }

  async #issue(
    input: IssueInput,
    event: string,
    fields: Readonly<Record<string, string>>,
    look?: (checked: CheckedCsr) => void,
  ): Promise<Issued> {
    const { issuer, chain, name } = this.get(input.authority);
    const profile = this.profile(name, input.profile);
    const { challengePassword: allowed } = input;
    const checked = await checkCsr(input.csr, profile, allowed === undefined ? {} : { challengePassword: allowed });
    look?.(checked);
    await input.authorize?.(checked);
    const start = input.notBefore ?? this.now();
    const end = input.notAfter === undefined ? {} : { notAfter: input.notAfter };
    // A client may ask for less than the profile gives, never for more.
    if (input.notAfter !== undefined && input.notAfter.getTime() > start.getTime() + profile.validityDays * DAY) {
      throw new PkiError(
        'not-allowed',
        `use profile ${profile.name}: expected at most ${profile.validityDays} days, got more`,
      );
    }
    if (Math.abs(start.getTime() - this.now().getTime()) > MAX_START * DAY) {
      throw new PkiError(
        'not-allowed',
        `use profile ${profile.name}: expected a start within ${MAX_START} days, got another`,
      );
    }
    const certificate = await createCertificate({ profile, issuer, ...checked, notBefore: start, ...end });
    const read = parseCertificate(certificate);
    const issued = { certificate, chain, serial: serialText(read.serialNumber) };
    await this.store.commit([
      this.#certificateChange(name, profile.name, input.owner, read),
      this.auditChange({ event, ...certificateFields(name, profile.name, input.owner, read), ...fields }),
      ...(input.also?.(issued) ?? []),
    ]);
    return issued;
  }

  async #assertRenewable(previous: Certificate, input: RenewInput): Promise<void> {
    const serial = serialText(previous.serialNumber);
    const kept = await this.store.certificate(input.authority, serial);
    if (kept === undefined || !equalBytes(kept.der, previous.der)) {
      throw new PkiError(
        'not-allowed',
        `renew certificate: expected one of ${input.authority}, got ${serial}, which is not`,
      );
    }
    this.#assertSameProfile(previous, kept, input);
    const status = await this.statusOf(input.authority, previous.serialNumber);
    if (status.status !== 'good' || previous.notAfter < this.now()) {
      throw new PkiError(
        'not-allowed',
        `renew certificate: expected ${serial} to be in force, got it revoked or expired`,
      );
    }
  }

  /** A certificate that came from elsewhere, under a profile that nobody knows here, is renewed where the profile gives no more. */
  #assertSameProfile(previous: Certificate, kept: CertificateRecord, input: RenewInput): void {
    const { profiles } = this.get(input.authority);
    const wanted = this.profile(input.authority, input.profile);
    if (kept.profile === wanted.name) return;
    const isKnown = profiles.some((each) => each.name === kept.profile);
    if (!isKnown && givesNoMore(wanted, previous)) return;
    throw new PkiError(
      'not-allowed',
      `renew certificate: expected one of profile ${wanted.name}, got one of ${kept.profile}`,
    );
  }

  async record(
    certificates: readonly { authority: string; profile: string; owner: string; certificate: Uint8Array }[],
    event: AuditEvent,
    also: readonly Change[] = [],
  ): Promise<void> {
    const changes = certificates.flatMap(({ authority, profile, owner, certificate }) => {
      const read = parseCertificate(certificate);
      return [
        this.#certificateChange(authority, profile, owner, read),
        this.auditChange({ ...event, ...certificateFields(authority, profile, owner, read) }),
      ];
    });
    await this.store.commit([...changes, ...also]);
  }

  #certificateChange(issuer: string, profile: string, owner: string, read: Certificate): Change {
    const { der, notAfter } = read;
    const record = {
      issuer,
      serial: serialText(read.serialNumber),
      der,
      profile,
      owner,
      issuedAt: this.now(),
      notAfter,
    };
    return { change: 'certificate', certificate: record };
  }

  async revoke(input: RevokeInput): Promise<void> {
    const { serial, reason = 'unspecified', requester } = input;
    const { name } = this.get(input.authority);
    const now = this.now();
    await this.store.commit([
      { change: 'revoke', issuer: name, serial, since: now, changedAt: now, reason },
      this.auditChange({ event: 'revoke', authority: name, serial, reason, requester }),
      ...(input.also ?? []),
    ]);
  }

  async release(input: Omit<RevokeInput, 'reason'>): Promise<void> {
    const { serial, requester } = input;
    const { name } = this.get(input.authority);
    await this.store.commit([
      { change: 'release', issuer: name, serial, changedAt: this.now() },
      this.auditChange({ event: 'release', authority: name, serial, requester }),
      ...(input.also ?? []),
    ]);
  }

  async statusOf(authority: string, serialNumber: bigint): Promise<CertificateStatus> {
    if (serialNumber <= 0n || serialNumber >= 1n << 160n) return { status: 'unknown' };
    const serial = serialText(serialNumber);
    const revoked = await this.store.revocation(authority, serial);
    if (revoked !== undefined && !revoked.released) {
      return { status: 'revoked', since: revoked.since, reason: revoked.reason };
    }
    return (await this.store.certificate(authority, serial)) === undefined ? { status: 'unknown' } : { status: 'good' };
  }

  async publishCrl(authority: string, kind: 'complete' | 'delta'): Promise<CrlRecord> {
    const { issuer, name, crl: schedule = {} } = this.get(authority);
    const complete = await this.store.newestCrl(name, 'complete');
    const delta = await this.store.newestCrl(name, 'delta');
    if (kind === 'delta' && complete === undefined) return this.publishCrl(authority, 'complete');
    const base = kind === 'delta' ? complete : undefined;
    const last = Math.max(complete?.number ?? 0, delta?.number ?? 0);
    const number = Math.max(last + 1, schedule.firstNumber ?? 1);
    const thisUpdate = new Date(Math.floor(this.now().getTime() / 1000) * 1000);
    const life = base === undefined ? (schedule.every ?? DAY) : (schedule.deltaEvery ?? HOUR);
    const nextUpdate = new Date(thisUpdate.getTime() + life + (schedule.overlap ?? HOUR));
    const revoked = await this.#revoked(name, complete, base);
    const freshest = base === undefined ? schedule.freshestCrlUri : undefined;
    const der = await createCrl({
      ...{ issuer, number: BigInt(number), revoked, thisUpdate, nextUpdate },
      ...(base === undefined ? {} : { baseNumber: BigInt(base.number) }),
      ...(freshest === undefined ? {} : { freshestCrlUri: freshest }),
    });
    const record = { issuer: name, number, der, thisUpdate, nextUpdate, ...(base && { base: base.number }) };
    try {
      const event = {
        event: 'crl',
        authority: name,
        number,
        entries: revoked.length,
        ...(base && { base: base.number }),
      };
      await this.store.commit([{ change: 'crl', crl: record }, this.auditChange(event)]);
      return record;
    } catch (error) {
      if (!(error instanceof PkiError) || error.code !== 'exists') throw error;
      const newest = await this.store.newestCrl(name, kind);
      // Another process was faster. What it did not know of yet must not be kept back for that.
      return newest?.number === number && hasAll(newest, revoked) ? newest : this.publishCrl(authority, kind);
    }
  }

  /**
   * A complete list has every certificate in force that is revoked, and one that expired until it was on one list after that
   * (RFC 5280 section 3.3); a delta list what changed since its base.
   */
  async #revoked(
    name: string,
    complete: CrlRecord | undefined,
    base: CrlRecord | undefined,
  ): Promise<RevokedCertificate[]> {
    const endsAfter = complete === undefined ? {} : { endsAfter: complete.thisUpdate };
    const since = base === undefined ? {} : { changedSince: new Date(base.thisUpdate.getTime() - CLOCK_SKEW) };
    const records = await this.store.revocations(name, { ...endsAfter, ...since });
    return records
      .filter((each) => base !== undefined || !each.released)
      .map((each) => ({
        serialNumber: BigInt(`0x${each.serial}`),
        revocationDate: each.released ? each.changedAt : each.since,
        reason: each.released ? 'removeFromCRL' : each.reason,
      }));
  }

  async maintain(): Promise<void> {
    const now = this.now().getTime();
    for (const { name, crl: schedule = {} } of this.authorities.values()) {
      const complete = await this.store.newestCrl(name, 'complete');
      if (isDue(complete, schedule.every ?? DAY, now)) await this.publishCrl(name, 'complete');
      else if (schedule.deltaEvery !== undefined) {
        const delta = await this.store.newestCrl(name, 'delta');
        const newest = (delta?.number ?? 0) > (complete?.number ?? 0) ? delta : complete;
        if (isDue(newest, schedule.deltaEvery, now)) await this.publishCrl(name, 'delta');
      }
    }
    await this.store.forget(this.now());
    const audit = await this.audit();
    await audit.refresh();
    await audit.sign();
  }

  async answerOcsp(authority: string, question: Uint8Array): Promise<OcspAnswer> {
    const { issuer, ocsp, name, ocspValidity: validity = HOUR } = this.get(authority);
    const time = new Date(Math.floor(this.now().getTime() / 1000) * 1000);
    const response = await answerOcsp(question, {
      issuer: issuer.certificate,
      signer: ocsp?.signer ?? issuer.signer,
      ...(ocsp && { certificate: ocsp.certificate }),
      statusOf: (serialNumber) => this.statusOf(name, serialNumber),
      validity,
      time,
    });
    return { response, thisUpdate: time, nextUpdate: new Date(time.getTime() + validity) };
  }

  async authenticate(input: CertificateInput, intermediates: readonly CertificateInput[] = []): Promise<PathResult> {
    const entries = [...this.authorities.values()];
    const own = entries.map(({ issuer }) => issuer.certificate);
    const roots = entries.map(({ root }) => root);
    const time = this.now();
    const result = await validatePath(input, [...own, ...intermediates], roots, { purpose: 'client-auth', time });
    if (!result.ok) return result;
    const [leaf, above] = result.path;
    const issuer = entries.find(
      (each) => above !== undefined && equalBytes(asCertificate(each.issuer.certificate).der, above.der),
    );
    const status =
      leaf === undefined || issuer === undefined ? undefined : await this.statusOf(issuer.name, leaf.serialNumber);
    if (status?.status === 'good') return result;
    const message = `authenticate: expected a certificate of ours that is in force, got one that is ${status?.status ?? 'of another issuer'}`;
    return {
      ok: false,
      problem: { code: 'revoked', message, subject: leaf === undefined ? '' : nameText(leaf.subject) },
    };
  }

  auditChange(event: AuditEvent): Change {
    return { change: 'audit', entry: encodeAuditEntry(event, this.now()) };
  }

  audit(): Promise<AuditLog> {
    const { origin, signer } = this.#options.audit;
    // A log that could not be opened is tried again by the next who asks.
    this.#audit ??= openAuditLog({ store: this.store.audit, origin, signer, now: () => this.now() }).catch(
      (error: unknown) => {
        this.#audit = undefined;
        throw error;
      },
    );
    return this.#audit;
  }

  async close(): Promise<void> {
    const audit = await this.#audit;
    await audit?.close();
  }
}

function opened(entry: AuthorityEntry): AuthorityEntry {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(entry.name)) {
    throw new PkiError(
      'bad-input',
      `open authority: expected lower-case letters, digits and hyphens, got "${entry.name}"`,
    );
  }
  for (const profile of entry.profiles) assertProfile(profile);
  const ocsp = entry.ocsp && { ...entry.ocsp, certificate: asCertificate(entry.ocsp.certificate) };
  const issuer = { ...entry.issuer, certificate: asCertificate(entry.issuer.certificate) };
  return { ...entry, issuer, ...(ocsp && { ocsp }) };
}

/** Whether a profile gives a certificate no use that `previous` has not. */
function givesNoMore(profile: CertificateProfile, previous: Certificate): boolean {
  const { keyUsage, extendedKeyUsage, basicConstraints, certificatePolicies = [], extensions } = previous;
  const usages = profile.extendedKeyUsage?.map(extendedKeyUsageOid);
  const isWithinUsages = extendedKeyUsage === undefined || usages?.every((each) => extendedKeyUsage.includes(each));
  return (
    profile.ca === undefined &&
    basicConstraints?.ca !== true &&
    (keyUsage === undefined || profile.keyUsage.every((each) => keyUsage.has(each))) &&
    isWithinUsages === true &&
    (profile.policies ?? []).every((each) => certificatePolicies.includes(each)) &&
    (profile.ocspNoCheck !== true || extensions.some((each) => each.oid === OCSP.noCheck))
  );
}

/** RFC 7030 4.2.2: the names are those of the certificate that is renewed, or there is no renewal. */
function assertSameNames(previous: Certificate, checked: CheckedCsr): void {
  const names = generalNames(checked.subjectAltName);
  if (!equalBytes(buildName(checked.subject), previous.subject.der) || !sameNames(names, previous.subjectAltName)) {
    throw new PkiError(
      'not-allowed',
      `renew certificate: expected the names of ${nameText(previous.subject)}, got others`,
    );
  }
}

function certificateFields(
  authority: string,
  profile: string,
  owner: string,
  read: Certificate,
): Readonly<Record<string, string>> {
  return {
    ...{ authority, profile, owner, serial: serialText(read.serialNumber), subject: nameText(read.subject) },
    certificate: toHex(sha256(read.der)),
  };
}

function sameNames(a: readonly GeneralName[] = [], b: readonly GeneralName[] = []): boolean {
  const texts = (names: readonly GeneralName[]) => names.map((each) => toHex(encodeGeneralName(each))).sort();
  return texts(a).join() === texts(b).join();
}

function hasAll({ der }: CrlRecord, revoked: readonly RevokedCertificate[]): boolean {
  const { entries } = parseCrl(der);
  return revoked.every(({ serialNumber }) => entries.get(serialNumber) !== undefined);
}

function isDue(list: CrlRecord | undefined, every: number, now: number): boolean {
  return list === undefined || list.thisUpdate.getTime() + every <= now;
}
