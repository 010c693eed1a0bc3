/** node:crypto (OpenSSL) for TPM keys: the crypto provider, operations with private keys, and keys as `KeyObject`. */
import type { KeyObject } from 'node:crypto';
import { padTo } from './bytes.js';
import { hashName } from './hash-name.js';
import { base64url, crypto, curve, encodePoint, plain } from './openssl.js';
import { publicKeyJwk } from './public-key.js';
import { TpmError } from './response-code.js';
import type { EccPrivateKey, RsaPrivateKey, SecretRecovery } from './secret.js';
import type { TpmtPublic } from './structures/public.js';

export { nodeCrypto } from './node-provider.js';

/** Private key operations by OpenSSL, to recover secrets that were encrypted to a key in software. */
export const nodeRecovery: SecretRecovery = {
  rsaOaepDecrypt(key, hash, label, ciphertext) {
    const padding = crypto().constants.RSA_PKCS1_OAEP_PADDING;
    const options = { key: rsaPrivateKey(key), padding, oaepHash: hashName(hash), oaepLabel: label };
    try {
      return plain(crypto().privateDecrypt(options, ciphertext));
    } catch (cause) {
      throw new TpmError('integrity', 'decrypt by OAEP: the bytes are not encrypted to this key', { cause });
    }
  },
  ecdhWith(key, peer) {
    const { openssl, size } = curve(key.curve);
    const exchange = crypto().createECDH(openssl);
    try {
      exchange.setPrivateKey(key.d);
      const point = encodePoint({ type: 'ecc', curve: key.curve, ...peer }, size);
      return padTo(plain(exchange.computeSecret(point)), size) ?? new Uint8Array(size);
    } catch (cause) {
      throw new TpmError('usage', "exchange keys: the peer's point is not on the curve", { cause });
    }
  },
};

/** A public area's key as a `KeyObject` of node:crypto. Throws `TpmError` `usage` where it is no RSA or NIST curve key. */
export function publicKeyObject(publicArea: TpmtPublic): KeyObject {
  return crypto().createPublicKey({ key: { ...publicKeyJwk(publicArea) }, format: 'jwk' });
}

/** A private key of software, such as one from `unwrapDuplicate` and `privateKeyOf`, as a `KeyObject` of node:crypto. */
export function privateKeyObject(key: RsaPrivateKey | EccPrivateKey): KeyObject {
  if (key.type === 'rsa') return rsaPrivateKey(key);
  const { jwk, size } = curve(key.curve);
  const point = encodePoint(key, size);
  const d = padTo(key.d, size);
  if (!d) throw new TpmError('usage', `use ECC key: expected a scalar of at most ${size} bytes`);
  const [x, y] = [base64url(point.subarray(1, 1 + size)), base64url(point.subarray(1 + size))];
  return crypto().createPrivateKey({ key: { kty: 'EC', crv: jwk, x, y, d: base64url(d) }, format: 'jwk' });
}

/** A TPM keeps one prime; the other numbers follow from it. */
function rsaPrivateKey(key: RsaPrivateKey): KeyObject {
  const [n, e, p] = [toInteger(key.modulus), BigInt(key.exponent), toInteger(key.prime)];
  const q = p === 0n ? 0n : n / p;
  if (p * q !== n || p === q) throw new TpmError('usage', 'use RSA key: expected a prime factor of the modulus');
  const d = inverse(e, (p - 1n) * (q - 1n));
  const numbers = { n, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
  const members = Object.entries(numbers).map(([name, value]) => [name, base64url(fromInteger(value))]);
  return crypto().createPrivateKey({ key: { kty: 'RSA', ...Object.fromEntries(members) }, format: 'jwk' });
}

/** The inverse of `value` modulo `modulus`, by Euclid's extended algorithm. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [r, next, s, nextS] = [modulus, value % modulus, 0n, 1n];
  while (next !== 0n) {
    const quotient = r / next;
    [r, next] = [next, r - quotient * next];
    [s, nextS] = [nextS, s - quotient * nextS];
  }
  if (r !== 1n) throw new TpmError('usage', 'use RSA key: expected an exponent prime to the order of the group');
  return s < 0n ? s + modulus : s;
}

function toInteger(bytes: Uint8Array): bigint {
  return BigInt(`0x0${Buffer.from(bytes).toString('hex')}`);
}

function fromInteger(value: bigint): Uint8Array {
  const digits = value.toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
}
