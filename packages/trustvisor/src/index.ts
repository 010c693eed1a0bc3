/** Registers, measures, isolates and runs PALs. */
export { type PalFault, TrustvisorError, type TrustvisorErrorCode } from './error.js';
export type { PalValue } from './marshal.js';
export type {
  InvokeOptions,
  InvokeResult,
  InvokeWithResult,
  LastRequest,
  PalQuote,
  TrustvisorOptions,
} from './options.js';
export type { Lending, SharedMemory } from './shared-memory.js';
export { type BlobStore, directoryStore, memoryStore } from './store.js';
export { openTrustvisor, type Pal, type Trustvisor } from './trustvisor.js';
