/** Unsigned integers as big-endian bytes, and the modular arithmetic of RSA in BigInt. */
import { invert, pow } from '@noble/curves/abstract/modular.js';
import { bytesToNumberBE, numberToBytesBE } from '@noble/curves/utils.js';

/** The integer that `bytes` hold, most significant byte first; none is 0. */
export function toInteger(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : bytesToNumberBE(bytes);
}

/** `value` in exactly `length` bytes. Throws `RangeError` where it does not fit. */
export function toBytes(value: bigint, length: number): Uint8Array {
  return numberToBytesBE(value, length);
}

/** `base` to the power `exponent` modulo `modulus`; the running time depends on `exponent`. */
export function modPow(base: bigint, exponent: bigint, modulus: bigint): bigint {
  return pow(base, exponent, modulus);
}

/** The inverse of `value` modulo `modulus`. Throws where there is none. */
export function modInverse(value: bigint, modulus: bigint): bigint {
  return invert(value, modulus);
}

/** The number of bits of `value`, 0 for 0. */
export function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}
