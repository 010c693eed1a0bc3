/** The provider that runs anywhere: @noble for hashes, ciphers and curves, BigInt for RSA. */
import { nobleCrypto } from '@casemate/tpm';
import type { CurvePoint, EcdsaSignature, UtpmCrypto } from './crypto.js';
import { type Curve, curveOf } from './curve.js';
import { toBytes, toInteger } from './integer.js';
import { isProbablePrime } from './prime.js';
import { rsaPrivate } from './rsa.js';

/** The default provider in a browser. RSA runs in BigInt, whose time depends on the values: see LIMITATIONS. */
export const nobleUtpmCrypto: UtpmCrypto = {
  ...nobleCrypto,
  isProbablePrime: (candidate) => isProbablePrime(candidate, nobleCrypto.random),
  rsaPrivate: (key, input) => rsaPrivate(key, input, nobleCrypto.random),
  eccMultiply,
  ecdsaSign(key, input) {
    const { noble, size } = needCurve(key.curve);
    const options = { prehash: false, lowS: false, format: 'compact', extraEntropy: nobleCrypto.random(size) } as const;
    const signature = noble.sign(input.digest, key.d, options);
    return { r: signature.slice(0, size), s: signature.slice(size) };
  },
  ecdsaVerify,
};

function eccMultiply(id: number, scalar: Uint8Array, point?: CurvePoint): CurvePoint | undefined {
  const curve = needCurve(id);
  const factor = toInteger(scalar) % curve.order;
  const base = point === undefined ? curve.noble.Point.BASE : pointOf(curve, point);
  if (base === undefined || factor === 0n) return undefined;
  const { x, y } = base.multiply(factor).toAffine();
  return { x: toBytes(x, curve.size), y: toBytes(y, curve.size) };
}

function ecdsaVerify(id: number, point: CurvePoint, digest: Uint8Array, signature: EcdsaSignature): boolean {
  const curve = needCurve(id);
  const key = pointOf(curve, point);
  const r = toInteger(signature.r);
  const s = toInteger(signature.s);
  if (key === undefined || r === 0n || s === 0n || r >= curve.order || s >= curve.order) return false;
  const compact = new Uint8Array(2 * curve.size);
  compact.set(toBytes(r, curve.size));
  compact.set(toBytes(s, curve.size), curve.size);
  return curve.noble.verify(compact, digest, key.toBytes(false), { prehash: false, lowS: false, format: 'compact' });
}

// A point that is not on the curve would leak the scalar bit by bit (invalid-curve attack).
function pointOf(curve: Curve, point: CurvePoint): InstanceType<Curve['noble']['Point']> | undefined {
  const affine = { x: toInteger(point.x), y: toInteger(point.y) };
  if (affine.x >= curve.prime || affine.y >= curve.prime) return undefined;
  if (affine.x === 0n && affine.y === 0n) return undefined;
  try {
    const found = curve.noble.Point.fromAffine(affine);
    found.assertValidity();
    return found;
  } catch {
    return undefined;
  }
}

function needCurve(id: number): Curve {
  const curve = curveOf(id);
  if (curve === undefined) throw new RangeError(`use curve 0x${id.toString(16)}: expected one that the TPM has`);
  return curve;
}
