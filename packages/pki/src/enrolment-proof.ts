/** The proof that a device read the secret of a challenge: an HMAC over the challenge and the request that it answers. */
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat } from './bytes.js';

const LABEL = new TextEncoder().encode('casemate enrolment answer 1');

/** HMAC-SHA-256 under the secret of label, challenge identifier and digest of the request's bytes. */
export function enrolmentProof(secret: Uint8Array, id: Uint8Array, request: Uint8Array): Uint8Array {
  return hmac(sha256, secret, concat(LABEL, id, sha256(request)));
}
