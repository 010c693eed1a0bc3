/** A TPM on sockets: swtpm's data and control channels, and the protocol of the reference simulator. */
export { type ListenAddress, type ServeOptions, type ServerProtocol, serve, type UtpmServer } from './server/serve.js';
