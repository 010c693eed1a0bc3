/** Random scalars: FIPS 186-5, A.2.1, where 64 extra bits make the bias of the reduction negligible. */
import type { Curve } from './curve.js';
import { bitLength, toBytes, toInteger } from './integer.js';
import type { ByteSource } from './prime.js';

/** A scalar from 1 to the order less 1, as long as a coordinate, out of `source`. */
export function scalarFrom(source: ByteSource, { order, size }: Curve): Uint8Array {
  const extra = source(Math.ceil((bitLength(order) + 64) / 8));
  const scalar = toBytes((toInteger(extra) % (order - 1n)) + 1n, size);
  extra.fill(0);
  return scalar;
}

/** A scalar from the provider's random bytes. */
export function randomScalar(crypto: { random(length: number): Uint8Array }, curve: Curve): Uint8Array {
  return scalarFrom((length) => crypto.random(length), curve);
}
