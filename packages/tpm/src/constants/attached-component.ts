/** Tags and errors of attached components. TPM 2.0 Part 2, clause 16. */

/** Tags of attached component data; vendor tags start at `VEND`. TPM 2.0 Part 2, table 225. */
export const TPM_AT = {
  ANY: 0x00000000,
  ERROR: 0x00000001,
  PV1: 0x00000002,
  VEND: 0x80000000,
} as const;

/** Errors of attached components. TPM 2.0 Part 2, table 226. */
export const TPM_AE = {
  NONE: 0x00000000,
} as const;
