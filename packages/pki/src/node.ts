/** The stores: directories that hold a hierarchy and what it issued. */

export { openAuditFile, readAuditFile } from './audit-file.js';
export {
  type CeremonyRequests,
  type CeremonyResponse,
  type CeremonyResult,
  finishCeremony,
  prepareCeremony,
  type SigningOptions,
  signCeremony,
  verifyCeremony,
} from './ceremony.js';
export { type OpenedKey, type OpenKeyOptions, openKey, type SecretRequest } from './key-uri.js';
export { legacyCiphers } from './legacy-ciphers.js';
export { type GenerationOptions, openStore, type PkiStore, type StoreOptions } from './store.js';
