/** Who may read and write an NV index: Part 3, 31.1; Part 1, 37.2. */
import { TPM_RC, TPM_RH, TPMA_NV } from '@casemate/tpm';
import type { NvIndexState } from './permanent.js';
import { refuse } from './refusal.js';

/** Is the attribute (a TPMA_NV bit) set? */
export function isNvSet(index: NvIndexState, bit: number): boolean {
  return (index.attributes & bit) !== 0;
}

/** Refuses a write that the index is locked against or that its attributes do not allow to `authHandle`. */
export function assertNvWritable(authHandle: number, index: NvIndexState): void {
  if (isNvSet(index, TPMA_NV.WRITELOCKED)) refuse(TPM_RC.NV_LOCKED);
  assertNvAccess(authHandle, index, { owner: TPMA_NV.OWNERWRITE, platform: TPMA_NV.PPWRITE });
}

/** Refuses a read that the index is locked against, or that its attributes do not allow to `authHandle`, or of an index not yet written. */
export function assertNvReadable(authHandle: number, index: NvIndexState): void {
  if (isNvSet(index, TPMA_NV.READLOCKED)) refuse(TPM_RC.NV_LOCKED);
  assertNvAccess(authHandle, index, { owner: TPMA_NV.OWNERREAD, platform: TPMA_NV.PPREAD });
  if (!isNvSet(index, TPMA_NV.WRITTEN)) refuse(TPM_RC.NV_UNINITIALIZED);
}

/** Refuses `authHandle` where neither the attributes nor its being the index itself allow it. */
export function assertNvAccess(
  authHandle: number,
  index: NvIndexState,
  bits: { readonly owner: number; readonly platform: number },
): void {
  if (authHandle === TPM_RH.OWNER) {
    if (!isNvSet(index, bits.owner)) refuse(TPM_RC.NV_AUTHORIZATION);
  } else if (authHandle === TPM_RH.PLATFORM) {
    if (!isNvSet(index, bits.platform)) refuse(TPM_RC.NV_AUTHORIZATION);
  } else if (authHandle !== index.nvIndex) refuse(TPM_RC.NV_AUTHORIZATION);
}
