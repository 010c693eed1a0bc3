/** The numbers of Part 2 that the micro-TPM needs; a test holds them against the tables of `@casemate/tpm`. */

/** Algorithms: SHA-256, HMAC-less sealed data, ECDSA with P-256, AES-128 in CFB mode. Part 2, 6.3. */
export const TPM_ALG = {
  AES: 0x0006,
  KEYEDHASH: 0x0008,
  SHA256: 0x000b,
  NULL: 0x0010,
  ECDSA: 0x0018,
  ECC: 0x0023,
  CFB: 0x0043,
} as const;

/** The one curve. Part 2, 6.4. */
export const NIST_P256 = 3;

/** Command codes. Part 2, 6.5. */
export const TPM_CC = {
  NV_UndefineSpace: 0x122,
  NV_DefineSpace: 0x12a,
  CreatePrimary: 0x131,
  NV_Increment: 0x134,
  NV_Write: 0x137,
  PCR_Event: 0x13c,
  PCR_Reset: 0x13d,
  SelfTest: 0x143,
  Startup: 0x144,
  Shutdown: 0x145,
  Certify: 0x148,
  NV_Read: 0x14e,
  PolicySecret: 0x151,
  Create: 0x153,
  Load: 0x157,
  Quote: 0x158,
  Sign: 0x15d,
  Unseal: 0x15e,
  FlushContext: 0x165,
  NV_ReadPublic: 0x169,
  PolicyAuthValue: 0x16b,
  PolicyCommandCode: 0x16c,
  PolicyOR: 0x171,
  ReadPublic: 0x173,
  StartAuthSession: 0x176,
  VerifySignature: 0x177,
  GetCapability: 0x17a,
  GetRandom: 0x17b,
  GetTestResult: 0x17c,
  Hash: 0x17d,
  PCR_Read: 0x17e,
  PolicyPCR: 0x17f,
  PolicyRestart: 0x180,
  PCR_Extend: 0x182,
  PolicyGetDigest: 0x189,
} as const;

/** Response codes. Part 2, 6.6. */
export const TPM_RC = {
  SUCCESS: 0,
  BAD_TAG: 0x1e,
  ATTRIBUTES: 0x82,
  HASH: 0x83,
  VALUE: 0x84,
  HIERARCHY: 0x85,
  MODE: 0x89,
  TYPE: 0x8a,
  HANDLE: 0x8b,
  KDF: 0x8c,
  AUTH_FAIL: 0x8e,
  NONCE: 0x8f,
  SCHEME: 0x92,
  SIZE: 0x95,
  SYMMETRIC: 0x96,
  TAG: 0x97,
  INSUFFICIENT: 0x9a,
  SIGNATURE: 0x9b,
  KEY: 0x9c,
  POLICY_FAIL: 0x9d,
  INTEGRITY: 0x9f,
  TICKET: 0xa0,
  RESERVED_BITS: 0xa1,
  BAD_AUTH: 0xa2,
  POLICY_CC: 0xa4,
  BINDING: 0xa5,
  CURVE: 0xa6,
  INITIALIZE: 0x100,
  FAILURE: 0x101,
  AUTH_TYPE: 0x124,
  AUTH_MISSING: 0x125,
  PCR_CHANGED: 0x128,
  AUTH_UNAVAILABLE: 0x12f,
  COMMAND_SIZE: 0x142,
  COMMAND_CODE: 0x143,
  AUTH_CONTEXT: 0x145,
  NV_RANGE: 0x146,
  NV_AUTHORIZATION: 0x149,
  NV_UNINITIALIZED: 0x14a,
  NV_SPACE: 0x14b,
  NV_DEFINED: 0x14c,
  OBJECT_MEMORY: 0x902,
  SESSION_MEMORY: 0x903,
  LOCALITY: 0x907,
  REFERENCE_H0: 0x910,
  REFERENCE_S0: 0x918,
  LOCKOUT: 0x921,
} as const;

/** Permanent handles. Part 2, 7.4. */
export const TPM_RH = {
  OWNER: 0x40000001,
  NULL: 0x40000007,
  PW: 0x40000009,
  ENDORSEMENT: 0x4000000b,
  PLATFORM: 0x4000000c,
} as const;

/** Handle types: the first octet of a handle. Part 2, 7.2. */
export const TPM_HT = {
  PCR: 0x00,
  NV_INDEX: 0x01,
  HMAC_SESSION: 0x02,
  POLICY_SESSION: 0x03,
  PERMANENT: 0x40,
  TRANSIENT: 0x80,
} as const;

/** Structure tags. Part 2, 6.9. */
export const TPM_ST = {
  NO_SESSIONS: 0x8001,
  SESSIONS: 0x8002,
  ATTEST_CERTIFY: 0x8017,
  ATTEST_QUOTE: 0x8018,
  CREATION: 0x8021,
  VERIFIED: 0x8022,
  AUTH_SECRET: 0x8023,
  HASHCHECK: 0x8024,
} as const;

/** What a TPM's own structures begin with. Part 2, 6.2. */
export const TPM_GENERATED_VALUE = 0xff544347;

/** Object attributes. Part 2, 8.3. */
export const TPMA_OBJECT = {
  fixedTPM: 0x2,
  stClear: 0x4,
  fixedParent: 0x10,
  sensitiveDataOrigin: 0x20,
  userWithAuth: 0x40,
  adminWithPolicy: 0x80,
  noDA: 0x400,
  encryptedDuplication: 0x800,
  restricted: 0x10000,
  decrypt: 0x20000,
  sign: 0x40000,
  x509sign: 0x80000,
} as const;

/** Session attributes. Part 2, 8.4. */
export const TPMA_SESSION = {
  continueSession: 0x01,
  auditExclusive: 0x02,
  auditReset: 0x04,
  decrypt: 0x20,
  encrypt: 0x40,
  audit: 0x80,
} as const;

/** NV attributes; the four bits of TPM_NT say the kind: 0 ordinary, 1 counter. Part 2, 13.4. */
export const TPMA_NV = {
  OWNERWRITE: 0x2,
  AUTHWRITE: 0x4,
  POLICYWRITE: 0x8,
  TPM_NT: 0xf0,
  WRITEALL: 0x1000,
  OWNERREAD: 0x20000,
  AUTHREAD: 0x40000,
  POLICYREAD: 0x80000,
  NO_DA: 0x2000000,
  WRITTEN: 0x20000000,
} as const;

/** Capabilities. Part 2, 6.12. */
export const TPM_CAP = { ALGS: 0, HANDLES: 1, COMMANDS: 2, PCRS: 5, TPM_PROPERTIES: 6, ECC_CURVES: 8 } as const;
