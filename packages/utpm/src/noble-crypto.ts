/** The provider that runs anywhere: @noble for hashes, ciphers and curves, BigInt for RSA. */
import { nobleCrypto, TPM_ALG } from '@casemate/tpm';
import { cbc, cfb, ctr, ecb } from '@noble/ciphers/aes.js';
import type { CipherRequest, CurvePoint, EcdsaSignature, UtpmCrypto } from './crypto.js';
import { type Curve, curveOf } from './curve.js';
import { toBytes, toInteger } from './integer.js';
import { isProbablePrime } from './prime.js';
import { rsaPrivate } from './rsa.js';

/** Of the platform, and not of {@link nobleCrypto}: on Node that loads a file of its own, which a bundle may lack. */
function random(length: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(length));
}

/** The default provider in a browser. RSA runs in BigInt, whose time depends on the values: see LIMITATIONS. */
export const nobleUtpmCrypto: UtpmCrypto = {
  ...nobleCrypto,
  ciphers: [TPM_ALG.AES],
  cipher: aes,
  isProbablePrime: (candidate) => isProbablePrime(candidate, random),
  rsaPrivate: (key, input) => rsaPrivate(key, input, random),
  eccMultiply,
  eccAdd,
  ecdsaSign(key, input) {
    const { noble, size } = needCurve(key.curve);
    const options = { prehash: false, lowS: false, format: 'compact', extraEntropy: random(size) } as const;
    const signature = noble.sign(input.digest, key.d, options);
    return { r: signature.slice(0, size), s: signature.slice(size) };
  },
  ecdsaVerify,
};

function aes({ algorithm, mode, direction, key, iv, data }: CipherRequest): Uint8Array {
  if (algorithm !== TPM_ALG.AES)
    throw new RangeError('run a cipher: expected AES, which is all that this provider has');
  switch (mode) {
    case TPM_ALG.CTR:
      return ctr(key, iv)[direction](data);
    case TPM_ALG.CFB:
      return cfb(key, iv)[direction](data);
    case TPM_ALG.CBC:
      return cbc(key, iv, { disablePadding: true })[direction](data);
    case TPM_ALG.ECB:
      return ecb(key, { disablePadding: true })[direction](data);
    default:
      return ofb(key, iv, data);
  }
}

// The key stream of OFB is the cipher text of zeros in CBC mode.
function ofb(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const zeros = new Uint8Array(Math.ceil(data.length / 16) * 16);
  const stream = cbc(key, iv, { disablePadding: true }).encrypt(zeros);
  return data.map((byte, i) => byte ^ (stream[i] ?? 0));
}

function eccMultiply(id: number, scalar: Uint8Array, point?: CurvePoint): CurvePoint | undefined {
  const curve = needCurve(id);
  const factor = toInteger(scalar) % curve.order;
  const base = point === undefined ? curve.noble.Point.BASE : pointOf(curve, point);
  if (base === undefined || factor === 0n) return undefined;
  return encoded(curve, base.multiply(factor));
}

function eccAdd(id: number, p: CurvePoint, q: CurvePoint): CurvePoint | undefined {
  const curve = needCurve(id);
  const sum = pointOf(curve, q) && pointOf(curve, p)?.add(pointOf(curve, q) ?? curve.noble.Point.ZERO);
  return sum === undefined || sum.is0() ? undefined : encoded(curve, sum);
}

function encoded({ size }: Curve, point: InstanceType<Curve['noble']['Point']>): CurvePoint {
  const { x, y } = point.toAffine();
  return { x: toBytes(x, size), y: toBytes(y, size) };
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
