/** The hash algorithms that a PCR bank may use. TCG Algorithm Registry 1.34, table 3 (TPM_ALG_ID). */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { sha3_256, sha3_384, sha3_512 } from '@noble/hashes/sha3.js';

/** The name of a PCR bank: its hash algorithm in lower case, as tpm2-tools writes it. */
export type BankName = 'sha1' | 'sha256' | 'sha384' | 'sha512' | 'sha3_256' | 'sha3_384' | 'sha3_512';

/** A hash algorithm of a PCR bank. */
export interface BankAlgorithm {
  /** Name of the bank. */
  readonly name: BankName;
  /** TPM_ALG_ID. */
  readonly id: number;
  /** Digest length in bytes. */
  readonly size: number;
  /** Hashes the concatenation of its arguments. */
  hash(...parts: readonly Uint8Array[]): Uint8Array;
}

type NobleHash = {
  (message: Uint8Array): Uint8Array;
  create(): { update(b: Uint8Array): unknown; digest(): Uint8Array };
};

function algorithm(name: BankName, id: number, size: number, noble: NobleHash): BankAlgorithm {
  return {
    name,
    id,
    size,
    hash(...parts) {
      const state = noble.create();
      for (const part of parts) state.update(part);
      return state.digest();
    },
  };
}

/** Every bank whose hash this package can compute. SM3_256 is not among them. */
export const BANK_ALGORITHMS: readonly BankAlgorithm[] = [
  algorithm('sha1', 0x0004, 20, sha1),
  algorithm('sha256', 0x000b, 32, sha256),
  algorithm('sha384', 0x000c, 48, sha384),
  algorithm('sha512', 0x000d, 64, sha512),
  algorithm('sha3_256', 0x0027, 32, sha3_256),
  algorithm('sha3_384', 0x0028, 48, sha3_384),
  algorithm('sha3_512', 0x0029, 64, sha3_512),
];

const BY_ID = new Map(BANK_ALGORITHMS.map((entry) => [entry.id, entry]));
const BY_NAME = new Map<string, BankAlgorithm>(BANK_ALGORITHMS.map((entry) => [entry.name, entry]));

/** The algorithm with TPM_ALG_ID `id`, or `undefined` where this package cannot compute it. */
export function bankById(id: number): BankAlgorithm | undefined {
  return BY_ID.get(id);
}

/** The algorithm of the bank called `name`, or `undefined` where there is none. */
export function bankByName(name: string): BankAlgorithm | undefined {
  return BY_NAME.get(name);
}
