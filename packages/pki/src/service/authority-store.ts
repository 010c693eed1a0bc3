/** Where an authority keeps what it did: one interface for SQLite, PostgreSQL and whatever else keeps its promises. */
import type { AuditStore } from '../audit-log.js';
import type { CrlReason } from '../crl-entries.js';

/** A certificate that was issued. */
export interface CertificateRecord {
  /** The authority's name. */
  readonly issuer: string;
  /** The serial number as 40 lower-case hexadecimal digits, see {@link serialText}. */
  readonly serial: string;
  /** The certificate, DER. */
  readonly der: Uint8Array;
  /** The name of the profile that it was issued with. */
  readonly profile: string;
  /** To whom: an account, an EK digest, a user, each with a word in front of it (`acme:…`, `ek:…`, `basic:…`). */
  readonly owner: string;
  /** When it was issued. */
  readonly issuedAt: Date;
  /** Its last second. */
  readonly notAfter: Date;
}

/** A certificate that was revoked, or that was on hold and is not any more. */
export interface RevocationRecord {
  /** The authority's name. */
  readonly issuer: string;
  /** 40 lower-case hexadecimal digits. */
  readonly serial: string;
  /** Since when. */
  readonly since: Date;
  /** Why. */
  readonly reason: CrlReason;
  /** When this record was last changed. */
  readonly changedAt: Date;
  /** The last second of the certificate. */
  readonly notAfter: Date;
  /** Whether a hold was lifted: the certificate is in force, and a delta CRL says so. */
  readonly released: boolean;
}

/** A CRL that was published. */
export interface CrlRecord {
  /** The authority's name. */
  readonly issuer: string;
  /** Its number; complete and delta lists share one sequence. */
  readonly number: number;
  /** The complete list that a delta starts from; absent in a complete list. */
  readonly base?: number;
  /** The list, DER. */
  readonly der: Uint8Array;
  /** When it was made. */
  readonly thisUpdate: Date;
  /** When the next one will be there at the latest. */
  readonly nextUpdate: Date;
}

/** Anything else that must survive: accounts, orders, challenges in flight, nonces, the registry of endorsement keys. */
export interface StoredDocument {
  /** What kind, a word. */
  readonly kind: string;
  /** Its identifier among its kind. */
  readonly id: string;
  /** What {@link AuthorityStore.documents} finds it by; the empty text for none. */
  readonly owner: string;
  /** 1 when it was put first, and one more with each change. */
  readonly version: number;
  /** JSON text. */
  readonly body: string;
  /** When it may be forgotten. */
  readonly expires?: Date;
}

/**
 * One change. A commit is a list of them that happens as a whole or not at all.
 *
 * - `certificate`: a new certificate; `exists` where the authority issued this serial number before
 * - `revoke`: `conflict` where it is revoked already (a hold may become final), `not-found` where it was never issued
 * - `release`: lifts a hold; `conflict` where there is none
 * - `crl`: a new list; `exists` where the number is taken
 * - `put`: a document. With `version` 0 it must be new (`exists`), with another number it must have that version (`conflict`),
 *   without one it replaces whatever is there
 * - `delete`: `not-found` where it is not there (in that version)
 * - `audit`: an entry at the end of the audit log
 */
export type Change =
  | { readonly change: 'certificate'; readonly certificate: CertificateRecord }
  | {
      readonly change: 'revoke';
      readonly issuer: string;
      readonly serial: string;
      readonly since: Date;
      readonly changedAt: Date;
      readonly reason: CrlReason;
    }
  | { readonly change: 'release'; readonly issuer: string; readonly serial: string; readonly changedAt: Date }
  | { readonly change: 'crl'; readonly crl: CrlRecord }
  | ({ readonly change: 'put'; readonly version?: number } & Omit<StoredDocument, 'version'>)
  | { readonly change: 'delete'; readonly kind: string; readonly id: string; readonly version?: number }
  | { readonly change: 'audit'; readonly entry: Uint8Array };

/** What {@link AuthorityStore.certificates} looks for. */
export interface CertificateQuery {
  /** Of this authority. */
  readonly issuer?: string;
  /** Issued to this owner. */
  readonly owner?: string;
  /** After this certificate in the order of issuer and serial number. */
  readonly after?: { readonly issuer: string; readonly serial: string };
  /** At most so many; 1,000 without it. */
  readonly limit?: number;
}

/**
 * The store of an authority. Several processes may share one (PostgreSQL), and a process may be killed at any moment: what a
 * promise resolved for is there afterwards.
 */
export interface AuthorityStore extends AsyncDisposable {
  /**
   * Makes changes, all or none; durable when the promise resolves. Commits that wait are written together, each by itself.
   * Throws {@link PkiError} `exists`, `conflict` or `not-found`, see {@link Change}, and what the database throws.
   */
  commit(changes: readonly Change[]): Promise<void>;
  /** A certificate. */
  certificate(issuer: string, serial: string): Promise<CertificateRecord | undefined>;
  /** Certificates in the order of issuer and serial number. */
  certificates(query: CertificateQuery): Promise<readonly CertificateRecord[]>;
  /** Whether, and how, a certificate was revoked. */
  revocation(issuer: string, serial: string): Promise<RevocationRecord | undefined>;
  /**
   * The revocations of an authority that a CRL has a place for: of certificates that end at `endsAfter` or later, changed at
   * `changedSince` or later; all without them. Lifted holds are among them.
   */
  revocations(
    issuer: string,
    query?: { readonly endsAfter?: Date; readonly changedSince?: Date },
  ): Promise<readonly RevocationRecord[]>;
  /** The newest list of its kind. */
  newestCrl(issuer: string, kind: 'complete' | 'delta'): Promise<CrlRecord | undefined>;
  /** A document; one that expired may be gone already. */
  document(kind: string, id: string): Promise<StoredDocument | undefined>;
  /** The documents of an owner, by identifier, at most 1,000. */
  documents(kind: string, owner: string): Promise<readonly StoredDocument[]>;
  /** Removes a document and returns it: of several that try, one gets it. */
  take(kind: string, id: string): Promise<StoredDocument | undefined>;
  /** Forgets documents that expired before `now`, and gives their number. */
  forget(now: Date): Promise<number>;
  /** The audit log's entries: `openAuditLog({ store: store.audit, … })`. */
  readonly audit: AuditStore;
  /** Finishes what is under way and closes the database. */
  close(): Promise<void>;
}

/** The text of a serial number in a store: 40 lower-case hexadecimal digits. */
export function serialText(serialNumber: bigint): string {
  return serialNumber.toString(16).padStart(40, '0');
}
