/** `@casemate/pki/sqlite`: the store of an authority in one SQLite file, durable with every answer. */
export { openSqliteStore, type SqliteStoreOptions } from './service/sqlite-store.js';
