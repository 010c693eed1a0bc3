/** Certificate authorities, requests, path validation, signed documents and TPM enrolment. */
export type { HashName, RsaBits, SignatureAlgorithm } from './algorithm.js';
export { PkiError, type PkiErrorCode } from './error.js';
export { generateKey, importKey, type Signer, type SoftwareKey } from './key.js';
export { decodePem, encodePem, type PemBlock, parsePem } from './pem.js';
