/**
 * The largest sizes and counts that this package accepts, where the specification leaves them to the implementation.
 */

/**
 * Bounds in bytes (`…_BYTES`, `…_BUFFER`, `…_SIZE`) and in elements (the rest). They are not below what any known TPM has, so a TPM's own
 * limits are usually tighter; they keep a hostile length from costing memory. Names as in TPM 2.0 Part 2 where it has one.
 */
export const LIMITS = {
  /** The longest command and response. */
  MAX_COMMAND_SIZE: 4096,
  /** The longest digest, that of SHA-512. */
  MAX_DIGEST_BYTES: 64,
  /** Data of `TPM2B_EVENT`. */
  MAX_EVENT_BYTES: 1024,
  /** Data of `TPM2B_MAX_BUFFER`. */
  MAX_DIGEST_BUFFER: 4096,
  /** Data of `TPM2B_MAX_NV_BUFFER`. */
  MAX_NV_BUFFER_SIZE: 4096,
  /** Block of a symmetric cipher. */
  MAX_SYM_BLOCK_SIZE: 16,
  /** Key of a symmetric cipher. */
  MAX_SYM_KEY_BYTES: 32,
  /** Data sealed in an object; the specification fixes it. */
  MAX_SYM_DATA: 128,
  /** Label and context of a derived key. */
  LABEL_MAX_BUFFER: 32,
  /** Modulus of a 4096-bit RSA key. */
  MAX_RSA_KEY_BYTES: 512,
  /** Private part of an RSA key: a prime, or the five numbers of the Chinese remainder form. */
  RSA_PRIVATE_SIZE: 1280,
  /** Coordinate on the largest assigned curve, BN_P638. */
  MAX_ECC_KEY_BYTES: 80,
  /** Encoded public area, with room to spare. */
  MAX_TEMPLATE_BYTES: 1024,
  /** Wrapped sensitive area; its form is the vendor's own. */
  MAX_PRIVATE_BYTES: 2048,
  /** Encoded attestation. */
  MAX_ATTEST_BYTES: 4608,
  /** Encrypted part of a saved context. */
  MAX_CONTEXT_SIZE: 8192,
  /** Bytes of a PCR bit map, so 32 PCRs. */
  PCR_SELECT_MAX: 4,
  /** Fewest bytes of a PCR bit map. */
  PCR_SELECT_MIN: 1,
  /** Hash algorithms, and so banks of PCRs. */
  HASH_COUNT: 16,
  /** Digests in one list. */
  MAX_DIGESTS: 8,
  /** Algorithms in one list. */
  MAX_ALG_LIST_SIZE: 128,
  /** Elements of a list that answers TPM2_GetCapability. */
  MAX_CAP_ELEMENTS: 1024,
  /** Elements of a list that answers TPM2_AC_GetCapability. */
  MAX_AC_CAPABILITIES: 1024,
  /** Sessions in one command. */
  MAX_SESSION_NUM: 3,
} as const;
