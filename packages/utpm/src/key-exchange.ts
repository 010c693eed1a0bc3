/** Key exchanges with two keys on each side: Part 1, C.6.4 and C.8; SP 800-56A, 6.1.1.2 and 6.1.1.4; GB/T 32918.3. */
import { TPM_ALG } from '@casemate/tpm';
import { EMPTY } from './bytes.js';
import type { CurvePoint, UtpmCrypto } from './crypto.js';
import type { Curve } from './curve.js';
import { bitLength, toBytes, toInteger } from './integer.js';

/** A party's two keys. */
export interface TwoKeys<Key> {
  /** The one that lasts. */
  readonly fixed: Key;
  /** The one of this exchange. */
  readonly ephemeral: Key;
}

/** The shared points: two for ECDH, one and an empty one for ECMQV and SM2. `undefined` where there is no result. */
export function exchangeTwice(
  crypto: UtpmCrypto,
  curve: Curve,
  scheme: number,
  own: TwoKeys<Uint8Array>,
  peer: TwoKeys<CurvePoint>,
): readonly [CurvePoint, CurvePoint] | undefined {
  if (scheme === TPM_ALG.ECDH) {
    const first = crypto.eccMultiply(curve.id, own.fixed, peer.fixed);
    const second = crypto.eccMultiply(curve.id, own.ephemeral, peer.ephemeral);
    return first && second && [first, second];
  }
  const shared = scheme === TPM_ALG.SM2 ? sm2(crypto, curve, own, peer) : mqv(crypto, curve, own, peer);
  return shared && [shared, { x: EMPTY, y: EMPTY }];
}

// (de + avf(Qe) ds)(Qe' + avf(Qe') Qs'); the cofactor of every curve is 1.
function mqv(
  crypto: UtpmCrypto,
  curve: Curve,
  own: TwoKeys<Uint8Array>,
  peer: TwoKeys<CurvePoint>,
): CurvePoint | undefined {
  const half = Math.ceil(bitLength(curve.order) / 2);
  const point = crypto.eccMultiply(curve.id, own.ephemeral);
  if (point === undefined) return undefined;
  const implicit = toInteger(own.ephemeral) + associate(point, half) * toInteger(own.fixed);
  const weighted = crypto.eccMultiply(curve.id, toBytes(associate(peer.ephemeral, half), curve.size), peer.fixed);
  return combined(crypto, curve, implicit, peer.ephemeral, weighted);
}

// (ds + avf(Qe) de)(Qs' + avf(Qe') Qe'), with an associate value that is a bit shorter than that of MQV.
function sm2(
  crypto: UtpmCrypto,
  curve: Curve,
  own: TwoKeys<Uint8Array>,
  peer: TwoKeys<CurvePoint>,
): CurvePoint | undefined {
  const half = Math.ceil(bitLength(curve.order) / 2) - 1;
  const point = crypto.eccMultiply(curve.id, own.ephemeral);
  if (point === undefined) return undefined;
  const implicit = toInteger(own.fixed) + associate(point, half) * toInteger(own.ephemeral);
  const weighted = crypto.eccMultiply(curve.id, toBytes(associate(peer.ephemeral, half), curve.size), peer.ephemeral);
  return combined(crypto, curve, implicit, peer.fixed, weighted);
}

function associate({ x }: CurvePoint, bits: number): bigint {
  return BigInt.asUintN(bits, toInteger(x)) + (1n << BigInt(bits));
}

function combined(
  crypto: UtpmCrypto,
  { id, size, order }: Curve,
  scalar: bigint,
  p: CurvePoint,
  q: CurvePoint | undefined,
): CurvePoint | undefined {
  const sum = q && crypto.eccAdd(id, p, q);
  return sum && crypto.eccMultiply(id, toBytes(scalar % order, size), sum);
}
