/** The provider on @noble: SHA-256, AES-128 in CFB mode, P-256. */
import { cfb } from '@noble/ciphers/aes.js';
import { p256 } from '@noble/curves/nist.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat } from '../bytes.js';
import type { CurvePoint } from '../crypto.js';
import { toBytes, toInteger } from '../integer.js';
import type { MicroCrypto } from './crypto.js';

/** The default provider where there is no OpenSSL. */
export const nobleMicroCrypto: MicroCrypto = {
  random: (length) => globalThis.crypto.getRandomValues(new Uint8Array(length)),
  hash: (_, ...parts) => sha256(concat(...parts)),
  hmac: (_, key, ...parts) => hmac(sha256, key, concat(...parts)),
  aesCfbEncrypt: (key, iv, data) => cfb(key, iv).encrypt(data),
  aesCfbDecrypt: (key, iv, data) => cfb(key, iv).decrypt(data),
  eccMultiply(_, scalar, point) {
    try {
      const base = point === undefined ? p256.Point.BASE : p256.Point.fromAffine(affine(point));
      base.assertValidity();
      const { x, y } = base.multiply(toInteger(scalar)).toAffine();
      return { x: toBytes(x, 32), y: toBytes(y, 32) };
    } catch {
      return undefined;
    }
  },
  ecdsaSign({ d }, { digest }) {
    const signature = p256.sign(digest, d, { prehash: false, lowS: false });
    return { r: signature.slice(0, 32), s: signature.slice(32) };
  },
  ecdsaVerify(_, point, digest, { r, s }) {
    try {
      const signature = concat(toBytes(toInteger(r), 32), toBytes(toInteger(s), 32));
      const key = p256.Point.fromAffine(affine(point)).toBytes(false);
      return p256.verify(signature, digest, key, { prehash: false, lowS: false });
    } catch {
      return false;
    }
  },
};

function affine({ x, y }: CurvePoint): { readonly x: bigint; readonly y: bigint } {
  return { x: toInteger(x), y: toInteger(y) };
}
