/** How much room NV indexes take, by libtpms' accounting, so that a definition is refused where swtpm refuses it; and what is in it at first. */
import { TPMA_NV } from '@casemate/tpm';
import type { Tpm } from './tpm.js';

/** Bytes of memory for indexes with TPMA_NV_ORDERLY, and what one takes besides its data. */
const ORDERLY = { space: 512, header: 12 } as const;

/** What an orderly counter takes. */
export const ORDERLY_COUNTER_SIZE = ORDERLY.header + 8;

/** Bytes that are left for orderly indexes. */
export function orderlySpace(tpm: Tpm): number {
  let left: number = ORDERLY.space;
  for (const { attributes, dataSize } of tpm.permanent.nv.values()) {
    if ((attributes & TPMA_NV.ORDERLY) !== 0) left -= ORDERLY.header + dataSize;
  }
  return left;
}

/** Is there room for another index with these attributes and this size? */
export function hasOrderlyRoom(tpm: Tpm, attributes: number, dataSize: number): boolean {
  return (attributes & TPMA_NV.ORDERLY) === 0 || orderlySpace(tpm) >= ORDERLY.header + dataSize;
}

/** What an index holds that has not been written: ones, where a partial write leaves them, but for an index that is kept in memory. */
export function unwrittenData(attributes: number, dataSize: number): Uint8Array {
  return new Uint8Array(dataSize).fill((attributes & TPMA_NV.ORDERLY) !== 0 ? 0 : 0xff);
}
