/** The store of an authority in SQLite: a write-ahead log that is flushed to the disk before a commit is answered. */
import { open } from 'node:fs/promises';
import Database from 'libsql';
import { PkiError } from '../error.js';
import type { AuthorityStore, Change } from './authority-store.js';
import { commitQueue, takeDocument } from './commit-queue.js';
import {
  bytes,
  certificateOf,
  crlOf,
  documentOf,
  number,
  revocationOf,
  SCHEMA_VERSION,
  SELECT,
  type SqlRow,
  type SqlValue,
  schema,
  selectCertificates,
  statementsOf,
  text,
} from './sql.js';

/** Options of {@link openSqliteStore}. */
export interface SqliteStoreOptions {
  /** Milliseconds to wait for another process that writes; 10,000 without it. */
  readonly busyTimeout?: number;
}

type Sqlite = InstanceType<typeof Database>;
type SqliteStatement = ReturnType<Sqlite['prepare']>;

/** "cspk" in the file's header: a file of another program is refused. */
const APPLICATION_ID = 0x63_73_70_6b;

/**
 * Opens the store in the file `path`, which is made where it is missing (its directory must be there). Other processes may have it
 * open as well; they write in turn.
 * Throws {@link PkiError} `malformed` for a file of another program, `unsupported` for tables of a later version.
 */
export async function openSqliteStore(path: string, options: SqliteStoreOptions = {}): Promise<AuthorityStore> {
  // A fresh file is its owner's alone, and SQLite gives its log the same mode; one that is there keeps the mode that it has.
  if (path !== ':memory:') await (await open(path, 'a', 0o600)).close();
  const database = new Database(path);
  try {
    prepare(database, path, options.busyTimeout ?? 10_000);
  } catch (error) {
    database.close();
    throw isNoDatabase(error) ? otherFile(path, error) : error;
  }
  return storeOn(database);
}

function prepare(database: Sqlite, path: string, timeout: number): void {
  database.exec(`PRAGMA busy_timeout = ${Math.trunc(timeout)}`);
  const owner = pragma(database, 'application_id');
  const version = pragma(database, 'user_version');
  const isFresh = owner === 0 && version === 0 && tableCount(database) === 0;
  if (!isFresh && owner !== APPLICATION_ID) {
    throw otherFile(path);
  }
  if (version > SCHEMA_VERSION) {
    throw new PkiError('unsupported', `open store: expected tables of version ${SCHEMA_VERSION}, got ${version}`);
  }
  // In WAL mode a reader never waits; FULL flushes the log with every commit, so that an answer survives a loss of power.
  database.exec('PRAGMA journal_mode = WAL');
  database.exec('PRAGMA synchronous = FULL');
  if (version === SCHEMA_VERSION) return;
  database.exec('BEGIN IMMEDIATE');
  for (const sql of schema('BLOB', 'INTEGER', ' STRICT')) database.exec(sql);
  database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  database.exec('COMMIT');
}

function isNoDatabase(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'SQLITE_NOTADB';
}

function otherFile(path: string, cause?: unknown): PkiError {
  return new PkiError(
    'malformed',
    `open store: expected a store of this package in ${path}, got another program's file`,
    cause,
  );
}

function pragma(database: Sqlite, name: string): number {
  return number(asRow(database.prepare(`PRAGMA ${name}`).get()), name);
}

function tableCount(database: Sqlite): number {
  return number(asRow(database.prepare('SELECT COUNT(*) AS count FROM sqlite_master').get()), 'count');
}

function asRow(value: unknown): SqlRow {
  if (typeof value === 'object' && value !== null) return value as SqlRow;
  throw new PkiError('malformed', 'read store: expected a row, got none');
}

function storeOn(database: Sqlite): AuthorityStore {
  const prepared = new Map<string, SqliteStatement>();
  const statement = (sql: string): SqliteStatement => {
    const known = prepared.get(sql) ?? database.prepare(sql.replace(/\$(\d+)/g, '?$1'));
    prepared.set(sql, known);
    return known;
  };
  const run = (sql: string, args: readonly SqlValue[]): number => statement(sql).run([...args]).changes;
  const all = (sql: string, args: readonly SqlValue[]): readonly SqlRow[] =>
    statement(sql)
      .all([...args])
      .map(asRow);
  const first = (sql: string, args: readonly SqlValue[]): SqlRow | undefined => all(sql, args)[0];
  const queue = commitQueue((batch) => writeBatch(database, run, batch));
  let isOpen = true;
  const close = async (): Promise<void> => {
    await queue.idle();
    if (isOpen) database.close();
    isOpen = false;
  };
  const found = <T>(row: SqlRow | undefined, read: (row: SqlRow) => T): T | undefined =>
    row === undefined ? undefined : read(row);
  return {
    commit: (changes) => queue.commit(changes),
    certificate: async (...key) => found(first(SELECT.certificate, key), certificateOf),
    async certificates(query) {
      const { sql, args } = selectCertificates(query);
      return all(sql, args).map(certificateOf);
    },
    revocation: async (...key) => found(first(SELECT.revocation, key), revocationOf),
    revocations: async (issuer, { endsAfter, changedSince } = {}) =>
      all(SELECT.revocations, [issuer, endsAfter?.getTime() ?? 0, changedSince?.getTime() ?? 0]).map(revocationOf),
    newestCrl: async (issuer, kind) => found(first(SELECT[kind], [issuer]), crlOf),
    document: async (...key) => found(first(SELECT.document, key), documentOf),
    documents: async (kind, owner) => all(SELECT.documents, [kind, owner]).map(documentOf),
    take: (kind, id) => takeDocument(async () => found(first(SELECT.document, [kind, id]), documentOf), queue),
    forget: async (now) => run(SELECT.forget, [now.getTime()]),
    audit: {
      async *read(from) {
        for (let place = from; ; ) {
          const rows = all(SELECT.auditPage, [place]);
          for (const row of rows) yield bytes(row, 'entry');
          if (rows.length < 1000) return;
          place += rows.length;
        }
      },
      async append(index, entries) {
        await queue.idle();
        database.exec('BEGIN IMMEDIATE');
        try {
          assertPlace(number(asRow(first(SELECT.auditSize, [])), 'size'), index);
          for (const entry of entries)
            for (const each of statementsOf({ change: 'audit', entry })) run(each.sql, each.args);
          database.exec('COMMIT');
        } catch (error) {
          database.exec('ROLLBACK');
          throw error;
        }
      },
      readCheckpoint: async () => found(first(SELECT.checkpoint, []), (row) => text(row, 'text')),
      async writeCheckpoint(signed) {
        run(SELECT.writeCheckpoint, [checkpointSize(signed), signed]);
      },
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** One transaction for all, one savepoint for each. */
function writeBatch(
  database: Sqlite,
  run: (sql: string, args: readonly SqlValue[]) => number,
  batch: readonly (readonly Change[])[],
): readonly unknown[] {
  database.exec('BEGIN IMMEDIATE');
  try {
    const errors = batch.map((changes) => writeOne(database, run, changes));
    database.exec('COMMIT');
    return errors;
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function writeOne(
  database: Sqlite,
  run: (sql: string, args: readonly SqlValue[]) => number,
  changes: readonly Change[],
): unknown {
  database.exec('SAVEPOINT one');
  try {
    for (const { sql, args, refusal } of changes.flatMap(statementsOf)) {
      if (run(sql, args) === 0 && refusal !== undefined) throw new PkiError(refusal.code, refusal.message);
    }
    database.exec('RELEASE one');
    return undefined;
  } catch (error) {
    // The disk is full or the file is damaged: then nothing of the batch counts.
    if (!(error instanceof PkiError)) throw error;
    database.exec('ROLLBACK TO one');
    database.exec('RELEASE one');
    return error;
  }
}

/** Throws {@link PkiError} `exists` where the log has grown meanwhile. */
export function assertPlace(size: number, index: number): void {
  if (size === index) return;
  throw new PkiError('exists', `append to audit log: expected place ${size}, got ${index}`);
}

/** The number of entries that a checkpoint is over: its second line (C2SP tlog-checkpoint). */
export function checkpointSize(signed: string): number {
  const size = Number(signed.split('\n')[1]);
  if (Number.isSafeInteger(size) && size >= 0) return size;
  throw new PkiError('malformed', 'write checkpoint: expected its size on the second line, got another');
}
