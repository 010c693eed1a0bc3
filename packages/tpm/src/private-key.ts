/** Private keys of software, read from PEM or DER: PKCS #8 (RFC 5958), PKCS #1 (RFC 8017, A.1.2) and SEC 1 (RFC 5915). */
import { TPM_ECC_CURVE } from './constants/algorithms.js';
import { DER_TAG, DerReader } from './der-reader.js';
import { decodePem } from './pem.js';
import { CURVE_OBJECTS, EC_PUBLIC_KEY, RSA_ENCRYPTION } from './public-key.js';
import { TpmError } from './response-code.js';
import type { EccPrivateKey, RsaPrivateKey } from './secret.js';

/**
 * Reads an RSA or EC private key that is not encrypted: PEM text, or DER in one of the three forms. An EC key must hold
 * its public point, as OpenSSL and node:crypto write it. Throws `TpmError` `decode`.
 */
export function parsePrivateKey(key: string | Uint8Array): RsaPrivateKey | EccPrivateKey {
  if (typeof key !== 'string') return parseDer(key);
  const { label, der } = decodePem(key, ['PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY']);
  if (label === 'RSA PRIVATE KEY') return parsePkcs1(der);
  return label === 'EC PRIVATE KEY' ? parseSec1(der) : parsePkcs8(der);
}

/** The three forms begin alike and differ in version and second element. */
function parseDer(der: Uint8Array): RsaPrivateKey | EccPrivateKey {
  const outer = new DerReader(der, 'private key').sequence('PrivateKey');
  const version = outer.number('version');
  if (version === 1 && outer.optional(DER_TAG.OCTET_STRING, 'privateKey')) return parseSec1(der);
  return outer.optional(DER_TAG.SEQUENCE, 'privateKeyAlgorithm') ? parsePkcs8(der) : parsePkcs1(der);
}

function parsePkcs8(der: Uint8Array): RsaPrivateKey | EccPrivateKey {
  const outer = whole(der, 'PKCS #8 key');
  outer.number('version');
  const algorithm = outer.sequence('privateKeyAlgorithm');
  const name = algorithm.object({ rsaEncryption: RSA_ENCRYPTION, 'id-ecPublicKey': EC_PUBLIC_KEY }, 'algorithm');
  if (name === 'rsaEncryption') return parsePkcs1(outer.take(DER_TAG.OCTET_STRING, 'privateKey'));
  const curve = curveIn(algorithm);
  return parseSec1(outer.take(DER_TAG.OCTET_STRING, 'privateKey'), curve);
}

function parsePkcs1(der: Uint8Array): RsaPrivateKey {
  const numbers = whole(der, 'RSA private key');
  if (numbers.number('version') !== 0) throw numbers.refuse('expected two primes, got a key with more');
  const modulus = numbers.unsigned('modulus').slice();
  const exponent = numbers.number('publicExponent');
  numbers.unsigned('privateExponent');
  const prime = numbers.unsigned('prime1').slice();
  if (prime.length * 2 !== modulus.length) {
    throw numbers.refuse(`expected primes of half the modulus, got ${prime.length} of ${modulus.length} bytes`);
  }
  return { type: 'rsa', modulus, exponent, prime };
}

function parseSec1(der: Uint8Array, named?: number): EccPrivateKey {
  const outer = whole(der, 'EC private key');
  if (outer.number('version') !== 1) throw outer.refuse('expected version 1');
  const d = outer.take(DER_TAG.OCTET_STRING, 'privateKey').slice();
  const parameters = outer.explicit(0, 'parameters');
  const curve = parameters ? curveIn(parameters) : named;
  const point = outer.explicit(1, 'publicKey')?.take(DER_TAG.BIT_STRING, 'publicKey');
  if (curve === undefined || !point) throw outer.refuse('expected a curve and the public point, got a key without');
  return { type: 'ecc', curve, d, ...uncompressed(point, d.length) };
}

/** The coordinates of a point in a BIT STRING (RFC 5480, section 2.2): uncompressed, of `size` bytes each. */
function uncompressed(bitString: Uint8Array, size: number): { readonly x: Uint8Array; readonly y: Uint8Array } {
  const [unused, form] = bitString;
  if (unused !== 0 || form !== 4 || bitString.length !== 2 + 2 * size) {
    throw new TpmError('decode', `parse EC key: expected an uncompressed point of ${2 * size} bytes`);
  }
  return { x: bitString.slice(2, 2 + size), y: bitString.slice(2 + size) };
}

function curveIn(parameters: DerReader): number {
  return CURVE_IDS[parameters.object(CURVE_OBJECTS, 'curve')];
}

function whole(der: Uint8Array, subject: string): DerReader {
  const reader = new DerReader(der, subject);
  const outer = reader.sequence(subject);
  reader.finish();
  return outer;
}

const CURVE_IDS = {
  'P-256': TPM_ECC_CURVE.NIST_P256,
  'P-384': TPM_ECC_CURVE.NIST_P384,
  'P-521': TPM_ECC_CURVE.NIST_P521,
} as const;
