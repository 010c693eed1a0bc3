/** The elliptic curves: Part 2, 6.4, with the parameters of SP 800-186. */
import { TPM_ALG, TPM_ECC_CURVE } from '@casemate/tpm';
import { p256, p384, p521 } from '@noble/curves/nist.js';

/** The implementation of one curve by @noble/curves. */
export type NobleCurve = typeof p256;

/** A curve that the TPM has. */
export interface Curve {
  /** The TPM_ECC_CURVE. */
  readonly id: number;
  /** The size of the field in bits: the key size. */
  readonly bits: number;
  /** The length of a coordinate and of a scalar in bytes. */
  readonly size: number;
  /** The order of the generator. */
  readonly order: bigint;
  /** The prime of the field. */
  readonly prime: bigint;
  /** The hash algorithm whose strength is the curve's. */
  readonly hash: typeof TPM_ALG.SHA256 | typeof TPM_ALG.SHA384 | typeof TPM_ALG.SHA512;
  /** The arithmetic. */
  readonly noble: NobleCurve;
}

/** All curves, by ascending identifier. */
export const CURVES: readonly Curve[] = [
  curve(TPM_ECC_CURVE.NIST_P256, 256, TPM_ALG.SHA256, p256),
  curve(TPM_ECC_CURVE.NIST_P384, 384, TPM_ALG.SHA384, p384),
  curve(TPM_ECC_CURVE.NIST_P521, 521, TPM_ALG.SHA512, p521),
];

/** The curve of a TPM_ECC_CURVE, or `undefined` where the TPM does not have it. */
export function curveOf(id: number): Curve | undefined {
  return CURVES.find((entry) => entry.id === id);
}

function curve(id: number, bits: number, hash: Curve['hash'], noble: NobleCurve): Curve {
  return { id, bits, hash, size: Math.ceil(bits / 8), order: noble.Point.Fn.ORDER, prime: noble.Point.Fp.ORDER, noble };
}
