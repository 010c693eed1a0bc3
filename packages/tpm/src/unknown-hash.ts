/** What every crypto provider says to a hash algorithm that it does not have (Part 2, section 6.3). */
import { TpmError } from './response-code.js';

/** The error for a hash algorithm that is not provided. */
export function unknownHash(algorithm: number): TpmError {
  return new TpmError(
    'usage',
    `hash data: expected SHA1, SHA256, SHA384 or SHA512, got TPM_ALG_ID 0x${algorithm.toString(16)}`,
  );
}
