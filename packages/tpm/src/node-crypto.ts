/** The crypto provider on node:crypto (OpenSSL), for speed and for RSA and EC operations in native code. */
import type { KeyObject } from 'node:crypto';
import { concat, padTo } from './bytes.js';
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import type { EccPublicKey, RsaPublicKey, TpmCrypto, TpmSignature } from './crypto.js';
import { unknownHash } from './hashes.js';
import { publicKeyJwk } from './public-key.js';
import { TpmError } from './response-code.js';
import type { EccPrivateKey, RsaPrivateKey, SecretRecovery } from './secret.js';
import type { TpmtPublic } from './structures/public.js';
import type { AesModes } from './tpm12/crypto.js';

let loaded: typeof import('node:crypto') | undefined;

/** Loaded at the first operation: it takes as long as a third of this package, and who only decodes needs none of it. */
function crypto(): typeof import('node:crypto') {
  loaded ??= process.getBuiltinModule('node:crypto');
  return loaded;
}

/** Node's own crypto as a {@link TpmCrypto}, and as the provider of `Tpm12`. */
export const nodeCrypto: TpmCrypto & AesModes = {
  random: (length) => crypto().randomFillSync(new Uint8Array(length)),
  hash(algorithm, ...parts) {
    const hasher = crypto().createHash(hashName(algorithm));
    for (const part of parts) hasher.update(part);
    return plain(hasher.digest());
  },
  hmac(algorithm, key, ...parts) {
    const hasher = crypto().createHmac(hashName(algorithm), key);
    for (const part of parts) hasher.update(part);
    return plain(hasher.digest());
  },
  aesCfbEncrypt(key, iv, data) {
    const cipher = crypto().createCipheriv(`aes-${key.length * 8}-cfb`, key, iv);
    return concat(cipher.update(data), cipher.final());
  },
  aesCfbDecrypt(key, iv, data) {
    const cipher = crypto().createDecipheriv(`aes-${key.length * 8}-cfb`, key, iv);
    return concat(cipher.update(data), cipher.final());
  },
  aesCbcEncrypt(key, iv, data) {
    const cipher = crypto().createCipheriv(`aes-${key.length * 8}-cbc`, key, iv);
    return concat(cipher.update(data), cipher.final());
  },
  aesCbcDecrypt(key, iv, data) {
    const cipher = crypto().createDecipheriv(`aes-${key.length * 8}-cbc`, key, iv);
    try {
      return concat(cipher.update(data), cipher.final());
    } catch (cause) {
      throw new TpmError('integrity', 'decrypt by AES-CBC: the key is wrong, or the data are damaged', { cause });
    }
  },
  aesCtr(key, iv, data) {
    const cipher = crypto().createCipheriv(`aes-${key.length * 8}-ctr`, key, iv);
    return concat(cipher.update(data), cipher.final());
  },
  rsaOaepEncrypt(key, hash, label, message) {
    const padding = crypto().constants.RSA_PKCS1_OAEP_PADDING;
    const options = { key: rsaKey(key), padding, oaepHash: hashName(hash), oaepLabel: label };
    try {
      return plain(crypto().publicEncrypt(options, message));
    } catch (cause) {
      throw new TpmError('usage', 'encrypt by OAEP: OpenSSL refused the key or the length', { cause });
    }
  },
  ecdh(peer) {
    const { openssl, size } = curve(peer.curve);
    const point = encodePoint(peer, size);
    const exchange = crypto().createECDH(openssl);
    try {
      const own = plain(exchange.generateKeys());
      const z = padTo(plain(exchange.computeSecret(point)), size) ?? new Uint8Array(size);
      return { x: own.slice(1, 1 + size), y: own.slice(1 + size), z };
    } catch (cause) {
      throw new TpmError('usage', "exchange keys: the peer's point is not on the curve", { cause });
    }
  },
  verify(key, signature, message) {
    const hash = hashName(signature.hash);
    if (key.type === 'ecc') curve(key.curve); // an unknown curve is the caller's error, not a wrong signature
    try {
      if (key.type === 'rsa') return signature.scheme !== 'ecdsa' && verifyRsa(key, signature, hash, message);
      return signature.scheme === 'ecdsa' && verifyEcdsa(key, signature, hash, message);
    } catch {
      return false; // OpenSSL could not use the key: nothing verifies under it
    }
  },
};

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

function verifyRsa(
  key: RsaPublicKey,
  signature: Extract<TpmSignature, { readonly scheme: 'rsassa' | 'rsapss' }>,
  hash: string,
  message: Uint8Array,
): boolean {
  const pss = {
    padding: crypto().constants.RSA_PKCS1_PSS_PADDING,
    saltLength: crypto().constants.RSA_PSS_SALTLEN_AUTO,
  };
  const padding = signature.scheme === 'rsapss' ? pss : { padding: crypto().constants.RSA_PKCS1_PADDING };
  return crypto().verify(hash, message, { key: rsaKey(key), ...padding }, signature.signature);
}

function verifyEcdsa(
  key: EccPublicKey,
  signature: Extract<TpmSignature, { readonly scheme: 'ecdsa' }>,
  hash: string,
  message: Uint8Array,
): boolean {
  const { size } = curve(key.curve);
  const r = padTo(signature.r, size);
  const s = padTo(signature.s, size);
  if (!r || !s) return false;
  return crypto().verify(hash, message, { key: eccKey(key), dsaEncoding: 'ieee-p1363' }, concat(r, s));
}

function rsaKey(key: RsaPublicKey): KeyObject {
  const e = Buffer.from(key.exponent.toString(16).padStart(8, '0'), 'hex').toString('base64url');
  return crypto().createPublicKey({ key: { kty: 'RSA', n: base64url(key.modulus), e }, format: 'jwk' });
}

function eccKey(key: EccPublicKey): KeyObject {
  const { jwk, size } = curve(key.curve);
  const point = encodePoint(key, size);
  const x = base64url(point.subarray(1, 1 + size));
  const y = base64url(point.subarray(1 + size));
  return crypto().createPublicKey({ key: { kty: 'EC', crv: jwk, x, y }, format: 'jwk' });
}

function encodePoint(key: EccPublicKey, size: number): Uint8Array {
  const x = padTo(key.x, size);
  const y = padTo(key.y, size);
  if (!x || !y) throw new TpmError('usage', `use ECC point: expected at most ${size} bytes a coordinate`);
  return concat(Uint8Array.of(4), x, y);
}

function curve(identifier: number): { readonly openssl: string; readonly jwk: string; readonly size: number } {
  switch (identifier) {
    case TPM_ECC_CURVE.NIST_P256:
      return { openssl: 'prime256v1', jwk: 'P-256', size: 32 };
    case TPM_ECC_CURVE.NIST_P384:
      return { openssl: 'secp384r1', jwk: 'P-384', size: 48 };
    case TPM_ECC_CURVE.NIST_P521:
      return { openssl: 'secp521r1', jwk: 'P-521', size: 66 };
    default:
      throw new TpmError(
        'usage',
        `use ECC key: expected curve P-256, P-384 or P-521, got TPM_ECC_CURVE 0x${identifier.toString(16)}`,
      );
  }
}

function hashName(algorithm: number): string {
  switch (algorithm) {
    case TPM_ALG.SHA1:
      return 'sha1';
    case TPM_ALG.SHA256:
      return 'sha256';
    case TPM_ALG.SHA384:
      return 'sha384';
    case TPM_ALG.SHA512:
      return 'sha512';
    default:
      throw unknownHash(algorithm);
  }
}

/** A Buffer as the Uint8Array that it is a view of, so that no Buffer method or type leaks. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
