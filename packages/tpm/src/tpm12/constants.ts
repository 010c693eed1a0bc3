/** Constants other than ordinals and return codes. TPM 1.2 Main Part 2, clauses 3 to 5, 15, 19 and 21. */

/** Tags of commands and responses. TPM 1.2 Part 2, clause 6. */
export const TPM_TAG_FRAME = {
  RQU_COMMAND: 0x00c1,
  RQU_AUTH1_COMMAND: 0x00c2,
  RQU_AUTH2_COMMAND: 0x00c3,
  RSP_COMMAND: 0x00c4,
  RSP_AUTH1_COMMAND: 0x00c5,
  RSP_AUTH2_COMMAND: 0x00c6,
} as const;

/** Tags of structures. TPM 1.2 Part 2, clause 3.1. */
export const TPM_TAG = {
  CONTEXTBLOB: 0x0001,
  SIGNINFO: 0x0005,
  PCR_INFO_LONG: 0x0006,
  EK_BLOB: 0x000c,
  COUNTER_VALUE: 0x000e,
  CURRENT_TICKS: 0x0014,
  STORED_DATA12: 0x0016,
  NV_ATTRIBUTES: 0x0017,
  NV_DATA_PUBLIC: 0x0018,
  PERMANENT_FLAGS: 0x001f,
  STCLEAR_FLAGS: 0x0020,
  KEY12: 0x0028,
  CERTIFY_INFO2: 0x0029,
  EK_BLOB_ACTIVATE: 0x002b,
  CAP_VERSION_INFO: 0x0030,
  QUOTE_INFO2: 0x0036,
  DA_INFO: 0x0037,
  DA_INFO_LIMITED: 0x0038,
  DA_ACTION_TYPE: 0x0039,
} as const;

/** Kinds of resources behind handles. TPM 1.2 Part 2, clause 4.1. */
export const TPM_RT = {
  KEY: 1,
  AUTH: 2,
  HASH: 3,
  TRANS: 4,
  CONTEXT: 5,
  COUNTER: 6,
  DELEGATE: 7,
  DAA_TPM: 8,
  DAA_V0: 9,
  DAA_V1: 10,
} as const;

/** What an encrypted payload holds. TPM 1.2 Part 2, clause 4.2. */
export const TPM_PT = {
  ASYM: 1,
  BIND: 2,
  MIGRATE: 3,
  MAINT: 4,
  SEAL: 5,
  MIGRATE_RESTRICTED: 6,
  MIGRATE_EXTERNAL: 7,
  CMK_MIGRATE: 8,
} as const;

/** Kinds of entities that an authorisation is about. TPM 1.2 Part 2, clause 4.3. */
export const TPM_ET = {
  KEYHANDLE: 0x01,
  OWNER: 0x02,
  DATA: 0x03,
  SRK: 0x04,
  KEY: 0x05,
  REVOKE: 0x06,
  DEL_OWNER_BLOB: 0x07,
  DEL_ROW: 0x08,
  DEL_KEY_BLOB: 0x09,
  COUNTER: 0x0a,
  NV: 0x0b,
  OPERATOR: 0x0c,
} as const;

/** Handles with a fixed meaning. TPM 1.2 Part 2, clause 4.4.1. */
export const TPM_KH = {
  SRK: 0x40000000,
  OWNER: 0x40000001,
  REVOKE: 0x40000002,
  TRANSPORT: 0x40000003,
  OPERATOR: 0x40000004,
  ADMIN: 0x40000005,
  EK: 0x40000006,
} as const;

/** Types of start-up. TPM 1.2 Part 2, clause 4.5. */
export const TPM_ST = { CLEAR: 1, STATE: 2, DEACTIVATED: 3 } as const;

/** Protocols. TPM 1.2 Part 2, clause 4.7. */
export const TPM_PID = { OIAP: 1, OSAP: 2, ADIP: 3, ADCP: 4, OWNER: 5, DSAP: 6, TRANSPORT: 7 } as const;

/** Algorithms. TPM 1.2 Part 2, clause 4.8. */
export const TPM_ALG = {
  RSA: 1,
  DES: 2,
  TDES: 3,
  SHA: 4,
  HMAC: 5,
  AES128: 6,
  MGF1: 7,
  AES192: 8,
  AES256: 9,
  XOR: 10,
} as const;

/** Bits of TSC_PhysicalPresence. TPM 1.2 Part 2, clause 4.9. */
export const TPM_PHYSICAL_PRESENCE = {
  HW_DISABLE: 0x0200,
  CMD_DISABLE: 0x0100,
  LIFETIME_LOCK: 0x0080,
  HW_ENABLE: 0x0040,
  CMD_ENABLE: 0x0020,
  NOTPRESENT: 0x0010,
  PRESENT: 0x0008,
  LOCK: 0x0004,
} as const;

/** Kinds of the blob of an endorsement key. TPM 1.2 Part 2, clause 4.11. */
export const TPM_EK_TYPE = { ACTIVATE: 1, AUTH: 2 } as const;

/** What a key may be used for. TPM 1.2 Part 2, clause 5.8. */
export const TPM_KEY_USAGE = {
  SIGNING: 0x0010,
  STORAGE: 0x0011,
  IDENTITY: 0x0012,
  AUTHCHANGE: 0x0013,
  BIND: 0x0014,
  LEGACY: 0x0015,
  MIGRATE: 0x0016,
} as const;

/** Encryption schemes. TPM 1.2 Part 2, clause 5.8.1; `SYM_CBC_PKCS5PAD` is the TSS's. */
export const TPM_ES = {
  NONE: 0x0001,
  RSAESPKCSv15: 0x0002,
  RSAESOAEP_SHA1_MGF1: 0x0003,
  SYM_CTR: 0x0004,
  SYM_OFB: 0x0005,
  SYM_CBC_PKCS5PAD: 0x00ff,
} as const;

/** Signature schemes. TPM 1.2 Part 2, clause 5.8.1. */
export const TPM_SS = {
  NONE: 0x0001,
  RSASSAPKCS1v15_SHA1: 0x0002,
  RSASSAPKCS1v15_DER: 0x0003,
  RSASSAPKCS1v15_INFO: 0x0004,
} as const;

/** When a key needs its authorisation. TPM 1.2 Part 2, clause 5.9. */
export const TPM_AUTH_DATA_USAGE = { NEVER: 0x00, ALWAYS: 0x01, NO_READ_PUBKEY: 0x03 } as const;

/** Bits of TPM_KEY_FLAGS. TPM 1.2 Part 2, clause 5.10. */
export const TPM_KEY_FLAGS = {
  REDIRECTION: 0x01,
  MIGRATABLE: 0x02,
  ISVOLATILE: 0x04,
  PCRIGNOREDONREAD: 0x08,
  MIGRATEAUTHORITY: 0x10,
} as const;

/** Bits of a locality selection. TPM 1.2 Part 2, clause 8.6. */
export const TPM_LOC = { ZERO: 0x01, ONE: 0x02, TWO: 0x04, THREE: 0x08, FOUR: 0x10 } as const;

/** Areas of TPM_GetCapability. TPM 1.2 Part 2, clause 21.1. */
export const TPM_CAP = {
  ORD: 0x01,
  ALG: 0x02,
  PID: 0x03,
  FLAG: 0x04,
  PROPERTY: 0x05,
  VERSION: 0x06,
  KEY_HANDLE: 0x07,
  CHECK_LOADED: 0x08,
  SYM_MODE: 0x09,
  KEY_STATUS: 0x0c,
  NV_LIST: 0x0d,
  MFR: 0x10,
  NV_INDEX: 0x11,
  TRANS_ALG: 0x12,
  HANDLE: 0x14,
  TRANS_ES: 0x15,
  AUTH_ENCRYPT: 0x17,
  SELECT_SIZE: 0x18,
  DA_LOGIC: 0x19,
  VERSION_VAL: 0x1a,
} as const;

/** Sub-areas of `TPM_CAP.FLAG`. TPM 1.2 Part 2, clause 21.1. */
export const TPM_CAP_FLAG = { PERMANENT: 0x108, VOLATILE: 0x109 } as const;

/** Sub-areas of `TPM_CAP.PROPERTY`. TPM 1.2 Part 2, clause 21.2. */
export const TPM_CAP_PROP = {
  PCR: 0x101,
  DIR: 0x102,
  MANUFACTURER: 0x103,
  KEYS: 0x104,
  MIN_COUNTER: 0x107,
  AUTHSESS: 0x10a,
  TRANSESS: 0x10b,
  COUNTERS: 0x10c,
  MAX_AUTHSESS: 0x10d,
  MAX_TRANSESS: 0x10e,
  MAX_COUNTERS: 0x10f,
  MAX_KEYS: 0x110,
  OWNER: 0x111,
  CONTEXT: 0x112,
  MAX_CONTEXT: 0x113,
  FAMILYROWS: 0x114,
  TIS_TIMEOUT: 0x115,
  STARTUP_EFFECT: 0x116,
  DELEGATE_ROW: 0x117,
  MAX_DAASESS: 0x119,
  DAASESS: 0x11a,
  CONTEXT_DIST: 0x11b,
  DAA_INTERRUPT: 0x11c,
  SESSIONS: 0x11d,
  MAX_SESSIONS: 0x11e,
  CMK_RESTRICTION: 0x11f,
  DURATION: 0x120,
  ACTIVE_COUNTER: 0x122,
  NV_AVAILABLE: 0x123,
  INPUT_BUFFER: 0x124,
} as const;

/** Indexes with a fixed meaning. TPM 1.2 Part 2, clause 19.1. */
export const TPM_NV_INDEX = {
  /** Defining it ends the time in which NV needs no authorisation. */
  LOCK: 0xffffffff,
  /** Writing nothing to it locks all indexes with `GLOBALLOCK`. */
  INDEX0: 0x00000000,
  DIR: 0x10000001,
  EKCERT: 0x0000f000,
  TPM_CC: 0x0000f001,
  PLATFORM_CERT: 0x0000f002,
  PLATFORM_CC: 0x0000f003,
  TRIAL: 0x0000f004,
} as const;

/** Permissions of an NV index. TPM 1.2 Part 2, clause 19.2. */
export const TPM_NV_PER = {
  READ_STCLEAR: 0x80000000,
  AUTHREAD: 0x00040000,
  OWNERREAD: 0x00020000,
  PPREAD: 0x00010000,
  GLOBALLOCK: 0x00008000,
  WRITE_STCLEAR: 0x00004000,
  WRITEDEFINE: 0x00002000,
  WRITEALL: 0x00001000,
  AUTHWRITE: 0x00000004,
  OWNERWRITE: 0x00000002,
  PPWRITE: 0x00000001,
} as const;
