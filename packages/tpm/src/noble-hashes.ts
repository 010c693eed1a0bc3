/** SHA-1 and SHA-2 by TPM algorithm identifier, from @noble/hashes (Part 2, section 6.3). */
import { hmac as nobleHmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { TPM_ALG } from './constants/algorithms.js';
import type { TpmHashes } from './crypto.js';
import { unknownHash } from './unknown-hash.js';

/** SHA-1, SHA-256, SHA-384 and SHA-512 from @noble/hashes; the default where only hashes are needed. */
export const nobleHashes: TpmHashes = {
  hash(algorithm, ...parts) {
    const hasher = implementation(algorithm).create();
    for (const part of parts) hasher.update(part);
    return hasher.digest();
  },
  hmac(algorithm, key, ...parts) {
    const hasher = nobleHmac.create(implementation(algorithm), key);
    for (const part of parts) hasher.update(part);
    return hasher.digest();
  },
};

function implementation(algorithm: number): typeof sha256 | typeof sha1 {
  switch (algorithm) {
    case TPM_ALG.SHA1:
      return sha1;
    case TPM_ALG.SHA256:
      return sha256;
    case TPM_ALG.SHA384:
      return sha384;
    case TPM_ALG.SHA512:
      return sha512;
    default:
      throw unknownHash(algorithm);
  }
}
