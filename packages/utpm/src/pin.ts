/** PIN indexes: NV indexes that count the uses of their own authorization value. Part 1, 37.2.8. */
import { TPM_NT, TPMA_NV } from '@casemate/tpm';
import { concat, readU32, u32Bytes } from './bytes.js';
import { isPinIndex, nvKind } from './entity.js';
import type { NvIndexState } from './permanent.js';
import { markDirty, type Tpm } from './tpm.js';

/** Has the PIN been used up, or never been set? */
export function isPinSpent(index: NvIndexState): boolean {
  if ((index.attributes & TPMA_NV.WRITTEN) === 0) return true;
  return readU32(index.data, 0) >= readU32(index.data, 4);
}

/** Counts one use: a PIN pass index its right uses, a PIN fail index the wrong ones since the last right one. */
export function notePinUse(tpm: Tpm, handle: number, isRight: boolean): void {
  const index = tpm.permanent.nv.get(handle);
  if (index === undefined || !isPinIndex(index.attributes) || isPinSpent(index)) return;
  const before = readU32(index.data, 0);
  const after = countAfter(nvKind(index.attributes), before, isRight);
  if (after === before) return;
  tpm.permanent.nv.set(handle, { ...index, data: concat(u32Bytes(after), index.data.subarray(4)) });
  markDirty(tpm);
}

function countAfter(kind: number, count: number, isRight: boolean): number {
  if (kind === TPM_NT.PIN_PASS) return isRight ? count + 1 : count;
  return isRight ? 0 : count + 1;
}
