import { bytesToHex } from '@noble/hashes/utils.js';

/** Lower-case hex of bytes, or a word that equals no hex where there are none. */
export function hex(value: Uint8Array | undefined): string {
  return value === undefined ? 'absent' : bytesToHex(new Uint8Array(value));
}
