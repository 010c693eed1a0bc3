/** The elliptic curves of the TPM: Part 2, 6.4, and Part 1, annex C.2; the arithmetic is @noble/curves'. */
import { TPM_ALG, TPM_ECC_CURVE } from '@casemate/tpm';
import { ecdsa, weierstrass } from '@noble/curves/abstract/weierstrass.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { padStart } from './bytes.js';
import type { CurvePoint } from './crypto.js';
import { toInteger } from './integer.js';

/** The implementation of one curve by @noble/curves. */
type NobleCurve = typeof p256;

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
  /** The hash of the key derivation that TPM2_ECC_Parameters tells; TPM_ALG_NULL where it tells none. */
  readonly hash: number;
  /** The arithmetic. */
  readonly noble: NobleCurve;
}

interface Domain {
  readonly p: string;
  readonly a: string;
  readonly b: string;
  readonly x: string;
  readonly y: string;
  readonly n: string;
}

// SP 800-186, 3.2.1, and FIPS 186-4, D.1.2.1: P-192 and P-224.
const P192: Domain = {
  p: 'fffffffffffffffffffffffffffffffeffffffffffffffff',
  a: 'fffffffffffffffffffffffffffffffefffffffffffffffc',
  b: '64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1',
  x: '188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012',
  y: '07192b95ffc8da78631011ed6b24cdd573f977a11e794811',
  n: 'ffffffffffffffffffffffff99def836146bc9b1b4d22831',
};
const P224: Domain = {
  p: 'ffffffffffffffffffffffffffffffff000000000000000000000001',
  a: 'fffffffffffffffffffffffffffffffefffffffffffffffffffffffe',
  b: 'b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4',
  x: 'b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21',
  y: 'bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34',
  n: 'ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d',
};
// ISO/IEC 15946-5, the Barreto-Naehrig curves that the TCG assigned (TCG Algorithm Registry, 5.2).
const BN_P256: Domain = {
  p: 'fffffffffffcf0cd46e5f25eee71a49f0cdc65fb12980a82d3292ddbaed33013',
  a: '0',
  b: '3',
  x: '1',
  y: '2',
  n: 'fffffffffffcf0cd46e5f25eee71a49e0cdc65fb1299921af62d536cd10b500d',
};
const BN_P638: Domain = {
  p: '23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52ffffdd0e00008de55c00086520021e55bfffff51ffff4eb800000004c80015acdffffffffffffece00000000000000067',
  a: '0',
  b: '101',
  x: '23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52ffffdd0e00008de55c00086520021e55bfffff51ffff4eb800000004c80015acdffffffffffffece00000000000000066',
  y: '10',
  n: '23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52ffffdd0e00008de55600086550021e555fffff54ffff4eac000000049800154d9ffffffffffffeda00000000000000061',
};
// GB/T 32918.5.
const SM2: Domain = {
  p: 'fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff',
  a: 'fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc',
  b: '28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93',
  x: '32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7',
  y: 'bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0',
  n: 'fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123',
};

function fromDomain({ p, a, b, x, y, n }: Domain): NobleCurve {
  const [P, A, B, Gx, Gy, N] = [p, a, b, x, y, n].map((text) => BigInt(`0x${text}`)) as [bigint, ...bigint[]];
  return ecdsa(weierstrass({ p: P, a: A ?? 0n, b: B ?? 0n, Gx: Gx ?? 0n, Gy: Gy ?? 0n, n: N ?? 0n, h: 1n }), sha256);
}

/** All curves, by ascending identifier. */
export const CURVES: readonly Curve[] = [
  curve(TPM_ECC_CURVE.NIST_P192, 192, TPM_ALG.SHA256, fromDomain(P192)),
  curve(TPM_ECC_CURVE.NIST_P224, 224, TPM_ALG.SHA256, fromDomain(P224)),
  curve(TPM_ECC_CURVE.NIST_P256, 256, TPM_ALG.SHA256, p256),
  curve(TPM_ECC_CURVE.NIST_P384, 384, TPM_ALG.SHA384, p384),
  curve(TPM_ECC_CURVE.NIST_P521, 521, TPM_ALG.SHA512, p521),
  curve(TPM_ECC_CURVE.BN_P256, 256, TPM_ALG.NULL, fromDomain(BN_P256)),
  curve(TPM_ECC_CURVE.BN_P638, 638, TPM_ALG.NULL, fromDomain(BN_P638)),
  curve(TPM_ECC_CURVE.SM2_P256, 256, TPM_ALG.SM3_256, fromDomain(SM2)),
];

/** The curve of a TPM_ECC_CURVE, or `undefined` where the TPM does not have it. */
export function curveOf(id: number): Curve | undefined {
  return CURVES.find((entry) => entry.id === id);
}

/** Is the point, given by coordinates of any length, on the curve? */
export function isOnCurve({ prime, noble }: Curve, point: CurvePoint): boolean {
  const { x, y } = { x: toInteger(point.x), y: toInteger(point.y) };
  if (x >= prime || y >= prime || (x === 0n && y === 0n)) return false;
  try {
    noble.Point.fromAffine({ x, y }).assertValidity();
    return true;
  } catch {
    return false;
  }
}

/** The point with coordinates as long as the field. */
export function padPoint({ size }: Curve, { x, y }: CurvePoint): CurvePoint {
  return { x: padStart(x, size), y: padStart(y, size) };
}

function curve(id: number, bits: number, hash: number, noble: NobleCurve): Curve {
  return { id, bits, hash, size: Math.ceil(bits / 8), order: noble.Point.Fn.ORDER, prime: noble.Point.Fp.ORDER, noble };
}
