/** The key derivation functions KDFa and KDFe (Part 1, sections 11.4.10.2 and 11.4.10.3). */

import { concat, labelBytes, u32Bytes } from './bytes.js';
import type { TpmHashes } from './crypto.js';
import { defaultHashes } from './default-crypto.js';
import { hashSize } from './hashes.js';

/** What {@link kdfA} derives from. */
export interface KdfAInput {
  /** TPM algorithm identifier of the hash under the HMAC. */
  readonly hash: number;
  /** The HMAC key. */
  readonly key: Uint8Array;
  /** ASCII label without its NUL, such as `STORAGE`. */
  readonly label: string;
  /** First context value, often a nonce. */
  readonly contextU?: Uint8Array;
  /** Second context value. */
  readonly contextV?: Uint8Array;
  /** Length of the result in bits. */
  readonly bits: number;
}

/** SP 800-108 counter mode over HMAC. The result has `bits` bits, rounded up to bytes with the surplus high bits clear. */
export function kdfA(input: KdfAInput, hashes: TpmHashes = defaultHashes): Uint8Array {
  const { hash, key, label, contextU = NONE, contextV = NONE, bits } = input;
  const fixed = [labelBytes(label), contextU, contextV, u32Bytes(bits)];
  return derive(hash, bits, (counter) => hashes.hmac(hash, key, counter, ...fixed));
}

/** What {@link kdfE} derives from. */
export interface KdfEInput {
  /** TPM algorithm identifier of the hash. */
  readonly hash: number;
  /** x coordinate of the shared point, padded to the curve's size. */
  readonly z: Uint8Array;
  /** ASCII label without its NUL, such as `DUPLICATE`. */
  readonly label: string;
  /** x coordinate of the ephemeral public point, padded. */
  readonly partyUInfo: Uint8Array;
  /** x coordinate of the static public point, padded. */
  readonly partyVInfo: Uint8Array;
  /** Length of the result in bits. */
  readonly bits: number;
}

/** SP 800-56A concatenation KDF. The result has `bits` bits, rounded up to bytes with the surplus high bits clear. */
export function kdfE(input: KdfEInput, hashes: TpmHashes = defaultHashes): Uint8Array {
  const { hash, z, label, partyUInfo, partyVInfo, bits } = input;
  const fixed = [z, labelBytes(label), partyUInfo, partyVInfo];
  return derive(hash, bits, (counter) => hashes.hash(hash, counter, ...fixed));
}

function derive(hash: number, bits: number, block: (counter: Uint8Array) => Uint8Array): Uint8Array {
  const length = Math.ceil(bits / 8);
  const blocks: Uint8Array[] = [];
  for (let have = 0; have < length; have += hashSize(hash)) blocks.push(block(u32Bytes(blocks.length + 1)));
  const derived = concat(...blocks).slice(0, length);
  for (const used of blocks) used.fill(0);
  if (bits % 8 !== 0 && derived[0] !== undefined) derived[0] &= (1 << (bits % 8)) - 1;
  return derived;
}

const NONE = new Uint8Array(0);
