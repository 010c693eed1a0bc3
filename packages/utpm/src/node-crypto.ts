/** The provider on node:crypto (OpenSSL), for what OpenSSL does faster or in constant time. */
import {
  checkPrimeSync,
  constants,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createPrivateKey,
  hash,
  type KeyObject,
  privateEncrypt,
  randomFillSync,
  sign,
} from 'node:crypto';
import { TPM_ALG, TPM_ECC_CURVE } from '@casemate/tpm';
import { concat, EMPTY } from './bytes.js';
import type { CipherRequest, CurvePoint, EccPrivateKey, SigningInput, UtpmCrypto } from './crypto.js';
import { curveOf } from './curve.js';
import { toBytes } from './integer.js';
import { nobleUtpmCrypto } from './noble-crypto.js';
import type { RsaPrivateKey } from './rsa.js';

/**
 * The default provider on Node: hashes, HMAC, AES, RSA, ECDSA over messages, key generation and random bytes by OpenSSL. Over inputs as
 * short as those of a TPM, too, OpenSSL takes half of the time that @noble takes, and of HMAC an eighth.
 */
export const nodeUtpmCrypto: UtpmCrypto = {
  ...nobleUtpmCrypto,
  random,
  hash: (alg, ...parts) => digest(alg, parts),
  hmac: (alg, key, ...parts) => mac(alg, key, parts),
  aesCfbEncrypt: (key, iv, data) => aesCfb(createCipheriv, key, iv, data),
  aesCfbDecrypt: (key, iv, data) => aesCfb(createDecipheriv, key, iv, data),
  ciphers: [TPM_ALG.AES, TPM_ALG.CAMELLIA, TPM_ALG.TDES],
  cipher: (request) => (request.algorithm === TPM_ALG.AES ? nobleUtpmCrypto.cipher(request) : opensslCipher(request)),
  isProbablePrime: (candidate) => checkPrimeSync(candidate),
  rsaPrivate: (key, input) =>
    new Uint8Array(privateEncrypt({ key: rsaKeyObject(key), padding: constants.RSA_NO_PADDING }, input)),
  eccMultiply: (curve, scalar, point) =>
    point === undefined ? multiplyGenerator(curve, scalar) : nobleUtpmCrypto.eccMultiply(curve, scalar, point),
  ecdsaSign: (key, input) => signMessage(key, input) ?? nobleUtpmCrypto.ecdsaSign(key, input),
};

function digest(alg: number, parts: readonly Uint8Array[]): Uint8Array {
  const name = HASH_NAMES[alg];
  if (name === undefined) return nobleUtpmCrypto.hash(alg, ...parts);
  const joined = join(parts);
  // As a string a digest costs a third of what it costs as a Buffer, whose memory is allocated and collected apart.
  const text = hash(name, joined, 'binary');
  wipeJoined(joined);
  return bytesOfText(text);
}

// RFC 2104 as two hashes: half of what OpenSSL's own HMAC costs, whose objects Node makes and collects.
function mac(alg: number, key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const block = HMAC_BLOCKS[alg];
  if (block === undefined) return nobleUtpmCrypto.hmac(alg, key, ...parts);
  const pad = new Uint8Array(block);
  pad.set(key.length > block ? digest(alg, [key]) : key);
  for (let i = 0; i < block; i++) pad[i] = (pad[i] ?? 0) ^ INNER_PAD;
  const inner = digest(alg, [pad, ...parts]);
  for (let i = 0; i < block; i++) pad[i] = (pad[i] ?? 0) ^ INNER_PAD ^ OUTER_PAD;
  const outer = digest(alg, [pad, inner]);
  pad.fill(0);
  inner.fill(0);
  return outer;
}

const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;
/** How many bytes the hashes take at a time. */
const HMAC_BLOCKS: Readonly<Record<number, number>> = {
  [TPM_ALG.SHA1]: 64,
  [TPM_ALG.SHA256]: 64,
  [TPM_ALG.SHA384]: 128,
  [TPM_ALG.SHA512]: 128,
};

function bytesOfText(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Longer than what most commands hash. Memory for more than 64 bytes costs more to allocate than to hash.
const JOINED = new Uint8Array(1024);
/** The first bytes of it, by how many. */
const STARTS: Uint8Array[] = [];

// Each part that is handed over by itself is a call into OpenSSL more.
function join(parts: readonly Uint8Array[]): Uint8Array {
  const [first = EMPTY] = parts;
  if (parts.length < 2) return first;
  let length = 0;
  for (const part of parts) length += part.length;
  if (length > JOINED.length) return concat(...parts);
  let at = 0;
  for (const part of parts) {
    if (part.length > 8) JOINED.set(part, at);
    else for (let i = 0; i < part.length; i++) JOINED[at + i] = part[i] ?? 0;
    at += part.length;
  }
  const joined = STARTS[length] ?? JOINED.subarray(0, length);
  STARTS[length] = joined;
  return joined;
}

// What may be secret does not stay.
function wipeJoined(joined: Uint8Array): void {
  if (joined === STARTS[joined.length]) joined.fill(0);
}

function aesCfb(
  open: typeof createCipheriv | typeof createDecipheriv,
  key: Uint8Array,
  iv: Uint8Array,
  data: Uint8Array,
): Uint8Array {
  return plainBytes(open(`aes-${key.length * 8}-cfb`, key, iv).update(data));
}

// Nobody wants to find Buffers in values.
function plainBytes(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer);
}

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

const POOL = new Uint8Array(4096);
let used = POOL.length;

// One call into OpenSSL for many short draws; what was handed out is overwritten at once.
function random(length: number): Uint8Array {
  if (length > 256) return randomFillSync(new Uint8Array(length));
  if (used + length > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  const drawn = POOL.slice(used, used + length);
  POOL.fill(0, used, used + length);
  used += length;
  return drawn;
}

const HASH_NAMES: Readonly<Record<number, string>> = {
  [TPM_ALG.SHA1]: 'sha1',
  [TPM_ALG.SHA256]: 'sha256',
  [TPM_ALG.SHA384]: 'sha384',
  [TPM_ALG.SHA512]: 'sha512',
};
const CURVE_NAMES: Readonly<Record<number, { readonly jwk: string; readonly ecdh: string }>> = {
  [TPM_ECC_CURVE.NIST_P256]: { jwk: 'P-256', ecdh: 'prime256v1' },
  [TPM_ECC_CURVE.NIST_P384]: { jwk: 'P-384', ecdh: 'secp384r1' },
  [TPM_ECC_CURVE.NIST_P521]: { jwk: 'P-521', ecdh: 'secp521r1' },
};

function multiplyGenerator(curve: number, scalar: Uint8Array): CurvePoint | undefined {
  const names = CURVE_NAMES[curve];
  if (names === undefined) return nobleUtpmCrypto.eccMultiply(curve, scalar);
  const ecdh = createECDH(names.ecdh);
  try {
    ecdh.setPrivateKey(scalar);
  } catch {
    // OpenSSL takes scalars from 1 to the order less 1 alone.
    return nobleUtpmCrypto.eccMultiply(curve, scalar);
  }
  const point = new Uint8Array(ecdh.getPublicKey());
  const size = (point.length - 1) / 2;
  return { x: point.slice(1, 1 + size), y: point.slice(1 + size) };
}

// OpenSSL as Node offers it hashes what it signs, so only a message whose hash was not made elsewhere can go there.
function signMessage(key: EccPrivateKey, input: SigningInput): { r: Uint8Array; s: Uint8Array } | undefined {
  const hash = HASH_NAMES[input.hash];
  if (input.message === undefined || hash === undefined || CURVE_NAMES[key.curve] === undefined) return undefined;
  const { buffer, byteOffset, length } = sign(hash, input.message, signingOptions(key));
  const half = length / 2;
  return { r: new Uint8Array(buffer, byteOffset, half), s: new Uint8Array(buffer, byteOffset + half, half) };
}

interface SigningOptions {
  readonly key: KeyObject;
  readonly dsaEncoding: 'ieee-p1363';
}

const signers = new WeakMap<EccPrivateKey, SigningOptions>();

function signingOptions(key: EccPrivateKey): SigningOptions {
  const known = signers.get(key);
  if (known !== undefined) return known;
  const made = { key: eccKeyObject(key), dsaEncoding: 'ieee-p1363' } as const;
  signers.set(key, made);
  return made;
}

const keyObjects = new WeakMap<object, KeyObject>();

function eccKeyObject(key: EccPrivateKey): KeyObject {
  return cached(key, () => ({
    kty: 'EC',
    crv: CURVE_NAMES[key.curve]?.jwk ?? '',
    x: base64url(key.x),
    y: base64url(key.y),
    d: base64url(padded(key.d, curveOf(key.curve)?.size ?? key.d.length)),
  }));
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

function cached(key: object, jwk: () => Record<string, string>): KeyObject {
  const known = keyObjects.get(key);
  if (known !== undefined) return known;
  const made = createPrivateKey({ format: 'jwk', key: jwk() });
  keyObjects.set(key, made);
  return made;
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes;
  const out = new Uint8Array(length);
  out.set(bytes, length - bytes.length);
  return out;
}

function trimmed(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(bytes.findIndex((byte) => byte !== 0));
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}
