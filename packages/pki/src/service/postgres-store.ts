/** The store of an authority in PostgreSQL, for a fleet with several service processes. */
import { Pool, type PoolClient, type PoolConfig } from 'pg';
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
import { assertPlace, checkpointSize } from './sqlite-store.js';

/** Options of {@link openPostgresStore}. */
export interface PostgresStoreOptions {
  /** `postgres://user@host:port/database`, or the settings that `pg` takes (host may be the directory of a Unix socket). */
  readonly connection: string | Omit<PoolConfig, 'max'>;
  /** The schema that holds the tables; it is made where it is missing. `casemate_pki` without it. */
  readonly schema?: string;
  /** The most connections; 8 without it. */
  readonly connections?: number;
}

/** Taken by every transaction that appends to the audit log, so that entries stand in the order in which they became durable. */
const AUDIT_LOCK = 0x63_73_70_6b;
/** How often a transaction that PostgreSQL broke off is tried again. */
const MAX_RETRIES = 10;

/**
 * Opens the store and makes its tables where they are missing. Any number of processes may have it open.
 * Throws {@link PkiError} `bad-input` for the name of a schema that is none, `unsupported` for tables of a later version, and what
 * `pg` throws.
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<AuthorityStore> {
  const name = options.schema ?? 'casemate_pki';
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) {
    throw new PkiError(
      'bad-input',
      `open store: expected a schema name of lower-case letters and digits, got "${name}"`,
    );
  }
  const config = typeof options.connection === 'string' ? { connectionString: options.connection } : options.connection;
  const pool = new Pool({ ...config, max: options.connections ?? 8, options: `-c search_path=${name}` });
  // A connection that breaks while it rests is replaced; one that is in use reports its error to who uses it.
  pool.on('error', () => undefined);
  try {
    await transaction(pool, (client) => prepare(client, name));
  } catch (error) {
    await pool.end();
    throw error;
  }
  return storeOn(pool);
}

async function prepare(client: PoolClient, name: string): Promise<void> {
  // Two processes that start together must not make the tables at once.
  await client.query('SELECT pg_advisory_xact_lock($1)', [AUDIT_LOCK]);
  await client.query(`CREATE SCHEMA IF NOT EXISTS ${name}`);
  await client.query('CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)');
  const { rows } = await client.query<SqlRow>('SELECT version FROM schema_version');
  const version = rows[0] === undefined ? 0 : number(rows[0], 'version');
  if (version > SCHEMA_VERSION) {
    throw new PkiError('unsupported', `open store: expected tables of version ${SCHEMA_VERSION}, got ${version}`);
  }
  if (version === SCHEMA_VERSION) return;
  for (const sql of schema('BYTEA', 'BIGINT', '')) await client.query(sql);
  await client.query('INSERT INTO schema_version (version) VALUES ($1)', [SCHEMA_VERSION]);
}

async function transaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const client = await pool.connect();
    let broken: Error | undefined;
    try {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      if (error instanceof Error) broken = await rollback(client, error);
      if (attempt === MAX_RETRIES || !isRetryable(error)) throw error;
    } finally {
      client.release(broken);
    }
  }
}

/** Undefined where the connection can be used again. */
async function rollback(client: PoolClient, error: Error): Promise<Error | undefined> {
  try {
    await client.query('ROLLBACK');
    return undefined;
  } catch {
    return error;
  }
}

/** A deadlock, or two transactions that cannot both have happened: nothing of it was done. */
function isRetryable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40P01' || error.code === '40001');
}

function storeOn(pool: Pool): AuthorityStore {
  const all = async (sql: string, args: readonly SqlValue[]): Promise<readonly SqlRow[]> =>
    (await pool.query<SqlRow>(sql, values(args))).rows;
  const first = async <T>(sql: string, args: readonly SqlValue[], read: (row: SqlRow) => T): Promise<T | undefined> => {
    const [row] = await all(sql, args);
    return row === undefined ? undefined : read(row);
  };
  const queue = commitQueue((batch) => transaction(pool, (client) => writeBatch(client, batch)));
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= queue.idle().then(() => pool.end());
    return closing;
  };
  return {
    commit: (changes) => queue.commit(changes),
    certificate: (...key) => first(SELECT.certificate, key, certificateOf),
    async certificates(query) {
      const { sql, args } = selectCertificates(query);
      return (await all(sql, args)).map(certificateOf);
    },
    revocation: (...key) => first(SELECT.revocation, key, revocationOf),
    revocations: async (issuer, { endsAfter, changedSince } = {}) => {
      const args = [issuer, endsAfter?.getTime() ?? 0, changedSince?.getTime() ?? 0];
      return (await all(SELECT.revocations, args)).map(revocationOf);
    },
    newestCrl: (issuer, kind) => first(SELECT[kind], [issuer], crlOf),
    document: (...key) => first(SELECT.document, key, documentOf),
    documents: async (kind, owner) => (await all(SELECT.documents, [kind, owner])).map(documentOf),
    take: (kind, id) => takeDocument(() => first(SELECT.document, [kind, id], documentOf), queue),
    forget: async (now) => (await pool.query(SELECT.forget, [now.getTime()])).rowCount ?? 0,
    audit: {
      async *read(from) {
        for (let place = from; ; ) {
          const rows = await all(SELECT.auditPage, [place]);
          for (const row of rows) yield bytes(row, 'entry');
          if (rows.length < 1000) return;
          place += rows.length;
        }
      },
      append: (index, entries) =>
        transaction(pool, async (client) => {
          await client.query('SELECT pg_advisory_xact_lock($1)', [AUDIT_LOCK]);
          const { rows } = await client.query<SqlRow>(SELECT.auditSize);
          assertPlace(number(rows[0] ?? {}, 'size'), index);
          const changes = entries.map((entry) => ({ change: 'audit', entry }) as const);
          for (const { sql, args } of changes.flatMap(statementsOf)) await client.query(sql, values(args));
        }),
      readCheckpoint: () => first(SELECT.checkpoint, [], (row) => text(row, 'text')),
      async writeCheckpoint(signed) {
        await pool.query(SELECT.writeCheckpoint, [checkpointSize(signed), signed]);
      },
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** `pg` writes a Uint8Array that is no Buffer as JSON. */
function values(args: readonly SqlValue[]): unknown[] {
  return args.map((each) =>
    each instanceof Uint8Array ? Buffer.from(each.buffer, each.byteOffset, each.length) : each,
  );
}

async function writeBatch(client: PoolClient, batch: readonly (readonly Change[])[]): Promise<readonly unknown[]> {
  // First of all, so that two processes never wait for each other.
  if (batch.some((changes) => changes.some(({ change }) => change === 'audit'))) {
    await client.query('SELECT pg_advisory_xact_lock($1)', [AUDIT_LOCK]);
  }
  const errors: unknown[] = [];
  for (const changes of batch) errors.push(await writeOne(client, changes));
  return errors;
}

async function writeOne(client: PoolClient, changes: readonly Change[]): Promise<unknown> {
  await client.query('SAVEPOINT one');
  for (const { sql, args, refusal } of changes.flatMap(statementsOf)) {
    const { rowCount } = await client.query(sql, values(args));
    if (rowCount !== 0 || refusal === undefined) continue;
    await client.query('ROLLBACK TO SAVEPOINT one');
    return new PkiError(refusal.code, refusal.message);
  }
  await client.query('RELEASE SAVEPOINT one');
  return undefined;
}
