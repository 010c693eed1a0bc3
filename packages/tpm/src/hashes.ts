/** The hash algorithms that are provided, by TPM algorithm identifier (Part 2, section 6.3). */
import { TPM_ALG } from './constants/algorithms.js';
import { unknownHash } from './unknown-hash.js';

const SIZES: Readonly<Record<number, number>> = {
  [TPM_ALG.SHA1]: 20,
  [TPM_ALG.SHA256]: 32,
  [TPM_ALG.SHA384]: 48,
  [TPM_ALG.SHA512]: 64,
};

/** Digest size in bytes of a TPM hash algorithm. Throws `TpmError` `usage` for an unknown one. */
export function hashSize(algorithm: number): number {
  const size = SIZES[algorithm];
  if (size === undefined) throw unknownHash(algorithm);
  return size;
}
