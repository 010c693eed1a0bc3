/** The public key in a public area, and its forms for others: SubjectPublicKeyInfo (RFC 3279, RFC 5480), PEM, JWK (RFC 7518), OpenSSH (RFC 4253, RFC 5656). */
import { concat, padTo, u32Bytes } from './bytes.js';
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import type { EccPublicKey, RsaPublicKey } from './crypto.js';
import { derBitString, derInteger, derObject, derSequence } from './der.js';
import { DER_TAG, DerReader } from './der-reader.js';
import { decodePem, encodePem, toBase64, toBase64Url } from './pem.js';
import { TpmError } from './response-code.js';
import type { TpmtPublic } from './structures/public.js';

/** A public key as JSON (RFC 7518, section 6); numbers are base64url, big-endian. */
export type PublicJwk =
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string }
  | { readonly kty: 'EC'; readonly crv: 'P-256' | 'P-384' | 'P-521'; readonly x: string; readonly y: string };

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
    const numbers = derSequence(derInteger(key.modulus), derInteger(u32Bytes(key.exponent)));
    return derSequence(derSequence(RSA_ENCRYPTION, DER_NULL), derBitString(numbers));
  }
  const { name } = curveOf(key.curve);
  return derSequence(derSequence(EC_PUBLIC_KEY, CURVE_OBJECTS[name]), derBitString(encodePoint(key)));
}

/** A public area's key as PEM (`PUBLIC KEY`). Throws as {@link publicKeySpki}. */
export function publicKeyPem(publicArea: TpmtPublic): string {
  return encodePem('PUBLIC KEY', publicKeySpki(publicArea));
}

/** A public area's key as JWK, without `use` or `alg`. Throws as {@link publicKeySpki}. */
export function publicKeyJwk(publicArea: TpmtPublic): PublicJwk {
  const key = publicKeyOf(publicArea);
  if (key.type === 'rsa') return { kty: 'RSA', n: number64(key.modulus), e: number64(u32Bytes(key.exponent)) };
  const { name: crv, size } = curveOf(key.curve);
  const point = encodePoint(key);
  return { kty: 'EC', crv, x: toBase64Url(point.subarray(1, 1 + size)), y: toBase64Url(point.subarray(1 + size)) };
}

/** A public area's key as a line of `authorized_keys`, without a newline. Throws as {@link publicKeySpki}. */
export function publicKeySsh(publicArea: TpmtPublic, comment = ''): string {
  const key = publicKeyOf(publicArea);
  const { algorithm, fields } = key.type === 'rsa' ? sshRsa(key) : sshEcc(key);
  const blob = concat(...[ascii(algorithm), ...fields].map((field) => concat(u32Bytes(field.length), field)));
  return `${algorithm} ${toBase64(blob)}${comment === '' ? '' : ` ${comment}`}`;
}

/**
 * Reads a public key from DER SubjectPublicKeyInfo, or from PEM (`PUBLIC KEY`): RSA, or an uncompressed point on P-256,
 * P-384 or P-521. Throws `TpmError` `decode`.
 */
export function parsePublicKey(key: string | Uint8Array): RsaPublicKey | EccPublicKey {
  const reader = new DerReader(typeof key === 'string' ? decodePem(key, ['PUBLIC KEY']).der : key, 'public key');
  const outer = reader.sequence('SubjectPublicKeyInfo');
  reader.finish();
  const algorithm = outer.sequence('algorithm');
  const name = algorithm.object({ rsaEncryption: RSA_ENCRYPTION, 'id-ecPublicKey': EC_PUBLIC_KEY }, 'algorithm');
  const bits = outer.take(DER_TAG.BIT_STRING, 'subjectPublicKey');
  outer.finish();
  if (bits[0] !== 0) throw outer.refuse('expected whole bytes in subjectPublicKey');
  if (name === 'rsaEncryption') return parseRsa(bits.subarray(1));
  const curve = algorithm.object(CURVE_OBJECTS, 'namedCurve');
  return parsePoint(bits.subarray(1), CURVES[curve]);
}

function parseRsa(der: Uint8Array): RsaPublicKey {
  const numbers = new DerReader(der, 'RSA public key').sequence('RSAPublicKey');
  const modulus = numbers.unsigned('modulus').slice();
  const exponent = numbers.number('publicExponent');
  numbers.finish();
  return { type: 'rsa', modulus, exponent };
}

function parsePoint(point: Uint8Array, curve: { readonly id: number; readonly size: number }): EccPublicKey {
  const { id, size } = curve;
  if (point[0] !== 4 || point.length !== 1 + 2 * size) {
    throw new TpmError('decode', `parse public key: expected an uncompressed point of ${1 + 2 * size} bytes`);
  }
  return { type: 'ecc', curve: id, x: point.slice(1, 1 + size), y: point.slice(1 + size) };
}

function sshRsa(key: RsaPublicKey) {
  // An mpint is a DER INTEGER's contents, which start behind tag and length.
  return { algorithm: 'ssh-rsa', fields: [mpint(u32Bytes(key.exponent)), mpint(key.modulus)] };
}

function sshEcc(key: EccPublicKey) {
  const curve = `nistp${curveOf(key.curve).name.slice(2)}`;
  return { algorithm: `ecdsa-sha2-${curve}`, fields: [ascii(curve), encodePoint(key)] };
}

function mpint(unsigned: Uint8Array): Uint8Array {
  const digits = trimZeros(unsigned);
  return (digits[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), digits) : digits;
}

function number64(unsigned: Uint8Array): string {
  return toBase64Url(trimZeros(unsigned));
}

function trimZeros(unsigned: Uint8Array): Uint8Array {
  const start = unsigned.findIndex((byte) => byte !== 0);
  return start === -1 ? new Uint8Array(0) : unsigned.subarray(start);
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** An uncompressed point, coordinates padded to the curve's size. Throws `TpmError` `usage` where one does not fit. */
function encodePoint(key: EccPublicKey): Uint8Array {
  const { size } = curveOf(key.curve);
  const x = padTo(key.x, size);
  const y = padTo(key.y, size);
  if (x && y) return concat(Uint8Array.of(4), x, y);
  throw new TpmError('usage', `encode ECC point: expected coordinates of at most ${size} bytes`);
}

/** Size of a coordinate in bytes. Throws `TpmError` `usage` for a curve other than P-256, P-384 and P-521. */
export function curveSize(curve: number): number {
  return curveOf(curve).size;
}

function curveOf(curve: number) {
  const found = Object.values(CURVES).find(({ id }) => id === curve);
  if (found) return found;
  throw new TpmError(
    'usage',
    `use ECC key: expected curve P-256, P-384 or P-521, got TPM_ECC_CURVE 0x${curve.toString(16)}`,
  );
}

/** rsaEncryption (RFC 3279, section 2.3.1). */
export const RSA_ENCRYPTION = derObject(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1);
/** id-ecPublicKey (RFC 5480, section 2.1.1). */
export const EC_PUBLIC_KEY = derObject(0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1);
/** The named curves (RFC 5480, section 2.1.1.1). */
export const CURVE_OBJECTS = {
  'P-256': derObject(0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7),
  'P-384': derObject(0x2b, 0x81, 0x04, 0, 0x22),
  'P-521': derObject(0x2b, 0x81, 0x04, 0, 0x23),
} as const;
const DER_NULL = Uint8Array.of(5, 0);
const CURVES = {
  'P-256': { name: 'P-256', id: TPM_ECC_CURVE.NIST_P256, size: 32 },
  'P-384': { name: 'P-384', id: TPM_ECC_CURVE.NIST_P384, size: 48 },
  'P-521': { name: 'P-521', id: TPM_ECC_CURVE.NIST_P521, size: 66 },
} as const;
