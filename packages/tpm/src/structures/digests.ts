/** Digests, names and other byte strings. TPM 2.0 Part 2, clauses 10.1 to 10.5. */
import { bytes, empty, type Infer, sizedBytes, struct, u16, union } from '@casemate/wire';
import { TPM_ALG } from '../constants/algorithms.js';
import { TpmiAlgHash, TpmiAlgHashOrNull } from './algorithms.js';
import { TpmaAlgorithm } from './attributes.js';
import { TpmAlgId } from './constants.js';
import { LIMITS } from './limits.js';

/** No bytes at all. TPM 2.0 Part 2, table 77. */
export const TpmsEmpty = { ...empty, name: 'TPMS_EMPTY' };
/** The value type of {@link TpmsEmpty}. */
export type TpmsEmpty = Infer<typeof TpmsEmpty>;

/** An algorithm and what it is good for. TPM 2.0 Part 2, table 78. */
export const TpmsAlgorithmDescription = struct('TPMS_ALGORITHM_DESCRIPTION', {
  alg: TpmAlgId,
  attributes: TpmaAlgorithm,
});
/** The value type of {@link TpmsAlgorithmDescription}. */
export type TpmsAlgorithmDescription = Infer<typeof TpmsAlgorithmDescription>;

const digestOf = {
  [TPM_ALG.SHA1]: bytes('TPMU_HA', 20),
  [TPM_ALG.SHA256]: bytes('TPMU_HA', 32),
  [TPM_ALG.SHA384]: bytes('TPMU_HA', 48),
  [TPM_ALG.SHA512]: bytes('TPMU_HA', 64),
  [TPM_ALG.SM3_256]: bytes('TPMU_HA', 32),
  [TPM_ALG.SHA3_256]: bytes('TPMU_HA', 32),
  [TPM_ALG.SHA3_384]: bytes('TPMU_HA', 48),
  [TPM_ALG.SHA3_512]: bytes('TPMU_HA', 64),
} as const;

/** A digest of exactly the size of its hash algorithm; none for TPM_ALG_NULL. TPM 2.0 Part 2, table 79. */
export const TpmuHa = { ...digestOf, [TPM_ALG.NULL]: empty } as const;

/** A digest with its hash algorithm. TPM 2.0 Part 2, table 80. */
export const TpmtHa = struct('TPMT_HA', { hashAlg: TpmiAlgHash, digest: union('hashAlg', digestOf) });
/** The value type of {@link TpmtHa}. */
export type TpmtHa = Infer<typeof TpmtHa>;

/** A digest with its hash algorithm, or nothing with TPM_ALG_NULL. TPM 2.0 Part 2, table 80. */
export const TpmtHaOrNull = struct('TPMT_HA+', { hashAlg: TpmiAlgHashOrNull, digest: union('hashAlg', TpmuHa) });
/** The value type of {@link TpmtHaOrNull}. */
export type TpmtHaOrNull = Infer<typeof TpmtHaOrNull>;

/** A digest or nothing, at most 64 bytes. TPM 2.0 Part 2, table 81. */
export const Tpm2bDigest = sizedBytes('TPM2B_DIGEST', u16, { max: LIMITS.MAX_DIGEST_BYTES });
/** The value type of {@link Tpm2bDigest}. */
export type Tpm2bDigest = Infer<typeof Tpm2bDigest>;

/** Data no longer than an encoded `TPMT_HA`, 66 bytes. TPM 2.0 Part 2, table 82. */
export const Tpm2bData = sizedBytes('TPM2B_DATA', u16, { max: 2 + LIMITS.MAX_DIGEST_BYTES });
/** The value type of {@link Tpm2bData}. */
export type Tpm2bData = Infer<typeof Tpm2bData>;

/** A nonce, at most 64 bytes. TPM 2.0 Part 2, table 83. */
export const Tpm2bNonce = sizedBytes('TPM2B_NONCE', u16, { max: LIMITS.MAX_DIGEST_BYTES });
/** The value type of {@link Tpm2bNonce}. */
export type Tpm2bNonce = Infer<typeof Tpm2bNonce>;

/** An authorisation value or HMAC, at most 64 bytes. TPM 2.0 Part 2, table 84. */
export const Tpm2bAuth = sizedBytes('TPM2B_AUTH', u16, { max: LIMITS.MAX_DIGEST_BYTES });
/** The value type of {@link Tpm2bAuth}. */
export type Tpm2bAuth = Infer<typeof Tpm2bAuth>;

/** What NV contents or a timer are compared with, at most 64 bytes. TPM 2.0 Part 2, table 85. */
export const Tpm2bOperand = sizedBytes('TPM2B_OPERAND', u16, { max: LIMITS.MAX_DIGEST_BYTES });
/** The value type of {@link Tpm2bOperand}. */
export type Tpm2bOperand = Infer<typeof Tpm2bOperand>;

/** Event data, at most 1024 bytes. TPM 2.0 Part 2, table 86. */
export const Tpm2bEvent = sizedBytes('TPM2B_EVENT', u16, { max: LIMITS.MAX_EVENT_BYTES });
/** The value type of {@link Tpm2bEvent}. */
export type Tpm2bEvent = Infer<typeof Tpm2bEvent>;

/** Data to hash, encrypt and the like. TPM 2.0 Part 2, table 87. */
export const Tpm2bMaxBuffer = sizedBytes('TPM2B_MAX_BUFFER', u16, { max: LIMITS.MAX_DIGEST_BUFFER });
/** The value type of {@link Tpm2bMaxBuffer}. */
export type Tpm2bMaxBuffer = Infer<typeof Tpm2bMaxBuffer>;

/** Data read from or written to an NV index. TPM 2.0 Part 2, table 88. */
export const Tpm2bMaxNvBuffer = sizedBytes('TPM2B_MAX_NV_BUFFER', u16, { max: LIMITS.MAX_NV_BUFFER_SIZE });
/** The value type of {@link Tpm2bMaxNvBuffer}. */
export type Tpm2bMaxNvBuffer = Infer<typeof Tpm2bMaxNvBuffer>;

/** When an authorisation expires, in a form that only its TPM reads; at most 8 bytes. TPM 2.0 Part 2, table 89. */
export const Tpm2bTimeout = sizedBytes('TPM2B_TIMEOUT', u16, { max: 8 });
/** The value type of {@link Tpm2bTimeout}. */
export type Tpm2bTimeout = Infer<typeof Tpm2bTimeout>;

/** An initialisation vector, at most 16 bytes. TPM 2.0 Part 2, table 90. */
export const Tpm2bIv = sizedBytes('TPM2B_IV', u16, { max: LIMITS.MAX_SYM_BLOCK_SIZE });
/** The value type of {@link Tpm2bIv}. */
export type Tpm2bIv = Infer<typeof Tpm2bIv>;

/** A name: a hash algorithm and digest, a handle, or nothing; at most 66 bytes. TPM 2.0 Part 2, tables 91 and 92. */
export const Tpm2bName = sizedBytes('TPM2B_NAME', u16, { max: 2 + LIMITS.MAX_DIGEST_BYTES });
/** The value type of {@link Tpm2bName}. */
export type Tpm2bName = Infer<typeof Tpm2bName>;
