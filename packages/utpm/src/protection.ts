/** How sensitive areas, duplicates and credentials are protected: Part 1, clauses 22 to 24 and annex B.10/C.6. */
import { kdfA, kdfE, TPM_ALG, TPM_RC, TpmsEccPoint, type TpmtPublicOrNull } from '@casemate/tpm';
import { encode, Reader } from '@casemate/wire';
import { blockSize, cfb, zeroIv } from './block-cipher.js';
import { concat, isEqual, label, padStart, u16Bytes } from './bytes.js';
import { curveOf, padPoint } from './curve.js';
import { readOrRefuse } from './decoding.js';
import { digesterOf, digestSize } from './implementation.js';
import { toInteger } from './integer.js';
import { eccKeyOf, rsaKeyOf } from './key.js';
import type { TpmObject } from './object.js';
import { symmetricOf } from './public-area.js';
import { refuse } from './refusal.js';
import { decodeOaep, encodeOaep, rsaPublic } from './rsa.js';
import { randomScalar } from './scalar.js';
import type { Tpm } from './tpm.js';

/** A block cipher in CFB mode, which is how parents protect whatever mode their public area names. */
export interface Cipher {
  /** The TPM_ALG_ID of the cipher. */
  readonly algorithm: number;
  /** The key size in bits. */
  readonly bits: number;
}

/** What protects under a seed: the seed, its hash algorithm and the cipher. */
export interface Protector {
  /** The seedValue of a parent, or a seed that was exchanged. */
  readonly seed: Uint8Array;
  /** The nameAlg of the parent. */
  readonly hash: number;
  /** The cipher of the parent. */
  readonly cipher: Cipher;
}

/** The protector that a storage key is; refuses with TPM_RC_TYPE where it is none. */
export function protectorOf(parent: TpmObject): Protector {
  return {
    seed: parent.sensitive?.seedValue ?? refuse(TPM_RC.TYPE),
    hash: parent.public.nameAlg,
    cipher: parentCipher(parent.public),
  };
}

/** The cipher of a storage key's public area. */
export function parentCipher(area: TpmtPublicOrNull): Cipher {
  const symmetric = symmetricOf(area);
  if (symmetric?.keyBits === undefined) return refuse(TPM_RC.TYPE);
  return { algorithm: symmetric.algorithm, bits: symmetric.keyBits };
}

/** TPM2B_PRIVATE of a child: outer HMAC over an IV and the encrypted sensitive area, bound to the child's Name. */
export function wrap(tpm: Tpm, protector: Protector, name: Uint8Array, plain: Uint8Array): Uint8Array {
  const { algorithm } = protector.cipher;
  const iv = tpm.crypto.random(blockSize(algorithm));
  const key = storageKey(tpm, protector, name);
  const body = concat(sized(iv), cfb(tpm.crypto, 'encrypt', algorithm, key, iv, sized(plain)));
  key.fill(0);
  return concat(sized(integrity(tpm, protector, body, name)), body);
}

/** Undoes `wrap`; refuses with TPM_RC_INTEGRITY where anything was changed. */
export function unwrap(tpm: Tpm, protector: Protector, name: Uint8Array, blob: Uint8Array): Uint8Array {
  const body = checkIntegrity(tpm, protector, name, blob);
  const reader = new Reader(body);
  const iv = takeSized(reader);
  const { algorithm } = protector.cipher;
  if (iv.length !== blockSize(algorithm)) refuse(TPM_RC.VALUE);
  const key = storageKey(tpm, protector, name);
  const plain = cfb(tpm.crypto, 'decrypt', algorithm, key, iv, reader.take(reader.remaining, 'sensitive'));
  key.fill(0);
  return unsized(plain);
}

/** The outer wrap of a duplicate or a credential: as `wrap`, but the key is used once and so the IV is zero and not sent. */
export function wrapOnce(tpm: Tpm, protector: Protector, name: Uint8Array, plain: Uint8Array): Uint8Array {
  const key = storageKey(tpm, protector, name);
  const { algorithm } = protector.cipher;
  const body = cfb(tpm.crypto, 'encrypt', algorithm, key, zeroIv(algorithm), plain);
  key.fill(0);
  return concat(sized(integrity(tpm, protector, body, name)), body);
}

/** Undoes `wrapOnce`; refuses with TPM_RC_INTEGRITY where anything was changed. */
export function unwrapOnce(tpm: Tpm, protector: Protector, name: Uint8Array, blob: Uint8Array): Uint8Array {
  const body = checkIntegrity(tpm, protector, name, blob);
  const key = storageKey(tpm, protector, name);
  const { algorithm } = protector.cipher;
  const plain = cfb(tpm.crypto, 'decrypt', algorithm, key, zeroIv(algorithm), body);
  key.fill(0);
  return plain;
}

/** The caller's cipher and key for the inner wrap of a duplicate. */
export interface InnerKey {
  /** The TPM_ALG_ID of the cipher. */
  readonly algorithm: number;
  /** Its key. */
  readonly key: Uint8Array;
}

/** The inner wrap of a duplicate (Part 1, 23.3.2.3): a digest over sensitive area and Name, both encrypted with the caller's key. */
export function wrapInner(tpm: Tpm, hash: number, inner: InnerKey, name: Uint8Array, plain: Uint8Array): Uint8Array {
  const whole = concat(sized(tpm.crypto.hash(hash, plain, name)), plain);
  return cfb(tpm.crypto, 'encrypt', inner.algorithm, inner.key, zeroIv(inner.algorithm), whole);
}

/** Undoes `wrapInner`; refuses with TPM_RC_INTEGRITY where anything was changed. */
export function unwrapInner(tpm: Tpm, hash: number, inner: InnerKey, name: Uint8Array, blob: Uint8Array): Uint8Array {
  const reader = new Reader(cfb(tpm.crypto, 'decrypt', inner.algorithm, inner.key, zeroIv(inner.algorithm), blob));
  const digest = takeSized(reader);
  const plain = reader.take(reader.remaining, 'sensitive');
  if (!isEqual(digest, tpm.crypto.hash(hash, plain, name))) refuse(TPM_RC.INTEGRITY);
  return plain;
}

/** `bytes` behind their length as u16. */
export function sized(bytes: Uint8Array): Uint8Array {
  return concat(u16Bytes(bytes.length), bytes);
}

/** What stands behind the length that `bytes` begin with; refuses where it is not all of the rest. */
export function unsized(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes);
  const inner = takeSized(reader);
  return reader.remaining === 0 ? inner : refuse(TPM_RC.SIZE);
}

function takeSized(reader: Reader): Uint8Array {
  if (reader.remaining < 2) refuse(TPM_RC.INSUFFICIENT);
  const size = reader.u16('size');
  return size <= reader.remaining ? reader.take(size, 'buffer') : refuse(TPM_RC.SIZE);
}

function storageKey(tpm: Tpm, protector: Protector, name: Uint8Array): Uint8Array {
  const { seed, hash, cipher } = protector;
  return kdfA({ hash, key: seed, label: 'STORAGE', contextU: name, bits: cipher.bits }, tpm.crypto);
}

function integrity(tpm: Tpm, protector: Protector, body: Uint8Array, name: Uint8Array): Uint8Array {
  const { seed, hash } = protector;
  const key = kdfA({ hash, key: seed, label: 'INTEGRITY', bits: digestSize(hash) * 8 }, tpm.crypto);
  const hmac = tpm.crypto.hmac(hash, key, body, name);
  key.fill(0);
  return hmac;
}

function checkIntegrity(tpm: Tpm, protector: Protector, name: Uint8Array, blob: Uint8Array): Uint8Array {
  const reader = new Reader(blob);
  const found = takeSized(reader);
  const body = reader.take(reader.remaining, 'body');
  return isEqual(found, integrity(tpm, protector, body, name)) ? body : refuse(TPM_RC.INTEGRITY);
}

/** A seed that was made for the owner of a key, and the form in which only that owner can read it. */
export interface SharedSecret {
  /** The seed. */
  readonly seed: Uint8Array;
  /** TPM2B_ENCRYPTED_SECRET. */
  readonly encrypted: Uint8Array;
}

/** Makes a seed and encrypts it to a key (Part 1, B.10.3 and C.6.3); `use` is its label, such as `DUPLICATE`. */
export function shareSecret(tpm: Tpm, key: TpmtPublicOrNull, use: string): SharedSecret {
  const hash = key.nameAlg;
  if (key.type === TPM_ALG.RSA) {
    const seed = tpm.crypto.random(digestSize(hash));
    const size = key.unique.length;
    const padded =
      encodeOaep(size, seed, label(use), digesterOf(tpm.crypto, hash), tpm.crypto.random) ?? refuse(TPM_RC.VALUE);
    const e = BigInt(key.parameters.exponent === 0 ? 65537 : key.parameters.exponent);
    return { seed, encrypted: rsaPublic({ n: toInteger(key.unique), e, size }, padded) };
  }
  if (key.type !== TPM_ALG.ECC) return refuse(TPM_RC.KEY);
  const curve = curveOf(key.parameters.curveID) ?? refuse(TPM_RC.CURVE);
  const peer = padPoint(curve, key.unique);
  const scalar = randomScalar(tpm.crypto, curve);
  const own = tpm.crypto.eccMultiply(curve.id, scalar) ?? refuse(TPM_RC.NO_RESULT);
  const { x: z } = tpm.crypto.eccMultiply(curve.id, scalar, peer) ?? refuse(TPM_RC.KEY);
  const parties = { partyUInfo: own.x, partyVInfo: peer.x };
  const seed = kdfE({ hash, z, label: use, ...parties, bits: digestSize(hash) * 8 }, tpm.crypto);
  scalar.fill(0);
  z.fill(0);
  return { seed, encrypted: encode(TpmsEccPoint, own) };
}

/** Reads a seed that was encrypted to a loaded key; refuses where it is malformed. */
export function receiveSecret(tpm: Tpm, key: TpmObject, use: string, encrypted: Uint8Array): Uint8Array {
  return key.public.type === TPM_ALG.RSA
    ? receiveByRsa(tpm, key, use, encrypted)
    : receiveByEcc(tpm, key, use, encrypted);
}

function receiveByRsa(tpm: Tpm, key: TpmObject, use: string, encrypted: Uint8Array): Uint8Array {
  const rsa = rsaKeyOf(key);
  const hash = key.public.nameAlg;
  if (encrypted.length !== rsa.size || toInteger(encrypted) >= rsa.n) return refuse(TPM_RC.VALUE);
  const padded = tpm.crypto.rsaPrivate(rsa, encrypted);
  const seed = decodeOaep(padded, label(use), digesterOf(tpm.crypto, hash));
  padded.fill(0);
  if (seed === undefined || seed.length > digestSize(hash)) return refuse(TPM_RC.VALUE);
  return seed;
}

function receiveByEcc(tpm: Tpm, key: TpmObject, use: string, encrypted: Uint8Array): Uint8Array {
  if (key.public.type !== TPM_ALG.ECC) return refuse(TPM_RC.KEY);
  const own = eccKeyOf(key);
  const { size } = curveOf(own.curve) ?? refuse(TPM_RC.CURVE);
  const sent = readOrRefuse(TpmsEccPoint, new Reader(encrypted));
  const peer = { x: padStart(sent.x, size), y: padStart(sent.y, size) };
  const shared = tpm.crypto.eccMultiply(own.curve, own.d, peer) ?? refuse(TPM_RC.ECC_POINT);
  const hash = key.public.nameAlg;
  // The reference implementation hashes the coordinate as it came, and tpm2-tools leaves leading zeros out.
  const parties = { partyUInfo: sent.x, partyVInfo: own.x };
  const seed = kdfE({ hash, z: shared.x, label: use, ...parties, bits: digestSize(hash) * 8 }, tpm.crypto);
  shared.x.fill(0);
  return seed;
}
