/** What the build of `@casemate/tpm` for Node takes as default, in a bundle of the sources: OpenSSL, with @noble beside it. */
export { nobleCrypto, nobleCrypto as nobleHashes } from '../../tpm/src/noble-crypto.js';
export { nodeCrypto as defaultCrypto, nodeCrypto as defaultHashes } from '../../tpm/src/node-crypto.js';
