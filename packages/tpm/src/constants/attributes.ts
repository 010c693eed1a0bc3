/** Bits of the attribute fields. TPM 2.0 Part 2, clause 8. A member that is more than one bit wide is a mask. */

/** What an algorithm is good for. TPM 2.0 Part 2, table 30. */
export const TPMA_ALGORITHM = {
  asymmetric: 0x00000001,
  symmetric: 0x00000002,
  hash: 0x00000004,
  object: 0x00000008,
  signing: 0x00000100,
  encrypting: 0x00000200,
  method: 0x00000400,
} as const;

/** Attributes of an object; `sign` also means "encrypt" for a symmetric cipher key. TPM 2.0 Part 2, table 31. */
export const TPMA_OBJECT = {
  fixedTPM: 0x00000002,
  stClear: 0x00000004,
  fixedParent: 0x00000010,
  sensitiveDataOrigin: 0x00000020,
  userWithAuth: 0x00000040,
  adminWithPolicy: 0x00000080,
  noDA: 0x00000400,
  encryptedDuplication: 0x00000800,
  restricted: 0x00010000,
  decrypt: 0x00020000,
  sign: 0x00040000,
  x509sign: 0x00080000,
} as const;

/** Attributes of a session in a command or response. TPM 2.0 Part 2, table 32. */
export const TPMA_SESSION = {
  continueSession: 0x01,
  auditExclusive: 0x02,
  auditReset: 0x04,
  decrypt: 0x20,
  encrypt: 0x40,
  audit: 0x80,
} as const;

/**
 * Localities 0 to 4 as bits; with a bit of `Extended` set, the octet is a locality number from 32 up. TPM 2.0 Part 2,
 * table 33.
 */
export const TPMA_LOCALITY = {
  LOC_ZERO: 0x01,
  LOC_ONE: 0x02,
  LOC_TWO: 0x04,
  LOC_THREE: 0x08,
  LOC_FOUR: 0x10,
  Extended: 0xe0,
} as const;

/** Value of `TPM_PT.PERMANENT`. TPM 2.0 Part 2, table 34. */
export const TPMA_PERMANENT = {
  ownerAuthSet: 0x00000001,
  endorsementAuthSet: 0x00000002,
  lockoutAuthSet: 0x00000004,
  disableClear: 0x00000100,
  inLockout: 0x00000200,
  tpmGeneratedEPS: 0x00000400,
} as const;

/** Value of `TPM_PT.STARTUP_CLEAR`. TPM 2.0 Part 2, table 35. */
export const TPMA_STARTUP_CLEAR = {
  phEnable: 0x00000001,
  shEnable: 0x00000002,
  ehEnable: 0x00000004,
  phEnableNV: 0x00000008,
  orderly: 0x80000000,
} as const;

/** Value of `TPM_PT.MEMORY`. TPM 2.0 Part 2, table 36. */
export const TPMA_MEMORY = {
  sharedRAM: 0x00000001,
  sharedNV: 0x00000002,
  objectCopiedToRam: 0x00000004,
} as const;

/** Attributes of a command; `cHandles` and `commandIndex` are masks. TPM 2.0 Part 2, table 37. */
export const TPMA_CC = {
  commandIndex: 0x0000ffff,
  nv: 0x00400000,
  extensive: 0x00800000,
  flushed: 0x01000000,
  cHandles: 0x0e000000,
  rHandle: 0x10000000,
  V: 0x20000000,
} as const;

/** Value of `TPM_PT.MODES`. TPM 2.0 Part 2, table 38. */
export const TPMA_MODES = {
  FIPS_140_2: 0x00000001,
} as const;

/** X.509 key usage; `nonrepudiation` is also called contentCommitment. TPM 2.0 Part 2, table 39. */
export const TPMA_X509_KEY_USAGE = {
  decipherOnly: 0x00800000,
  encipherOnly: 0x01000000,
  cRLSign: 0x02000000,
  keyCertSign: 0x04000000,
  keyAgreement: 0x08000000,
  dataEncipherment: 0x10000000,
  keyEncipherment: 0x20000000,
  nonrepudiation: 0x40000000,
  digitalSignature: 0x80000000,
} as const;

/** State of an authenticated countdown timer. TPM 2.0 Part 2, table 40. */
export const TPMA_ACT = {
  signaled: 0x00000001,
  preserveSignaled: 0x00000002,
} as const;
