/** The stores: directories that hold a hierarchy and what it issued. */

export { openAuditFile, readAuditFile } from './audit-file.js';
export { legacyCiphers } from './legacy-ciphers.js';
export { openStore, type PkiStore, type StoreOptions } from './store.js';
export { type OpenedKey, type OpenKeyOptions, openKey, type SecretRequest } from './key-uri.js';
