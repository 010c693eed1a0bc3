/** NV index kinds and attributes. TPM 2.0 Part 2, clause 13. */

/** Masks of an NV index handle: the index proper and the handle type. TPM 2.0 Part 2, table 212. */
export const TPM_NV_INDEX = {
  index: 0x00ffffff,
  RH_NV: 0xff000000,
} as const;

/** NV index kinds, the four bits at `TPMA_NV.TPM_NT`. TPM 2.0 Part 2, table 213. */
export const TPM_NT = {
  ORDINARY: 0x0,
  COUNTER: 0x1,
  BITS: 0x2,
  EXTEND: 0x4,
  PIN_FAIL: 0x8,
  PIN_PASS: 0x9,
} as const;

/** Attributes of an NV index; `TPM_NT` is the mask of the index kind. TPM 2.0 Part 2, table 215. */
export const TPMA_NV = {
  PPWRITE: 0x00000001,
  OWNERWRITE: 0x00000002,
  AUTHWRITE: 0x00000004,
  POLICYWRITE: 0x00000008,
  TPM_NT: 0x000000f0,
  POLICY_DELETE: 0x00000400,
  WRITELOCKED: 0x00000800,
  WRITEALL: 0x00001000,
  WRITEDEFINE: 0x00002000,
  WRITE_STCLEAR: 0x00004000,
  GLOBALLOCK: 0x00008000,
  PPREAD: 0x00010000,
  OWNERREAD: 0x00020000,
  AUTHREAD: 0x00040000,
  POLICYREAD: 0x00080000,
  NO_DA: 0x02000000,
  ORDERLY: 0x04000000,
  CLEAR_STCLEAR: 0x08000000,
  READLOCKED: 0x10000000,
  WRITTEN: 0x20000000,
  PLATFORMCREATE: 0x40000000,
  READ_STCLEAR: 0x80000000,
} as const;
