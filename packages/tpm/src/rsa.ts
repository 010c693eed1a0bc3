/** RSA public operations: OAEP encryption and the checks of PKCS #1 v1.5 and PSS signatures (RFC 8017). */
import { concat, equalBytes, hex, u32Bytes } from './bytes.js';
import { TPM_ALG } from './constants/algorithms.js';
import type { RsaPublicKey, TpmHashes } from './crypto.js';
import { hashSize } from './hashes.js';
import { TpmError } from './response-code.js';

/**
 * RSAES-OAEP (RFC 8017, 7.1.1). `seed` must be fresh random bytes as long as the hash.
 * Only the public exponent is ever an exponent here, so the timing of BigInt reveals no key; the message is exposed to it.
 */
export function oaepEncrypt(
  key: RsaPublicKey,
  hash: number,
  label: Uint8Array,
  message: Uint8Array,
  seed: Uint8Array,
  hashes: TpmHashes,
): Uint8Array {
  const size = key.modulus.length;
  const room = size - 2 * hashSize(hash) - 2;
  if (message.length > room) {
    throw new TpmError('usage', `encrypt by OAEP: expected at most ${room} bytes, got ${message.length}`);
  }
  const padding = new Uint8Array(room - message.length);
  const block = concat(hashes.hash(hash, label), padding, Uint8Array.of(1), message);
  const maskedBlock = xor(block, mgf1(hash, seed, block.length, hashes));
  const maskedSeed = xor(seed, mgf1(hash, maskedBlock, seed.length, hashes));
  block.fill(0);
  return publicOperation(key, concat(Uint8Array.of(0), maskedSeed, maskedBlock));
}

/** RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.2): builds the one right encoding and compares, so no padding is parsed. */
export function pkcs1Verify(key: RsaPublicKey, hash: number, digest: Uint8Array, signature: Uint8Array): boolean {
  const info = concat(digestInfoPrefix(hash), digest);
  const filler = key.modulus.length - info.length - 3;
  if (filler < 8 || signature.length !== key.modulus.length) return false;
  const expected = concat(Uint8Array.of(0, 1), new Uint8Array(filler).fill(0xff), Uint8Array.of(0), info);
  return isReduced(key, signature) && equalBytes(publicOperation(key, signature), expected);
}

/** RSASSA-PSS (RFC 8017, 9.1.2) with any salt length, because TPMs use either the digest's or the longest that fits. */
export function pssVerify(
  key: RsaPublicKey,
  hash: number,
  digest: Uint8Array,
  signature: Uint8Array,
  hashes: TpmHashes,
): boolean {
  if (signature.length !== key.modulus.length || !isReduced(key, signature)) return false;
  const bits = bitLength(key.modulus) - 1;
  const whole = publicOperation(key, signature);
  const encoded = whole.subarray(whole.length - Math.ceil(bits / 8));
  if (whole.length > encoded.length && whole[0] !== 0) return false;
  const blockLength = encoded.length - digest.length - 1;
  if (blockLength < 1 || encoded.at(-1) !== 0xbc) return false;
  const masked = encoded.subarray(0, blockLength);
  const unused = (0xff00 >> (8 * encoded.length - bits)) & 0xff;
  if (((masked[0] ?? 0) & unused) !== 0) return false;
  const claimed = encoded.subarray(blockLength, -1);
  const block = xor(masked, mgf1(hash, claimed, blockLength, hashes));
  if (block[0] !== undefined) block[0] &= ~unused;
  const one = block.findIndex((byte) => byte !== 0);
  if (one === -1 || block[one] !== 1) return false;
  return equalBytes(hashes.hash(hash, new Uint8Array(8), digest, block.subarray(one + 1)), claimed);
}

/** The DER that precedes a digest in a DigestInfo (RFC 8017, 9.2, note 1). */
function digestInfoPrefix(hash: number): Uint8Array {
  const size = hashSize(hash);
  // The SHA-2 identifiers end in 1 to 3 in the order of their TPM identifiers 0x0b to 0x0d.
  const oid = hash === TPM_ALG.SHA1 ? [0x2b, 0x0e, 3, 2, 0x1a] : [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hash - 0x0a];
  const algorithm = [0x30, oid.length + 4, 0x06, oid.length, ...oid, 0x05, 0x00];
  return Uint8Array.of(0x30, algorithm.length + 2 + size, ...algorithm, 0x04, size);
}

function mgf1(hash: number, seed: Uint8Array, length: number, hashes: TpmHashes): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let have = 0; have < length; have += hashSize(hash)) {
    blocks.push(hashes.hash(hash, seed, u32Bytes(blocks.length)));
  }
  return concat(...blocks).slice(0, length);
}

function publicOperation(key: RsaPublicKey, block: Uint8Array): Uint8Array {
  if (!isUsable(key)) {
    throw new TpmError('usage', 'use RSA key: expected an odd modulus of at most 16384 bits and an odd exponent');
  }
  const modulus = toInteger(key.modulus);
  const base = toInteger(block);
  let power = 1n;
  for (const bit of key.exponent.toString(2)) {
    power = (power * power) % modulus;
    if (bit === '1') power = (power * base) % modulus;
  }
  return fromInteger(power, key.modulus.length);
}

function isUsable({ modulus, exponent }: RsaPublicKey): boolean {
  const odd = (modulus.at(-1) ?? 0) % 2 === 1 && exponent % 2 === 1;
  return odd && exponent >= 3 && exponent <= 0xffffffff && modulus.length <= 2048;
}

function isReduced(key: RsaPublicKey, signature: Uint8Array): boolean {
  return isUsable(key) && toInteger(signature) < toInteger(key.modulus);
}

function bitLength(value: Uint8Array): number {
  return toInteger(value).toString(2).length;
}

function toInteger(value: Uint8Array): bigint {
  return BigInt(`0x0${hex(value)}`);
}

function fromInteger(value: bigint, length: number): Uint8Array {
  const digits = value.toString(16).padStart(2 * length, '0');
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, i) => byte ^ (b[i] ?? 0));
}
