/** What needs Node: the state in a directory, and the provider on node:crypto. */
export { type DirectoryStateOptions, type Durability, directoryState } from './directory.js';
export { nodeUtpmCrypto } from './node-crypto.js';
