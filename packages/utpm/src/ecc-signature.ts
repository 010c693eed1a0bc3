/** Signature schemes of elliptic curves besides ECDSA: EC Schnorr, ECDAA and SM2. Part 1, annex C.4; the numbers are BigInts. */
import type { CurvePoint, EccPrivateKey, EcdsaSignature, UtpmCrypto } from './crypto.js';
import { type Curve, curveOf } from './curve.js';
import { modInverse, toBytes, toInteger } from './integer.js';
import { randomScalar } from './scalar.js';

/** What is signed: a digest and the hash algorithm of the scheme. */
export interface Signed {
  /** The TPM_ALG_ID of the hash. */
  readonly hash: number;
  /** The digest. */
  readonly digest: Uint8Array;
}

function needCurve(id: number): Curve {
  const curve = curveOf(id);
  if (curve === undefined) throw new RangeError(`sign on curve 0x${id.toString(16)}: expected one that the TPM has`);
  return curve;
}

/** EC Schnorr (C.4.3): r is the hash of the commitment's x and the digest, s = k + r d. */
export function signSchnorr(crypto: UtpmCrypto, key: EccPrivateKey, signed: Signed): EcdsaSignature {
  const curve = needCurve(key.curve);
  const { order, size } = curve;
  for (;;) {
    const k = randomScalar(crypto, curve);
    const point = crypto.eccMultiply(curve.id, k);
    if (point === undefined) continue;
    const r = schnorrHash(crypto, curve, point.x, signed);
    const s = (toInteger(k) + r * toInteger(key.d)) % order;
    k.fill(0);
    if (r !== 0n && r < order && s !== 0n) return { r: toBytes(r, size), s: toBytes(s, size) };
  }
}

// The hash is cut to the order's length, not reduced.
function schnorrHash(crypto: UtpmCrypto, { size }: Curve, x: Uint8Array, { hash, digest }: Signed): bigint {
  return toInteger(crypto.hash(hash, x, digest).subarray(0, size));
}

/** Is it the EC Schnorr signature of the point's key? */
export function verifySchnorr(
  crypto: UtpmCrypto,
  id: number,
  point: CurvePoint,
  signed: Signed,
  signature: EcdsaSignature,
): boolean {
  const curve = needCurve(id);
  const [r, s] = [toInteger(signature.r), toInteger(signature.s)];
  if (!isInRange(r, curve.order) || !isInRange(s, curve.order)) return false;
  const commitment = sumOf(crypto, curve, s, undefined, curve.order - r, point);
  return commitment !== undefined && schnorrHash(crypto, curve, commitment.x, signed) === r;
}

/** SM2 (GB/T 32918.2) over a digest that already covers the key's parameters. */
export function signSm2(crypto: UtpmCrypto, key: EccPrivateKey, { digest }: Signed): EcdsaSignature {
  const curve = needCurve(key.curve);
  const { order, size } = curve;
  const d = toInteger(key.d);
  for (;;) {
    const secret = randomScalar(crypto, curve);
    const point = crypto.eccMultiply(curve.id, secret);
    if (point === undefined) continue;
    const k = toInteger(secret);
    secret.fill(0);
    const r = (toInteger(digest) + toInteger(point.x)) % order;
    if (r === 0n || r + k === order) continue;
    const difference = (k + (order - ((r * d) % order))) % order;
    const s = (modInverse((d + 1n) % order, order) * difference) % order;
    if (s !== 0n) return { r: toBytes(r, size), s: toBytes(s, size) };
  }
}

/** Is it the SM2 signature of the point's key? */
export function verifySm2(
  crypto: UtpmCrypto,
  id: number,
  point: CurvePoint,
  { digest }: Signed,
  signature: EcdsaSignature,
): boolean {
  const curve = needCurve(id);
  const { order } = curve;
  const [r, s] = [toInteger(signature.r), toInteger(signature.s)];
  if (!isInRange(r, order) || !isInRange(s, order)) return false;
  const t = (r + s) % order;
  if (t === 0n) return false;
  const sum = sumOf(crypto, curve, s, undefined, t, point);
  return sum !== undefined && (toInteger(digest) + toInteger(sum.x)) % order === r;
}

/** ECDAA (C.4.2): `r` is the secret of the commitment; the signature's first half is a nonce. `undefined` where `r` does not serve. */
export function signEcdaa(
  crypto: UtpmCrypto,
  key: EccPrivateKey,
  signed: Signed,
  r: Uint8Array,
): EcdsaSignature | undefined {
  const curve = needCurve(key.curve);
  const { order, size } = curve;
  const nonce = randomScalar(crypto, curve);
  const t = toInteger(crypto.hash(signed.hash, nonce, signed.digest)) % order;
  const s = (toInteger(r) + t * toInteger(key.d)) % order;
  return t === 0n || s === 0n ? undefined : { r: nonce, s: toBytes(s, size) };
}

function isInRange(value: bigint, order: bigint): boolean {
  return value > 0n && value < order;
}

/** a P + b Q; P is the generator where it is not given. */
function sumOf(
  crypto: UtpmCrypto,
  { id, size }: Curve,
  a: bigint,
  p: CurvePoint | undefined,
  b: bigint,
  q: CurvePoint,
): CurvePoint | undefined {
  const first = crypto.eccMultiply(id, toBytes(a, size), p);
  const second = crypto.eccMultiply(id, toBytes(b, size), q);
  return first && second && crypto.eccAdd(id, first, second);
}
