/** The public key in a public area, and its form for others: SubjectPublicKeyInfo (RFC 3279, RFC 5480). */
import { concat, padTo } from './bytes.js';
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import type { EccPublicKey, RsaPublicKey } from './crypto.js';
import { derBitString, derInteger, derObject, derSequence } from './der.js';
import { TpmError } from './response-code.js';
import type { TpmtPublic } from './structures/public.js';

/** The RSA or ECC key of a public area. Throws `TpmError` `usage` for other objects. */
export function publicKeyOf(publicArea: TpmtPublic): RsaPublicKey | EccPublicKey {
  switch (publicArea.type) {
    case TPM_ALG.RSA: {
      const { exponent } = publicArea.parameters;
      return { type: 'rsa', modulus: publicArea.unique, exponent: exponent === 0 ? 65537 : exponent };
    }
    case TPM_ALG.ECC:
      return { type: 'ecc', curve: publicArea.parameters.curveID, ...publicArea.unique };
    default:
      throw new TpmError(
        'usage',
        `read public key: expected an RSA or ECC object, got type 0x${publicArea.type.toString(16)}`,
      );
  }
}

/** A public area's key as DER SubjectPublicKeyInfo. Throws `TpmError` `usage` where there is none, or none that fits. */
export function publicKeySpki(publicArea: TpmtPublic): Uint8Array {
  const key = publicKeyOf(publicArea);
  if (key.type === 'rsa') {
    const numbers = derSequence(derInteger(key.modulus), derInteger(exponentBytes(key.exponent)));
    return derSequence(derSequence(RSA_ENCRYPTION, DER_NULL), derBitString(numbers));
  }
  const { oid, size } = curveOf(key.curve);
  return derSequence(derSequence(EC_PUBLIC_KEY, oid), derBitString(encodePoint(key, size)));
}

/** An uncompressed point, coordinates padded to the curve's size. Throws `TpmError` `usage` where one does not fit. */
function encodePoint(key: EccPublicKey, size: number): Uint8Array {
  const x = padTo(key.x, size);
  const y = padTo(key.y, size);
  if (x && y) return concat(Uint8Array.of(4), x, y);
  throw new TpmError('usage', `encode ECC point: expected coordinates of at most ${size} bytes`);
}

/** Size of a coordinate in bytes. Throws `TpmError` `usage` for a curve other than P-256, P-384 and P-521. */
export function curveSize(curve: number): number {
  return curveOf(curve).size;
}

function curveOf(curve: number): { readonly oid: Uint8Array; readonly size: number } {
  const found = CURVES[curve];
  if (found) return found;
  throw new TpmError(
    'usage',
    `use ECC key: expected curve P-256, P-384 or P-521, got TPM_ECC_CURVE 0x${curve.toString(16)}`,
  );
}

function exponentBytes(exponent: number): Uint8Array {
  return Uint8Array.of(exponent >>> 24, exponent >>> 16, exponent >>> 8, exponent);
}

const RSA_ENCRYPTION = derObject(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1);
const EC_PUBLIC_KEY = derObject(0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1);
const DER_NULL = Uint8Array.of(5, 0);
const CURVES: Readonly<Record<number, { readonly oid: Uint8Array; readonly size: number }>> = {
  [TPM_ECC_CURVE.NIST_P256]: { oid: derObject(0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7), size: 32 },
  [TPM_ECC_CURVE.NIST_P384]: { oid: derObject(0x2b, 0x81, 0x04, 0, 0x22), size: 48 },
  [TPM_ECC_CURVE.NIST_P521]: { oid: derObject(0x2b, 0x81, 0x04, 0, 0x23), size: 66 },
};
