/**
 * TPM enrolment as a service: challenges, endorsement keys and names are in the authority's store, so that any of several processes
 * takes the answer, and a device goes on where a killed process stopped.
 */
import type { AlternativeNames } from '../alternative-name.js';
import { concat, fromBase64, toBase64 } from '../bytes.js';
import { parseCertificate } from '../certificate.js';
import type { EkTrust } from '../endorsement-key.js';
import {
  type ChallengeStore,
  challengeEnrolment,
  type Enrolment,
  type EnrolmentCandidate,
  type EnrolmentPolicy,
  type VerifiedEnrolment,
  verifyEnrolment,
} from '../enrolment-authority.js';
import { EnrolmentResult, encodeMessage } from '../enrolment-message.js';
import { PkiError } from '../error.js';
import type { CertificateAuthority, Issued } from './authority.js';
import type { AuthorityStore, CertificateRecord, Change, StoredDocument } from './authority-store.js';

/** Options of {@link openTpmEnrolment}. */
export interface TpmEnrolmentOptions {
  /** The engine that records what is issued. */
  readonly authority: CertificateAuthority;
  /** Whose endorsement keys are believed. */
  readonly trust: EkTrust;
  /** Which CA certifies attestation keys, with which profile. */
  readonly attestation: { readonly authority: string; readonly profile: string };
  /** Which CA certifies device keys, with which profile. */
  readonly device: { readonly authority: string; readonly profile: string };
  /** Whether this TPM may have these names; without it any TPM that is believed may have names that no other has. */
  readonly authorize?: (candidate: EnrolmentCandidate) => boolean | Promise<boolean>;
  /** Seconds until a challenge is void; 300 without it. */
  readonly lifetime?: number;
}

/** What the registry knows of an endorsement key. */
export interface EkRecord {
  /** See `ekDigest`. */
  readonly ekDigest: string;
  /** A revoked key is refused, and so are its challenges in flight. */
  readonly status: 'active' | 'revoked';
  /** When it enrolled first, or was revoked before it ever did; ISO 8601. */
  readonly since: string;
  /** How often it was given certificates. */
  readonly enrolments: number;
}

/** TPM enrolment at work. */
export interface TpmEnrolment {
  /** Answers a device's request with a challenge. Throws {@link PkiError} as `challengeEnrolment` does, `not-allowed` for a revoked EK. */
  challenge(request: Uint8Array): Promise<Uint8Array>;
  /** Takes a device's answer, issues both certificates, records them, and gives the encoded result (`parseEnrolmentResult`). */
  complete(answer: Uint8Array): Promise<Uint8Array>;
  /** Takes a device's answer as proof that the key of a request is in a TPM that is believed, and issues nothing. */
  verify(answer: Uint8Array): Promise<VerifiedEnrolment>;
  /**
   * Has `commit` write down, in the commit that issues to a verified device, that the names are its own from now on. `commit` is
   * called again where somebody was faster. Throws {@link PkiError} `not-allowed` for a revoked EK and for names of another TPM, and
   * what `commit` throws.
   */
  claim<T>(candidate: EnrolmentCandidate, commit: (changes: readonly Change[]) => Promise<T>): Promise<T>;
  /** What is known of an endorsement key. */
  endorsementKey(ekDigest: string): Promise<EkRecord | undefined>;
  /** Revokes an endorsement key and every certificate in force that was issued to its TPM; gives their number. */
  revokeEndorsementKey(ekDigest: string, requester: string): Promise<number>;
}

const CHALLENGE = 'tpm-challenge';
const KEY = 'ek';
const NAME = 'device-name';
/** Certificates that a TPM has from elsewhere than from enrolment. */
const HELD = 'ek-certificate';
const MAX_RETRIES = 5;

/** Opens TPM enrolment over an authority. Throws {@link PkiError} `not-found` for a CA or profile that it has not. */
export function openTpmEnrolment(options: TpmEnrolmentOptions): TpmEnrolment {
  const { authority } = options;
  const policy = policyOf(options);
  return {
    challenge: (request) => challengeEnrolment(request, policy),
    async complete(answer) {
      const verified = await verifyEnrolment(answer, policy);
      const enrolled = await verified.issue();
      await record(options, enrolled);
      return encodeResult(options, enrolled);
    },
    verify: (answer) => verifyEnrolment(answer, policy),
    claim: (candidate, commit) => claim(options, candidate, commit),
    async endorsementKey(digest) {
      const kept = await authority.store.document(KEY, digest);
      return kept === undefined ? undefined : recordOf(kept);
    },
    revokeEndorsementKey: (digest, requester) => revokeKey(options, digest, requester),
  };
}

function policyOf(options: TpmEnrolmentOptions): EnrolmentPolicy {
  const { authority, attestation, device, trust, lifetime } = options;
  return {
    trust,
    attestation: issuance(authority, attestation),
    device: issuance(authority, device),
    challenges: storedChallenges(authority.store),
    authorize: (candidate) => isAuthorized(options, candidate),
    now: () => authority.now(),
    ...(lifetime === undefined ? {} : { lifetime }),
  };
}

function issuance(engine: CertificateAuthority, { authority, profile }: TpmEnrolmentOptions['device']) {
  return { issuer: engine.get(authority).issuer, profile: engine.profile(authority, profile) };
}

/** Challenges in flight in the authority's store. */
function storedChallenges(store: AuthorityStore): ChallengeStore {
  return {
    put: (id, state, expires) =>
      store.commit([{ change: 'put', kind: CHALLENGE, id, owner: '', body: toBase64(state), expires, version: 0 }]),
    async take(id) {
      const kept = await store.take(CHALLENGE, id);
      return kept === undefined ? undefined : fromBase64(kept.body, 'challenge');
    },
  };
}

/** Asked before the challenge and before issuing: a key that is revoked in between gets nothing. */
async function isAuthorized(
  { authority, authorize }: TpmEnrolmentOptions,
  candidate: EnrolmentCandidate,
): Promise<boolean> {
  const { store } = authority;
  if (await isRevokedKey(store, candidate.ekDigest)) return false;
  for (const name of namesOf(candidate)) {
    const owner = (await store.document(NAME, name))?.owner;
    if (owner !== undefined && owner !== candidate.ekDigest) return false;
  }
  // A wildcard stands for the names of others as well: somebody has to say that this TPM may have it.
  return (await authorize?.(candidate)) ?? candidate.subjectAltName.dns?.some((each) => each.startsWith('*.')) !== true;
}

/** The names that belong to one device: the serial number in its subject and every alternative name, each name in one spelling. */
function namesOf({ subject, subjectAltName }: EnrolmentCandidate): readonly string[] {
  const alternative = Object.entries<AlternativeNames[keyof AlternativeNames]>({ ...subjectAltName });
  const names = [
    ...(subject.serialNumber === undefined ? [] : [`serial:${subject.serialNumber.trim().replace(/ +/g, ' ')}`]),
    ...alternative.flatMap(([type, values]) => (values ?? []).map((value) => `${type}:${value}`)),
  ];
  return [...new Set(names.map(oneSpelling))];
}

/** Case makes another name only where somebody may have made it so; and `UUID:` is trust|me's word for `urn:uuid:`. */
function oneSpelling(name: string): string {
  return name.startsWith('permanentIdentifier:') ? name : name.toLowerCase().replace(/^uri:uuid:/, 'uri:urn:uuid:');
}

async function record(options: TpmEnrolmentOptions, enrolled: Enrolment): Promise<void> {
  const { authority, attestation, device } = options;
  const owner = `ek:${enrolled.ekDigest}`;
  const certificates = [
    { ...attestation, owner, certificate: enrolled.akCertificate },
    { ...device, owner, certificate: enrolled.deviceCertificate },
  ];
  await claim(options, enrolled, (changes) =>
    authority.record(certificates, { event: 'enrol', ek: enrolled.ekDigest }, changes),
  );
}

async function claim<T>(
  options: TpmEnrolmentOptions,
  candidate: EnrolmentCandidate,
  commit: (changes: readonly Change[]) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await commit(await claims(options, candidate));
    } catch (error) {
      // The same TPM enrols twice at once: what it has is read again.
      const isRace = error instanceof PkiError && (error.code === 'conflict' || error.code === 'exists');
      if (!isRace || attempt === MAX_RETRIES) throw error;
    }
  }
}

/** The registry's entry and the names, as changes that fail where somebody was faster. */
async function claims({ authority }: TpmEnrolmentOptions, candidate: EnrolmentCandidate): Promise<readonly Change[]> {
  const { store } = authority;
  const { ekDigest } = candidate;
  const kept = await store.document(KEY, ekDigest);
  const before = kept === undefined ? undefined : recordOf(kept);
  if (before?.status === 'revoked') {
    throw new PkiError('not-allowed', `enrol: expected an endorsement key in force, got ${ekDigest}, which is revoked`);
  }
  const body = keyBody('active', before?.since ?? authority.now().toISOString(), (before?.enrolments ?? 0) + 1);
  const changes: Change[] = [{ change: 'put', kind: KEY, id: ekDigest, owner: '', body, version: kept?.version ?? 0 }];
  for (const id of namesOf(candidate)) {
    const owner = (await store.document(NAME, id))?.owner;
    if (owner === undefined) changes.push({ change: 'put', kind: NAME, id, owner: ekDigest, body: '{}', version: 0 });
    else if (owner !== ekDigest) {
      throw new PkiError('not-allowed', `enrol: expected a name that is free, got ${id}, which is another TPM's`);
    }
  }
  return changes;
}

function keyBody(status: EkRecord['status'], since: string, enrolments: number): string {
  return JSON.stringify({ status, since, enrolments });
}

function recordOf({ id, body }: StoredDocument): EkRecord {
  // Written by keyBody.
  const { status, since, enrolments } = JSON.parse(body) as Omit<EkRecord, 'ekDigest'>;
  return { ekDigest: id, status, since, enrolments };
}

async function revokeKey({ authority }: TpmEnrolmentOptions, digest: string, requester: string): Promise<number> {
  const { store } = authority;
  const kept = await store.document(KEY, digest);
  const before = kept === undefined ? undefined : recordOf(kept);
  const body = keyBody('revoked', before?.since ?? authority.now().toISOString(), before?.enrolments ?? 0);
  // The key first: from here on nothing new is issued to it.
  await store.commit([
    { change: 'put', kind: KEY, id: digest, owner: '', body, version: kept?.version ?? 0 },
    authority.auditChange({ event: 'revoke', ek: digest, requester }),
  ]);
  let count = 0;
  const revokeOne = async (issuer: string, serial: string): Promise<void> => {
    if (await isRevoked(store, issuer, serial)) return;
    const [since, reason] = [authority.now(), 'privilegeWithdrawn'] as const;
    try {
      // Not by the engine's own word for it: the certificate may be of a CA that this engine was not opened with.
      await store.commit([
        { change: 'revoke', issuer, serial, since, changedAt: since, reason },
        authority.auditChange({ event: 'revoke', authority: issuer, serial, reason, requester }),
      ]);
      count += 1;
    } catch (error) {
      // Somebody else revoked it meanwhile: the others must not be left over for that.
      if (!(await isRevoked(store, issuer, serial))) throw error;
    }
  };
  for await (const { issuer, serial } of everyCertificate(store, `ek:${digest}`)) await revokeOne(issuer, serial);
  for await (const { id } of everyHeld(store, digest)) {
    const [issuer = '', serial = ''] = id.split('/');
    await revokeOne(issuer, serial);
  }
  return count;
}

/** Takes each out of the store once it was dealt with: there may be more than the store gives at once. */
async function* everyHeld(store: AuthorityStore, digest: string): AsyncGenerator<StoredDocument> {
  for (;;) {
    const held = await store.documents(HELD, digest);
    if (held.length === 0) return;
    for (const each of held) {
      yield each;
      await store.take(HELD, each.id);
    }
  }
}

/** The change that makes a certificate one of this TPM, for whoever revokes its endorsement key. */
export function heldBy(digest: string, authority: string, { serial, certificate }: Issued): Change {
  const { notAfter: expires } = parseCertificate(certificate);
  const id = `${authority}/${serial}`;
  return { change: 'put', kind: HELD, id, owner: digest, body: '{}', version: 0, expires };
}

/** The endorsement key that a certificate was issued to; undefined where it was issued to somebody else. */
export function keyOfOwner({ owner }: CertificateRecord): string | undefined {
  return owner.startsWith('ek:') ? owner.slice(3) : undefined;
}

/** Whether an endorsement key is revoked. */
export async function isRevokedKey(store: AuthorityStore, digest: string): Promise<boolean> {
  const kept = await store.document(KEY, digest);
  return kept !== undefined && recordOf(kept).status === 'revoked';
}

async function isRevoked(store: AuthorityStore, issuer: string, serial: string): Promise<boolean> {
  const kept = await store.revocation(issuer, serial);
  return kept !== undefined && !kept.released;
}

/** A store gives no more than so many at once, and a device may have any number. */
async function* everyCertificate(store: AuthorityStore, owner: string): AsyncGenerator<CertificateRecord> {
  for (let page = await store.certificates({ owner }); ; ) {
    yield* page;
    const after = page.at(-1);
    if (after === undefined) return;
    page = await store.certificates({ owner, after });
  }
}

function encodeResult({ authority, attestation, device }: TpmEnrolmentOptions, enrolled: Enrolment): Uint8Array {
  const { akCertificate, deviceCertificate } = enrolled;
  return encodeMessage(EnrolmentResult, {
    magic: 0x43_4d_45_35,
    akCertificate,
    akChain: concat(...authority.get(attestation.authority).chain),
    deviceCertificate,
    deviceChain: concat(...authority.get(device.authority).chain),
  });
}
