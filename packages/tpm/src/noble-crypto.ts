/** The default crypto provider, which runs anywhere: @noble/hashes, /ciphers and /curves, and RSA public operations. */
import { cfb } from '@noble/ciphers/aes.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { concat, padTo } from './bytes.js';
import { TPM_ECC_CURVE } from './constants/algorithms.js';
import type { EccPublicKey, EcdhExchange, RsaPublicKey, TpmCrypto, TpmSignature } from './crypto.js';
import { nobleHashes } from './noble-hashes.js';
import { TpmError } from './response-code.js';
import { oaepEncrypt, pkcs1Verify, pssVerify } from './rsa.js';

/** The provider that needs nothing but JavaScript and `crypto.getRandomValues`. */
export const nobleCrypto: TpmCrypto = {
  hash: nobleHashes.hash,
  hmac: nobleHashes.hmac,
  random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  aesCfbEncrypt: (key, iv, data) => cfb(key, iv).encrypt(data),
  aesCfbDecrypt: (key, iv, data) => cfb(key, iv).decrypt(data),
  rsaOaepEncrypt(key, hash, label, message) {
    const seed = crypto.getRandomValues(nobleHashes.hash(hash));
    return oaepEncrypt(key, hash, label, message, seed, nobleHashes);
  },
  ecdh(peer) {
    const { implementation, size } = curve(peer.curve);
    const point = encodePoint(peer, size);
    if (!point) throw new TpmError('usage', `exchange keys: the peer's point does not fit ${size} bytes`);
    return exchange(implementation, size, point);
  },
  verify(key, signature, message) {
    if (key.type === 'rsa') return signature.scheme !== 'ecdsa' && verifyRsa(key, signature, message);
    return signature.scheme === 'ecdsa' && verifyEcdsa(key, signature, message);
  },
};

function exchange(implementation: Curve, size: number, peer: Uint8Array): EcdhExchange {
  const secret = implementation.utils.randomSecretKey();
  try {
    const own = implementation.getPublicKey(secret, false);
    const shared = implementation.getSharedSecret(secret, peer, false);
    return { x: own.slice(1, 1 + size), y: own.slice(1 + size), z: shared.slice(1, 1 + size) };
  } catch (cause) {
    throw new TpmError('usage', "exchange keys: the peer's point is not on the curve", { cause });
  } finally {
    secret.fill(0);
  }
}

function verifyRsa(
  key: RsaPublicKey,
  signature: Extract<TpmSignature, { readonly scheme: 'rsassa' | 'rsapss' }>,
  message: Uint8Array,
): boolean {
  const digest = nobleHashes.hash(signature.hash, message);
  return signature.scheme === 'rsassa'
    ? pkcs1Verify(key, signature.hash, digest, signature.signature)
    : pssVerify(key, signature.hash, digest, signature.signature, nobleHashes);
}

function verifyEcdsa(
  key: EccPublicKey,
  signature: Extract<TpmSignature, { readonly scheme: 'ecdsa' }>,
  message: Uint8Array,
): boolean {
  const { implementation, size } = curve(key.curve);
  const point = encodePoint(key, size);
  const r = padTo(signature.r, size);
  const s = padTo(signature.s, size);
  if (!point || !r || !s) return false;
  const digest = nobleHashes.hash(signature.hash, message);
  try {
    return implementation.verify(concat(r, s), digest, point, { prehash: false, lowS: false });
  } catch {
    return false; // the point is not on the curve, or r or s is out of range
  }
}

function encodePoint(key: EccPublicKey, size: number): Uint8Array | undefined {
  const x = padTo(key.x, size);
  const y = padTo(key.y, size);
  return x && y && concat(Uint8Array.of(4), x, y);
}

type Curve = typeof p256;

function curve(identifier: number): { readonly implementation: Curve; readonly size: number } {
  switch (identifier) {
    case TPM_ECC_CURVE.NIST_P256:
      return { implementation: p256, size: 32 };
    case TPM_ECC_CURVE.NIST_P384:
      return { implementation: p384, size: 48 };
    case TPM_ECC_CURVE.NIST_P521:
      return { implementation: p521, size: 66 };
    default:
      throw new TpmError(
        'usage',
        `use ECC key: expected curve P-256, P-384 or P-521, got TPM_ECC_CURVE 0x${identifier.toString(16)}`,
      );
  }
}
