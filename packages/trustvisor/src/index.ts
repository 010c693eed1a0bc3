/** Registers, measures, isolates and runs PALs. */
export { type PalFault, TrustvisorError, type TrustvisorErrorCode } from './error.js';
export type { InvokeOptions, InvokeResult, LastRequest, PalQuote, TrustvisorOptions } from './options.js';
export { type BlobStore, directoryStore, memoryStore } from './store.js';
export { openTrustvisor, type Pal, type Trustvisor } from './trustvisor.js';
