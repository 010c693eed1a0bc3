/** The cryptography of the micro-TPM: what a provider must have, and the key derivations of Part 1, 11.4.10. */
import { concat, EMPTY, label, u32Bytes } from '../bytes.js';
import type { UtpmCrypto } from '../crypto.js';
import { TPM_ALG } from './constants.js';

/** The part of a provider that a micro-TPM uses: SHA-256, AES-128 in CFB mode, and P-256. */
export type MicroCrypto = Pick<
  UtpmCrypto,
  'random' | 'hash' | 'hmac' | 'aesCfbEncrypt' | 'aesCfbDecrypt' | 'eccMultiply' | 'ecdsaSign' | 'ecdsaVerify'
>;

/** SHA-256 over the parts. */
export function sha256(crypto: MicroCrypto, ...parts: readonly Uint8Array[]): Uint8Array {
  return crypto.hash(TPM_ALG.SHA256, ...parts);
}

/** HMAC-SHA256 over the parts. */
export function hmac(crypto: MicroCrypto, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return crypto.hmac(TPM_ALG.SHA256, key, ...parts);
}

/** KDFa with HMAC-SHA256 (Part 1, 11.4.10.2; SP 800-108 in counter mode); `bytes` of output. */
export function kdfA(
  crypto: MicroCrypto,
  key: Uint8Array,
  use: string,
  contexts: readonly [u?: Uint8Array, v?: Uint8Array],
  bytes: number,
): Uint8Array {
  const [u = EMPTY, v = EMPTY] = contexts;
  const out = new Uint8Array(bytes);
  for (let at = 0, counter = 1; at < bytes; at += 32, counter++) {
    const block = hmac(crypto, key, u32Bytes(counter), label(use), u, v, u32Bytes(8 * bytes));
    out.set(block.subarray(0, Math.min(32, bytes - at)), at);
  }
  return out;
}

/** KDFe with SHA-256 (Part 1, 11.4.10.3): 32 bytes out of a shared x coordinate. */
export function kdfE(crypto: MicroCrypto, z: Uint8Array, use: string, u: Uint8Array, v: Uint8Array): Uint8Array {
  return sha256(crypto, concat(u32Bytes(1), z, label(use), u, v));
}
