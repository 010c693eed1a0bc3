/** The tables and statements of a store in SQL, in the part of the language that SQLite and PostgreSQL share. */
import { CRL_REASONS, type CrlReason } from '../crl-entries.js';
import { PkiError, type PkiErrorCode } from '../error.js';
import type {
  CertificateQuery,
  CertificateRecord,
  Change,
  CrlRecord,
  RevocationRecord,
  StoredDocument,
} from './authority-store.js';

/** What a statement takes and a row has. Moments are milliseconds since 1970. */
export type SqlValue = string | number | Uint8Array | null;
/** One row of an answer. PostgreSQL gives 64-bit numbers as text. */
export type SqlRow = Readonly<Record<string, unknown>>;

/** One statement. Where it changes no row, the commit it belongs to is refused. */
export interface Statement {
  readonly sql: string;
  readonly args: readonly SqlValue[];
  readonly refusal?: { readonly code: PkiErrorCode; readonly message: string };
}

/** The version of the tables, kept in the database. */
export const SCHEMA_VERSION = 1;

/** What makes the tables. `blob` is the database's word for bytes, `big` that for 64-bit numbers. */
export function schema(blob: string, big: string, strict: string): readonly string[] {
  return [
    `CREATE TABLE IF NOT EXISTS certificate (
      issuer TEXT NOT NULL, serial TEXT NOT NULL, der ${blob} NOT NULL, profile TEXT NOT NULL, owner TEXT NOT NULL,
      issued_at ${big} NOT NULL, not_after ${big} NOT NULL, PRIMARY KEY (issuer, serial))${strict}`,
    'CREATE INDEX IF NOT EXISTS certificate_owner ON certificate (owner)',
    `CREATE TABLE IF NOT EXISTS revocation (
      issuer TEXT NOT NULL, serial TEXT NOT NULL, since ${big} NOT NULL, reason TEXT NOT NULL, changed_at ${big} NOT NULL,
      not_after ${big} NOT NULL, released ${big} NOT NULL, PRIMARY KEY (issuer, serial))${strict}`,
    'CREATE INDEX IF NOT EXISTS revocation_changed ON revocation (issuer, changed_at)',
    `CREATE TABLE IF NOT EXISTS crl (
      issuer TEXT NOT NULL, number ${big} NOT NULL, base ${big}, der ${blob} NOT NULL, this_update ${big} NOT NULL,
      next_update ${big} NOT NULL, PRIMARY KEY (issuer, number))${strict}`,
    `CREATE TABLE IF NOT EXISTS document (
      kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, version ${big} NOT NULL, body TEXT NOT NULL,
      expires ${big}, PRIMARY KEY (kind, id))${strict}`,
    "CREATE INDEX IF NOT EXISTS document_owner ON document (kind, owner) WHERE owner <> ''",
    'CREATE INDEX IF NOT EXISTS document_expires ON document (expires) WHERE expires IS NOT NULL',
    `CREATE TABLE IF NOT EXISTS audit (place ${big} NOT NULL PRIMARY KEY, entry ${blob} NOT NULL)${strict}`,
    `CREATE TABLE IF NOT EXISTS checkpoint (one ${big} NOT NULL PRIMARY KEY, size ${big} NOT NULL, text TEXT NOT NULL)${strict}`,
  ];
}

/** The statements of one change, in order. */
export function statementsOf(change: Change): readonly Statement[] {
  switch (change.change) {
    case 'certificate':
      return [insertCertificate(change.certificate)];
    case 'revoke':
      return [revoke(change)];
    case 'release':
      return [
        {
          sql: `UPDATE revocation SET released = 1, changed_at = $3
            WHERE issuer = $1 AND serial = $2 AND reason = 'certificateHold' AND released = 0`,
          args: [change.issuer, change.serial, change.changedAt.getTime()],
          refusal: refusal(
            'conflict',
            `release certificate: expected ${change.serial} to be on hold, got it otherwise`,
          ),
        },
      ];
    case 'crl':
      return [insertCrl(change.crl)];
    case 'put':
      return [put(change)];
    case 'delete':
      return [
        {
          sql: `DELETE FROM document WHERE kind = $1 AND id = $2${change.version === undefined ? '' : ' AND version = $3'}`,
          args: [change.kind, change.id, ...(change.version === undefined ? [] : [change.version])],
          refusal: refusal('not-found', `delete ${change.kind}: expected ${change.id}, got none`),
        },
      ];
    case 'audit':
      return [
        {
          sql: 'INSERT INTO audit (place, entry) SELECT COALESCE(MAX(place) + 1, 0), $1 FROM audit',
          args: [change.entry],
        },
      ];
  }
}

function refusal(code: PkiErrorCode, message: string): NonNullable<Statement['refusal']> {
  return { code, message };
}

function insertCertificate(each: CertificateRecord): Statement {
  return {
    sql: `INSERT INTO certificate (issuer, serial, der, profile, owner, issued_at, not_after)
      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
    args: [
      each.issuer,
      each.serial,
      each.der,
      each.profile,
      each.owner,
      each.issuedAt.getTime(),
      each.notAfter.getTime(),
    ],
    refusal: refusal(
      'exists',
      `record certificate: expected a fresh serial number of ${each.issuer}, got ${each.serial} again`,
    ),
  };
}

/** A hold may become final, and a certificate whose hold was lifted may be revoked again; nothing else is revoked twice. */
function revoke(change: Extract<Change, { change: 'revoke' }>): Statement {
  return {
    sql: `INSERT INTO revocation (issuer, serial, since, reason, changed_at, not_after, released)
      SELECT issuer, serial, $3, $4, $5, not_after, 0 FROM certificate WHERE issuer = $1 AND serial = $2
      ON CONFLICT (issuer, serial) DO UPDATE SET since = excluded.since, reason = excluded.reason,
        changed_at = excluded.changed_at, released = 0
        WHERE revocation.released = 1 OR (revocation.reason = 'certificateHold' AND excluded.reason <> 'certificateHold')`,
    args: [change.issuer, change.serial, change.since.getTime(), change.reason, change.changedAt.getTime()],
    refusal: refusal(
      'conflict',
      `revoke certificate: expected ${change.serial} of ${change.issuer} to be issued and not revoked, got it otherwise`,
    ),
  };
}

function insertCrl(each: CrlRecord): Statement {
  return {
    sql: `INSERT INTO crl (issuer, number, base, der, this_update, next_update) VALUES ($1, $2, $3, $4, $5, $6)
      ON CONFLICT DO NOTHING`,
    args: [each.issuer, each.number, each.base ?? null, each.der, each.thisUpdate.getTime(), each.nextUpdate.getTime()],
    refusal: refusal('exists', `publish CRL: expected a fresh number of ${each.issuer}, got ${each.number} again`),
  };
}

function put(each: Extract<Change, { change: 'put' }>): Statement {
  const { kind, id, owner, body, expires, version } = each;
  const args = [kind, id, owner, body, expires?.getTime() ?? null];
  const insert =
    'INSERT INTO document (kind, id, owner, body, expires, version) VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT';
  if (version === undefined) {
    const update =
      'owner = excluded.owner, body = excluded.body, expires = excluded.expires, version = document.version + 1';
    return { sql: `${insert} (kind, id) DO UPDATE SET ${update}`, args };
  }
  if (version === 0) {
    return {
      sql: `${insert} DO NOTHING`,
      args,
      refusal: refusal('exists', `put ${kind}: expected a fresh identifier, got ${id} again`),
    };
  }
  return {
    sql: `UPDATE document SET owner = $3, body = $4, expires = $5, version = version + 1
      WHERE kind = $1 AND id = $2 AND version = $6`,
    args: [...args, version],
    refusal: refusal('conflict', `put ${kind}: expected version ${version} of ${id}, got another`),
  };
}

/** The reading statements. */
export const SELECT = {
  certificate: 'SELECT * FROM certificate WHERE issuer = $1 AND serial = $2',
  revocation: 'SELECT * FROM revocation WHERE issuer = $1 AND serial = $2',
  revocations: 'SELECT * FROM revocation WHERE issuer = $1 AND not_after >= $2 AND changed_at >= $3 ORDER BY serial',
  complete: 'SELECT * FROM crl WHERE issuer = $1 AND base IS NULL ORDER BY number DESC LIMIT 1',
  delta: 'SELECT * FROM crl WHERE issuer = $1 AND base IS NOT NULL ORDER BY number DESC LIMIT 1',
  document: 'SELECT * FROM document WHERE kind = $1 AND id = $2',
  documents: 'SELECT * FROM document WHERE kind = $1 AND owner = $2 ORDER BY id LIMIT 1000',
  forget: 'DELETE FROM document WHERE expires IS NOT NULL AND expires < $1',
  auditPage: 'SELECT place, entry FROM audit WHERE place >= $1 ORDER BY place LIMIT 1000',
  auditSize: 'SELECT COALESCE(MAX(place) + 1, 0) AS size FROM audit',
  checkpoint: 'SELECT text FROM checkpoint WHERE one = 1',
  writeCheckpoint: `INSERT INTO checkpoint (one, size, text) VALUES (1, $1, $2)
    ON CONFLICT (one) DO UPDATE SET size = excluded.size, text = excluded.text WHERE checkpoint.size <= excluded.size`,
} as const;

/** The statement of a search for certificates. */
export function selectCertificates(query: CertificateQuery): Statement {
  const conditions: string[] = [];
  const args: SqlValue[] = [];
  const place = (value: SqlValue): string => `$${args.push(value)}`;
  if (query.issuer !== undefined) conditions.push(`issuer = ${place(query.issuer)}`);
  if (query.owner !== undefined) conditions.push(`owner = ${place(query.owner)}`);
  if (query.after !== undefined) {
    conditions.push(`(issuer, serial) > (${place(query.after.issuer)}, ${place(query.after.serial)})`);
  }
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  const limit = place(Math.min(query.limit ?? 1000, 10_000));
  return { sql: `SELECT * FROM certificate ${where} ORDER BY issuer, serial LIMIT ${limit}`, args };
}

/** A certificate from its row. */
export function certificateOf(row: SqlRow): CertificateRecord {
  return {
    issuer: text(row, 'issuer'),
    serial: text(row, 'serial'),
    der: bytes(row, 'der'),
    profile: text(row, 'profile'),
    owner: text(row, 'owner'),
    issuedAt: date(row, 'issued_at'),
    notAfter: date(row, 'not_after'),
  };
}

/** A revocation from its row. */
export function revocationOf(row: SqlRow): RevocationRecord {
  return {
    issuer: text(row, 'issuer'),
    serial: text(row, 'serial'),
    since: date(row, 'since'),
    reason: reason(text(row, 'reason')),
    changedAt: date(row, 'changed_at'),
    notAfter: date(row, 'not_after'),
    released: number(row, 'released') === 1,
  };
}

/** A CRL from its row. */
export function crlOf(row: SqlRow): CrlRecord {
  return {
    issuer: text(row, 'issuer'),
    number: number(row, 'number'),
    ...(row.base === null ? {} : { base: number(row, 'base') }),
    der: bytes(row, 'der'),
    thisUpdate: date(row, 'this_update'),
    nextUpdate: date(row, 'next_update'),
  };
}

/** A document from its row. */
export function documentOf(row: SqlRow): StoredDocument {
  return {
    kind: text(row, 'kind'),
    id: text(row, 'id'),
    owner: text(row, 'owner'),
    version: number(row, 'version'),
    body: text(row, 'body'),
    ...(row.expires === null ? {} : { expires: date(row, 'expires') }),
  };
}

function date(row: SqlRow, column: string): Date {
  return new Date(number(row, column));
}

/** A column of text. */
export function text(row: SqlRow, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw damaged(column);
}

/** A column with a whole number that JavaScript holds exactly. */
export function number(row: SqlRow, column: string): number {
  const value = Number(row[column]);
  if (row[column] !== null && Number.isSafeInteger(value)) return value;
  throw damaged(column);
}

/** A column of bytes. */
export function bytes(row: SqlRow, column: string): Uint8Array {
  const value = row[column];
  // A copy: drivers give views of buffers that they share.
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw damaged(column);
}

function reason(word: string): CrlReason {
  const found = CRL_REASONS.find((each) => each === word);
  if (found !== undefined) return found;
  throw damaged('reason');
}

function damaged(column: string): PkiError {
  return new PkiError('malformed', `read store: expected a sound column ${column}, got another value`);
}
