/** Random bytes for the services of PALs: OpenSSL's, drawn in advance, for it takes as long over 32 bytes as over thousands. */
import { randomFillSync } from 'node:crypto';

const POOL = new Uint8Array(4096);
let used = POOL.length;

/** Random bytes, which nobody else gets: what is handed out is overwritten in the pool at once. */
export function randomFromPool(length: number): Uint8Array {
  if (length > POOL.length / 16) return randomFillSync(new Uint8Array(length));
  if (used + length > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  const drawn = POOL.slice(used, used + length);
  POOL.fill(0, used, used + length);
  used += length;
  return drawn;
}
