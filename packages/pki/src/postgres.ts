/** `@casemate/pki/postgres`: the store of an authority in PostgreSQL, shared by several service processes. */
export { openPostgresStore, type PostgresStoreOptions } from './service/postgres-store.js';
