/** What Node's cryptography does for signed images: keys from PEM, and a verifier. */
export { nodeVerifier, openSigningKey, type SigningKeyOptions, spkiOf } from './node-signature.js';
