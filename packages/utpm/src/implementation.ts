/** What this TPM has and how much of it: the implementation-dependent values of Part 2, annex A, and Part 1, 37. */
import { hashSize, TPM_ALG } from '@casemate/tpm';
import { EMPTY } from './bytes.js';
import type { UtpmCrypto } from './crypto.js';
import type { Digester } from './rsa.js';

/** Sizes and counts, the same as swtpm 0.7.1 reports. */
export const IMPLEMENTATION = {
  /** Transient objects at one time. */
  MAX_LOADED_OBJECTS: 3,
  /** Sessions loaded at one time. */
  MAX_LOADED_SESSIONS: 3,
  /** Sessions loaded or saved at one time. */
  MAX_ACTIVE_SESSIONS: 64,
  /** Persistent objects that always fit. */
  MIN_EVICT_OBJECTS: 7,
  /** Persistent objects at most. */
  MAX_EVICT_OBJECTS: 65,
  /** NV indexes at most. */
  MAX_NV_INDEXES: 512,
  /** Bytes of one NV index. */
  MAX_NV_INDEX_SIZE: 2048,
  /** Bytes of all NV indexes together. */
  MAX_NV_BYTES: 176 * 1024,
  /** Bytes of one NV read or write, of a hashed or random-stirring buffer. */
  MAX_BUFFER: 1024,
  /** Bytes of sealed data. */
  MAX_SYM_DATA: 128,
  /** Bytes of a wrapped sensitive area (TPM2B_PRIVATE). */
  MAX_PRIVATE: 1230,
  /** Bytes of a command or response. */
  MAX_COMMAND_SIZE: 4096,
  /** Bytes of a saved context of an object; ours are shorter. */
  MAX_OBJECT_CONTEXT: 0xa84,
  /** The longest digest. */
  MAX_DIGEST: 64,
  /** Steps of a counter of an orderly NV index between two writes of it. */
  MAX_ORDERLY_COUNT: 255,
  /** Milliseconds between two writes of the clock. */
  CLOCK_UPDATE: 4096n,
  /** The hash of tickets, saved contexts and everything else that only this TPM reads. */
  CONTEXT_HASH: TPM_ALG.SHA512,
  /** Bytes of primary seeds and proofs. */
  SEED_SIZE: 64,
} as const;

/** The hash algorithms, strongest last; also the PCR banks. */
export const HASHES: readonly number[] = [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512];

/** Has the TPM this hash algorithm? */
export function isHash(alg: number): boolean {
  return HASHES.includes(alg);
}

/** The length of a digest of `alg`, and 0 for TPM_ALG_NULL and what the TPM does not have. */
export function digestSize(alg: number): number {
  return isHash(alg) ? hashSize(alg) : 0;
}

/** An all-zero digest of `alg`. */
export function zeroDigest(alg: number): Uint8Array {
  return isHash(alg) ? new Uint8Array(hashSize(alg)) : EMPTY;
}

/** The hash of `alg` with its length, as the RSA paddings take it. */
export function digesterOf(crypto: UtpmCrypto, alg: number): Digester {
  return { length: digestSize(alg), hash: (...parts) => crypto.hash(alg, ...parts) };
}

/** Key sizes of RSA in bits. */
export const RSA_BITS: readonly number[] = [1024, 2048, 3072];
