/** The provider on node:crypto (OpenSSL), for what OpenSSL does faster or in constant time. */
import {
  checkPrimeSync,
  constants,
  createCipheriv,
  createDecipheriv,
  type KeyObject,
  privateEncrypt,
} from 'node:crypto';
import { TPM_ALG } from '@casemate/tpm';
import type { CipherRequest, UtpmCrypto } from './crypto.js';
import { toBytes } from './integer.js';
import { nobleUtpmCrypto } from './noble-crypto.js';
import {
  aesCfbDecrypt,
  aesCfbEncrypt,
  base64url,
  cached,
  digest,
  mac,
  multiplyGenerator,
  random,
  signMessage,
} from './openssl.js';
import type { RsaPrivateKey } from './rsa.js';

/**
 * The default provider on Node: hashes, HMAC, AES, RSA, ECDSA over messages, key generation and random bytes by OpenSSL. Over inputs as
 * short as those of a TPM, too, OpenSSL takes half of the time that @noble takes, and of HMAC an eighth.
 */
export const nodeUtpmCrypto: UtpmCrypto = {
  ...nobleUtpmCrypto,
  random,
  hash: (alg, ...parts) => digest(alg, parts) ?? nobleUtpmCrypto.hash(alg, ...parts),
  hmac: (alg, key, ...parts) => mac(alg, key, parts) ?? nobleUtpmCrypto.hmac(alg, key, ...parts),
  aesCfbEncrypt,
  aesCfbDecrypt,
  ciphers: [TPM_ALG.AES, TPM_ALG.CAMELLIA, TPM_ALG.TDES],
  cipher: (request) => (request.algorithm === TPM_ALG.AES ? nobleUtpmCrypto.cipher(request) : opensslCipher(request)),
  isProbablePrime: (candidate) => checkPrimeSync(candidate),
  rsaPrivate: (key, input) =>
    new Uint8Array(privateEncrypt({ key: rsaKeyObject(key), padding: constants.RSA_NO_PADDING }, input)),
  eccMultiply: (curve, scalar, point) =>
    (point === undefined ? multiplyGenerator(curve, scalar) : undefined) ??
    nobleUtpmCrypto.eccMultiply(curve, scalar, point),
  ecdsaSign: (key, input) => signMessage(key, input) ?? nobleUtpmCrypto.ecdsaSign(key, input),
};

const MODE_NAMES: Readonly<Record<number, string>> = {
  [TPM_ALG.CTR]: 'ctr',
  [TPM_ALG.OFB]: 'ofb',
  [TPM_ALG.CBC]: 'cbc',
  [TPM_ALG.CFB]: 'cfb',
  [TPM_ALG.ECB]: 'ecb',
};

function opensslCipher(request: CipherRequest): Uint8Array {
  const { algorithm, mode, direction, key, iv, data } = request;
  const isTdes = algorithm === TPM_ALG.TDES;
  // OpenSSL has no counter mode of TDES: its key stream is the encrypted counters.
  if (isTdes && mode === TPM_ALG.CTR) return tdesCounterMode(request);
  const name = `${isTdes ? 'des-ede3' : `camellia-${key.length * 8}`}-${MODE_NAMES[mode]}`;
  // Two keys of TDES are three, of which the last is the first.
  const whole = isTdes && key.length === 16 ? Uint8Array.of(...key, ...key.subarray(0, 8)) : key;
  const vector = mode === TPM_ALG.ECB ? null : iv;
  const cipher = direction === 'encrypt' ? createCipheriv(name, whole, vector) : createDecipheriv(name, whole, vector);
  cipher.setAutoPadding(false);
  return new Uint8Array(Buffer.concat([cipher.update(data), cipher.final()]));
}

function tdesCounterMode(request: CipherRequest): Uint8Array {
  const first = new DataView(request.iv.buffer, request.iv.byteOffset).getBigUint64(0);
  const counters = new DataView(new ArrayBuffer(Math.ceil(request.data.length / 8) * 8));
  for (let at = 0; at < counters.byteLength; at += 8) {
    counters.setBigUint64(at, BigInt.asUintN(64, first + BigInt(at / 8)));
  }
  const blocks = new Uint8Array(counters.buffer);
  const stream = opensslCipher({ ...request, mode: TPM_ALG.ECB, direction: 'encrypt', data: blocks });
  return request.data.map((byte, i) => byte ^ (stream[i] ?? 0));
}

function rsaKeyObject(key: RsaPrivateKey): KeyObject {
  const half = key.size / 2;
  return cached(key, () => ({
    kty: 'RSA',
    n: base64url(toBytes(key.n, key.size)),
    e: base64url(trimmed(toBytes(key.e, 8))),
    d: base64url(toBytes(key.d, key.size)),
    p: base64url(toBytes(key.p, half)),
    q: base64url(toBytes(key.q, half)),
    dp: base64url(toBytes(key.dP, half)),
    dq: base64url(toBytes(key.dQ, half)),
    qi: base64url(toBytes(key.qInv, half)),
  }));
}

function trimmed(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(bytes.findIndex((byte) => byte !== 0));
}
