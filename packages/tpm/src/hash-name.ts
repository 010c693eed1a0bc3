/** The hash algorithms that are provided, by their names (Part 2, section 6.3). */
import { TPM_ALG } from './constants/algorithms.js';
import { unknownHash } from './unknown-hash.js';

/** The name of a TPM hash algorithm, which OpenSSL gives it too. Throws `TpmError` `usage` for an unknown one. */
export function hashName(algorithm: number): 'sha1' | 'sha256' | 'sha384' | 'sha512' {
  switch (algorithm) {
    case TPM_ALG.SHA1:
      return 'sha1';
    case TPM_ALG.SHA256:
      return 'sha256';
    case TPM_ALG.SHA384:
      return 'sha384';
    case TPM_ALG.SHA512:
      return 'sha512';
    default:
      throw unknownHash(algorithm);
  }
}
