/** RSA: keys from a random stream, and the paddings of Part 1, annex B (PKCS #1 v2.2, RFC 8017). */
import { isEqual } from './bytes.js';
import { bitLength, modInverse, modPow, toBytes, toInteger } from './integer.js';
import { type ByteSource, hasSmallFactor } from './prime.js';

/** The public half: modulus and exponent. */
export interface RsaPublicKey {
  /** The modulus. */
  readonly n: bigint;
  /** The public exponent. */
  readonly e: bigint;
  /** The length of the modulus in bytes. */
  readonly size: number;
}

/** A private key with its Chinese-remainder form. BigInts cannot be wiped: they live until they are collected. */
export interface RsaPrivateKey extends RsaPublicKey {
  /** The private exponent. */
  readonly d: bigint;
  /** The first prime: the only private value that a TPM stores. */
  readonly p: bigint;
  /** The second prime. */
  readonly q: bigint;
  /** `d` modulo `p - 1`. */
  readonly dP: bigint;
  /** `d` modulo `q - 1`. */
  readonly dQ: bigint;
  /** The inverse of `q` modulo `p`. */
  readonly qInv: bigint;
}

/** Hash of the concatenation of `parts` with an algorithm that the caller fixed, and the length of its digest in bytes. */
export interface Digester {
  /** The length of a digest in bytes. */
  readonly length: number;
  /** Hashes `parts` one after another. */
  hash(...parts: readonly Uint8Array[]): Uint8Array;
}

/** The primality test that key generation uses; the provider's. */
export type PrimalityTest = (candidate: bigint) => boolean;

/** A key of `bits` bits with exponent `e`, determined by `source`: two primes by FIPS 186-5 A.1.3. */
export function generateRsaKey(bits: number, e: bigint, source: ByteSource, isPrime: PrimalityTest): RsaPrivateKey {
  const p = generatePrime(bits / 2, e, source, isPrime);
  for (;;) {
    const q = generatePrime(bits / 2, e, source, isPrime);
    const distance = p > q ? p - q : q - p;
    if (bitLength(distance) > bits / 2 - 100) return rsaPrivateKey(p * q, e, p);
  }
}

// The two top bits are set, so that the product of two primes always has all its bits; that also is above the bound of A.1.3.
function generatePrime(bits: number, e: bigint, source: ByteSource, isPrime: PrimalityTest): bigint {
  const top = 3n << BigInt(bits - 2);
  for (;;) {
    const candidate = toInteger(source(bits / 8)) | top | 1n;
    if (hasSmallFactor(candidate) || gcd(candidate - 1n, e) !== 1n) continue;
    if (isPrime(candidate)) return candidate;
  }
}

/** Completes a private key from its modulus and first prime. Throws `RangeError` where the prime does not divide the modulus. */
export function rsaPrivateKey(n: bigint, e: bigint, p: bigint): RsaPrivateKey {
  if (p < 3n || n % p !== 0n) throw new RangeError('build an RSA private key: the prime does not divide the modulus');
  const q = n / p;
  const d = modInverse(e, lcm(p - 1n, q - 1n));
  return {
    n,
    e,
    size: Math.ceil(bitLength(n) / 8),
    d,
    p,
    q,
    dP: d % (p - 1n),
    dQ: d % (q - 1n),
    qInv: modInverse(q, p),
  };
}

/** The raw public operation; `input` is below the modulus. Throws `RangeError` where it is not. */
export function rsaPublic(key: RsaPublicKey, input: Uint8Array): Uint8Array {
  const value = toInteger(input);
  if (value >= key.n) throw new RangeError('run RSA: the input is not below the modulus');
  return toBytes(modPow(value, key.e, key.n), key.size);
}

/**
 * The raw private operation in BigInt: blinded, by the Chinese remainder theorem, checked before it is returned.
 * BigInt arithmetic is not constant-time; blinding hides the input from timing, not the key's bit pattern from a local observer.
 */
export function rsaPrivate(key: RsaPrivateKey, input: Uint8Array, random: ByteSource): Uint8Array {
  const value = toInteger(input);
  if (value >= key.n) throw new RangeError('run RSA: the input is not below the modulus');
  const blind = (toInteger(random(key.size)) % (key.n - 2n)) + 2n;
  const blinded = (value * modPow(blind, key.e, key.n)) % key.n;
  const a = modPow(blinded % key.p, key.dP, key.p);
  const b = modPow(blinded % key.q, key.dQ, key.q);
  const h = (((a - (b % key.p) + key.p) % key.p) * key.qInv) % key.p;
  const result = ((b + h * key.q) * modInverse(blind, key.n)) % key.n;
  // A fault in one half of the CRT would give the factors away (Boneh, DeMillo, Lipton 1997).
  if (modPow(result, key.e, key.n) !== value) throw new Error('run RSA: the result does not verify');
  return toBytes(result, key.size);
}

/** EMSA-PKCS1-v1_5 (RFC 8017 9.2): the padded `prefix` (a DigestInfo without the digest) and `digest`. */
export function encodePkcs1(size: number, prefix: Uint8Array, digest: Uint8Array): Uint8Array | undefined {
  const start = size - prefix.length - digest.length;
  if (start < 11) return undefined;
  const block = new Uint8Array(size).fill(0xff);
  block.set([0, 1]);
  block[start - 1] = 0;
  block.set(prefix, start);
  block.set(digest, start + prefix.length);
  return block;
}

/** EMSA-PSS (RFC 8017 9.1.1) over a modulus of `bits` bits, with a salt as long as the digest or as fits. */
export function encodePss(
  bits: number,
  digest: Uint8Array,
  digester: Digester,
  random: ByteSource,
): Uint8Array | undefined {
  const length = Math.ceil((bits - 1) / 8);
  const saltLength = Math.min(digester.length, length - digester.length - 2);
  if (saltLength < 0) return undefined;
  const salt = random(saltLength);
  const hash = digester.hash(new Uint8Array(8), digest, salt);
  const block = new Uint8Array(length);
  block[length - digester.length - saltLength - 2] = 1;
  block.set(salt, length - digester.length - saltLength - 1);
  mask(block.subarray(0, length - digester.length - 1), hash, digester);
  block[0] = (block[0] ?? 0) & (0xff >> (8 * length - (bits - 1)));
  block.set(hash, length - digester.length - 1);
  block[length - 1] = 0xbc;
  const out = new Uint8Array(Math.ceil(bits / 8));
  out.set(block, out.length - length);
  return out;
}

/** Is `encoded`, the result of the public operation, an EMSA-PSS block over `digest`, with a salt of any length? */
export function isPss(bits: number, encoded: Uint8Array, digest: Uint8Array, digester: Digester): boolean {
  const length = Math.ceil((bits - 1) / 8);
  const block = encoded.slice(encoded.length - length);
  const hashAt = length - digester.length - 1;
  if (hashAt < 1 || block[length - 1] !== 0xbc) return false;
  if (encoded.length > length && encoded[0] !== 0) return false;
  const unused = 8 * length - (bits - 1);
  if (((block[0] ?? 0) & ~(0xff >> unused)) !== 0) return false;
  const hash = block.slice(hashAt, length - 1);
  const db = block.subarray(0, hashAt);
  mask(db, hash, digester);
  db[0] = (db[0] ?? 0) & (0xff >> unused);
  const one = db.findIndex((byte) => byte !== 0);
  if (one < 0 || db[one] !== 1) return false;
  return isEqual(hash, digester.hash(new Uint8Array(8), digest, db.slice(one + 1)));
}

/** EME-OAEP (RFC 8017 7.1.1); `label` includes its terminating zero where it has one. */
export function encodeOaep(
  size: number,
  message: Uint8Array,
  label: Uint8Array,
  digester: Digester,
  random: ByteSource,
): Uint8Array | undefined {
  const h = digester.length;
  if (message.length > size - 2 * h - 2) return undefined;
  const block = new Uint8Array(size);
  const seed = random(h);
  const db = block.subarray(1 + h);
  db.set(digester.hash(label));
  db[db.length - message.length - 1] = 1;
  db.set(message, db.length - message.length);
  mask(db, seed, digester);
  block.set(seed, 1);
  mask(block.subarray(1, 1 + h), db, digester);
  return block;
}

/** Undoes EME-OAEP (RFC 8017 7.1.2) without a branch on secret bytes until the verdict; `undefined` where it is not one. */
export function decodeOaep(encoded: Uint8Array, label: Uint8Array, digester: Digester): Uint8Array | undefined {
  const h = digester.length;
  if (encoded.length < 2 * h + 2) return undefined;
  const block = encoded.slice();
  const seed = block.subarray(1, 1 + h);
  const db = block.subarray(1 + h);
  mask(seed, db, digester);
  mask(db, seed, digester);
  const expected = digester.hash(label);
  let bad = block[0] ?? 1;
  for (let i = 0; i < h; i++) bad |= (db[i] ?? 0) ^ (expected[i] ?? 0);
  let start = 0;
  let looking = 1;
  for (let i = h; i < db.length; i++) {
    const byte = db[i] ?? 0;
    const isOne = looking & Number(byte === 1);
    bad |= looking & (1 ^ isOne) & Number(byte !== 0);
    start |= -isOne & (i + 1);
    looking &= 1 ^ isOne;
  }
  const message = bad === 0 && looking === 0 ? db.slice(start) : undefined;
  block.fill(0);
  return message;
}

/** RSAES-PKCS1-v1_5 (RFC 8017 7.2.1). */
export function encodeRsaes(size: number, message: Uint8Array, random: ByteSource): Uint8Array | undefined {
  const padding = size - message.length - 3;
  if (padding < 8) return undefined;
  const block = new Uint8Array(size);
  block[1] = 2;
  for (let i = 0; i < padding; i++) block[2 + i] = nonZero(random);
  block.set(message, size - message.length);
  return block;
}

/** Undoes RSAES-PKCS1-v1_5 (RFC 8017 7.2.2); `undefined` where it is not one. A caller must not tell a stranger which it was. */
export function decodeRsaes(encoded: Uint8Array): Uint8Array | undefined {
  const end = encoded.indexOf(0, 2);
  if (encoded[0] !== 0 || encoded[1] !== 2 || end < 10) return undefined;
  return encoded.slice(end + 1);
}

// MGF1 (RFC 8017 B.2.1), xored into `target`.
function mask(target: Uint8Array, seed: Uint8Array, digester: Digester): void {
  const counter = new Uint8Array(4);
  for (let at = 0, i = 0; at < target.length; at += digester.length, i++) {
    new DataView(counter.buffer).setUint32(0, i);
    const block = digester.hash(seed, counter);
    const length = Math.min(block.length, target.length - at);
    for (let j = 0; j < length; j++) target[at + j] = (target[at + j] ?? 0) ^ (block[j] ?? 0);
  }
}

function nonZero(random: ByteSource): number {
  for (;;) {
    const byte = random(1)[0] ?? 0;
    if (byte !== 0) return byte;
  }
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

function lcm(a: bigint, b: bigint): bigint {
  return (a / gcd(a, b)) * b;
}
