/** Registers, measures, isolates and runs PALs. */
export {
  type PalCertificate,
  type PalCertificateClaims,
  parseIdentityEvent,
  verifyPalCertificate,
} from './certificate.js';
export { type PalFault, TrustvisorError, type TrustvisorErrorCode } from './error.js';
export type { PalValue } from './marshal.js';
export type {
  InvokeOptions,
  InvokeResult,
  InvokeWithResult,
  LastRequest,
  PalQuote,
  RegisterOptions,
  TrustvisorOptions,
} from './options.js';
export type { Lending, SharedMemory } from './shared-memory.js';
export { type BlobStore, directoryStore, memoryStore } from './store.js';
export { openTrustvisor, type Pal, type Trustvisor } from './trustvisor.js';
