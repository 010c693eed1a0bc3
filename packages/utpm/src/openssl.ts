/** Hashes, HMAC, AES, P-256 to P-521 and random bytes by OpenSSL through node:crypto, as far as it goes: `undefined` where it does not. */
import {
  createCipheriv,
  createDecipheriv,
  createECDH,
  createPrivateKey,
  hash,
  type KeyObject,
  randomFillSync,
  sign,
} from 'node:crypto';
import { TPM_ALG, TPM_ECC_CURVE } from '@casemate/tpm';
import { concat, EMPTY } from './bytes.js';
import type { CurvePoint, EccPrivateKey, SigningInput } from './crypto.js';

/** The hash of the parts, one after another. */
export function digest(alg: number, parts: readonly Uint8Array[]): Uint8Array | undefined {
  const name = HASH_NAMES[alg];
  return name === undefined ? undefined : digestBy(name, parts);
}

function digestBy(name: string, parts: readonly Uint8Array[]): Uint8Array {
  const joined = join(parts);
  // As a string a digest costs a third of what it costs as a Buffer, whose memory is allocated and collected apart.
  const text = hash(name, joined, 'binary');
  wipeJoined(joined);
  return bytesOfText(text);
}

/** The HMAC of the parts, one after another: RFC 2104 as two hashes, half of what OpenSSL's own costs, whose objects Node makes and collects. */
export function mac(alg: number, key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array | undefined {
  const name = HASH_NAMES[alg];
  const block = HMAC_BLOCKS[alg];
  if (name === undefined || block === undefined) return undefined;
  const pad = new Uint8Array(block);
  pad.set(key.length > block ? digestBy(name, [key]) : key);
  for (let i = 0; i < block; i++) pad[i] = (pad[i] ?? 0) ^ INNER_PAD;
  const inner = digestBy(name, [pad, ...parts]);
  for (let i = 0; i < block; i++) pad[i] = (pad[i] ?? 0) ^ INNER_PAD ^ OUTER_PAD;
  const outer = digestBy(name, [pad, inner]);
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

/** AES in CFB mode. */
export const aesCfbEncrypt = (key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array =>
  aesCfb(createCipheriv, key, iv, data);

/** The other way round. */
export const aesCfbDecrypt = (key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array =>
  aesCfb(createDecipheriv, key, iv, data);

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

const POOL = new Uint8Array(4096);
let used = POOL.length;

/** Random bytes; one call into OpenSSL for many short draws, and what was handed out is overwritten at once. */
export function random(length: number): Uint8Array {
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
const CURVES: Readonly<Record<number, { readonly jwk: string; readonly ecdh: string; readonly size: number }>> = {
  [TPM_ECC_CURVE.NIST_P256]: { jwk: 'P-256', ecdh: 'prime256v1', size: 32 },
  [TPM_ECC_CURVE.NIST_P384]: { jwk: 'P-384', ecdh: 'secp384r1', size: 48 },
  [TPM_ECC_CURVE.NIST_P521]: { jwk: 'P-521', ecdh: 'secp521r1', size: 66 },
};

/** A multiple of the curve's generator. */
export function multiplyGenerator(curve: number, scalar: Uint8Array): CurvePoint | undefined {
  const names = CURVES[curve];
  if (names === undefined) return undefined;
  const ecdh = createECDH(names.ecdh);
  try {
    ecdh.setPrivateKey(scalar);
  } catch {
    return undefined; // it takes scalars from 1 to the order less 1 alone
  }
  const point = new Uint8Array(ecdh.getPublicKey());
  const size = (point.length - 1) / 2;
  return { x: point.slice(1, 1 + size), y: point.slice(1 + size) };
}

/** An ECDSA signature. OpenSSL as Node offers it hashes what it signs, so only a message whose hash was not made elsewhere can go there. */
export function signMessage(key: EccPrivateKey, input: SigningInput): { r: Uint8Array; s: Uint8Array } | undefined {
  const hash = HASH_NAMES[input.hash];
  if (input.message === undefined || hash === undefined || CURVES[key.curve] === undefined) return undefined;
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
    crv: CURVES[key.curve]?.jwk ?? '',
    x: base64url(key.x),
    y: base64url(key.y),
    d: base64url(padded(key.d, CURVES[key.curve]?.size ?? key.d.length)),
  }));
}

/** What `jwk` gives, made once for each `key`. */
export function cached(key: object, jwk: () => Record<string, string>): KeyObject {
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

/** As in a JSON Web Key. */
export function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}
