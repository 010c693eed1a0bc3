/** A TPM on sockets: swtpm's data and control channels, and the protocol of the reference simulator. */
export type { ListenAddress } from './server/listen.js';
export type { ServerProtocol } from './server/protocols.js';
export { type ServeOptions, serve, type UtpmServer } from './server/serve.js';
export type { BlobKeys } from './server/state-blob.js';
export { encryptedState, type StateKey, stateKey } from './server/state-key.js';
