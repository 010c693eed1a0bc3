/** What needs Node: the state in a directory, and the provider on node:crypto. */
export { directoryState } from './directory.js';
export { nodeUtpmCrypto } from './node-crypto.js';
