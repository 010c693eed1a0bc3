/** What identifies the specification and a structure made by a TPM. TPM 2.0 Part 2, clauses 6.1 and 6.2. */

/**
 * Family (`2.0` in ASCII), level, version times 100, year and day of year of the specification. TPM 2.0 Part 2, table
 * 6.
 */
export const TPM_SPEC = {
  FAMILY: 841887744,
  LEVEL: 0,
  VERSION: 162,
  YEAR: 2019,
  DAY_OF_YEAR: 360,
} as const;

/**
 * The magic number that opens every attestation, so that a TPM's own statement is told from signed foreign data. TPM
 * 2.0 Part 2, table 7.
 */
export const TPM_GENERATED_VALUE = 0xff544347;
