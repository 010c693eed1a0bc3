/** The crypto provider on node:crypto (OpenSSL). */
import type { KeyObject } from 'node:crypto';
import { concat, padTo } from './bytes.js';
import type { EccPublicKey, RsaPublicKey, TpmCrypto, TpmSignature } from './crypto.js';
import { hashName } from './hash-name.js';
import { base64url, crypto, curve, encodePoint, plain } from './openssl.js';
import { TpmError } from './response-code.js';
import type { AesModes } from './tpm12/crypto.js';

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
