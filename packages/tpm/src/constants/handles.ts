/** Handle types, permanent handles and handle ranges. TPM 2.0 Part 2, clause 7. */

/** Handle types: the most significant octet of a handle. TPM 2.0 Part 2, table 27. */
export const TPM_HT = {
  PCR: 0x00,
  NV_INDEX: 0x01,
  HMAC_SESSION: 0x02,
  LOADED_SESSION: 0x02,
  POLICY_SESSION: 0x03,
  SAVED_SESSION: 0x03,
  PERMANENT: 0x40,
  TRANSIENT: 0x80,
  PERSISTENT: 0x81,
  AC: 0x90,
} as const;

/** Permanent handles. TPM 2.0 Part 2, table 28. */
export const TPM_RH = {
  FIRST: 0x40000000,
  SRK: 0x40000000,
  OWNER: 0x40000001,
  REVOKE: 0x40000002,
  TRANSPORT: 0x40000003,
  OPERATOR: 0x40000004,
  ADMIN: 0x40000005,
  EK: 0x40000006,
  NULL: 0x40000007,
  UNASSIGNED: 0x40000008,
  LOCKOUT: 0x4000000a,
  ENDORSEMENT: 0x4000000b,
  PLATFORM: 0x4000000c,
  PLATFORM_NV: 0x4000000d,
  AUTH_00: 0x40000010,
  AUTH_FF: 0x4000010f,
  ACT_0: 0x40000110,
  ACT_F: 0x4000011f,
  LAST: 0x4000011f,
} as const;

/** The permanent session handle: `PW` marks a password authorisation. TPM 2.0 Part 2, table 28. */
export const TPM_RS = {
  PW: 0x40000009,
} as const;

/**
 * Handle ranges and masks. The last session and transient handle are the ends of their 24-bit ranges, because resource
 * managers hand out handles all over them; the last PCR is 31. TPM 2.0 Part 2, table 29.
 */
export const TPM_HC = {
  HR_HANDLE_MASK: 0x00ffffff,
  HR_RANGE_MASK: 0xff000000,
  HR_SHIFT: 24,
  HR_PCR: 0x00000000,
  HR_HMAC_SESSION: 0x02000000,
  HR_POLICY_SESSION: 0x03000000,
  HR_TRANSIENT: 0x80000000,
  HR_PERSISTENT: 0x81000000,
  HR_NV_INDEX: 0x01000000,
  HR_PERMANENT: 0x40000000,
  PCR_FIRST: 0x00000000,
  PCR_LAST: 0x0000001f,
  HMAC_SESSION_FIRST: 0x02000000,
  HMAC_SESSION_LAST: 0x02ffffff,
  LOADED_SESSION_FIRST: 0x02000000,
  LOADED_SESSION_LAST: 0x02ffffff,
  POLICY_SESSION_FIRST: 0x03000000,
  POLICY_SESSION_LAST: 0x03ffffff,
  TRANSIENT_FIRST: 0x80000000,
  ACTIVE_SESSION_FIRST: 0x03000000,
  ACTIVE_SESSION_LAST: 0x03ffffff,
  TRANSIENT_LAST: 0x80ffffff,
  PERSISTENT_FIRST: 0x81000000,
  PERSISTENT_LAST: 0x81ffffff,
  PLATFORM_PERSISTENT: 0x81800000,
  NV_INDEX_FIRST: 0x01000000,
  NV_INDEX_LAST: 0x01ffffff,
  PERMANENT_FIRST: 0x40000000,
  PERMANENT_LAST: 0x4000011f,
  HR_NV_AC: 0x01d00000,
  NV_AC_FIRST: 0x01d00000,
  NV_AC_LAST: 0x01d0ffff,
  HR_AC: 0x90000000,
  AC_FIRST: 0x90000000,
  AC_LAST: 0x9000ffff,
} as const;
