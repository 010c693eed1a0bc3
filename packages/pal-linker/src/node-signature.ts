/** Signatures by node:crypto, under the names that `@casemate/pki` gives to algorithms. */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';
import { PalLinkerError } from './error.js';
import type { PalSignatureCheck, PalSigner } from './signature.js';

/** How {@link openSigningKey} opens a key. */
export interface SigningKeyOptions {
  /** What an encrypted key is encrypted with. */
  readonly passphrase?: string;
  /** How an RSA key signs: `pkcs1` unless given. Keys that are for PSS alone sign so. */
  readonly padding?: 'pkcs1' | 'pss';
}

/** The digest, the padding and the key that an algorithm's name stands for. */
interface Scheme {
  readonly name: string;
  readonly hash: string | null;
  readonly padding?: number;
}

/**
 * Opens a private key (PEM of PKCS#8, SEC1 or PKCS#1) as a signer: ECDSA on P-256, P-384 or P-521 with the digest of its size,
 * Ed25519, or RSA of 2,048, 3,072 or 4,096 bits with SHA-256. Throws {@link PalLinkerError} with code `input`.
 */
export function openSigningKey(pem: string, options: SigningKeyOptions = {}): PalSigner {
  const key = privateKeyOf(pem, options.passphrase);
  const name = defaultAlgorithm(key, options.padding ?? 'pkcs1');
  const publicKey = Uint8Array.from(createPublicKey(key).export({ type: 'spki', format: 'der' }));
  const { hash, ...how } = schemeFor(key, name) ?? unknownKey(key);
  return {
    algorithm: name,
    publicKey,
    sign: async (data) => Uint8Array.from(sign(hash, data, { key, ...nodeOptions(how) })),
  };
}

/**
 * A verifier for {@link verifyPalSignature}: `ecdsa-CURVE-HASH`, `rsassa-BITS-HASH`, `rsapss-BITS-HASH` and `ed25519`, with
 * curve, bits and kind as the key really has them. For other algorithms, keys that do not fit, or keys that are not canonical
 * DER: false.
 */
export function nodeVerifier({ algorithm, publicKey, message, signature }: PalSignatureCheck): boolean {
  const key = publicKeyOf(publicKey);
  const scheme = key && schemeFor(key, algorithm);
  if (!key || !scheme) return false;
  try {
    return verify(scheme.hash, message, { key, ...nodeOptions(scheme) }, signature);
  } catch {
    return false; // OpenSSL throws at some malformed signatures
  }
}

/**
 * The SubjectPublicKeyInfo (DER) of a public key or a certificate in PEM, or in DER.
 * Throws {@link PalLinkerError} with code `input`.
 */
export function spkiOf(content: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(content);
  const isPem = text.includes('-----BEGIN ');
  const isPublicPem = isPem && text.includes('-----BEGIN PUBLIC KEY-----');
  try {
    if (isPem && !isPublicPem && !text.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it is something else');
    const key = isPublicPem ? createPublicKey(text) : (publicKeyOf(content) ?? new X509Certificate(content).publicKey);
    return Uint8Array.from(key.export({ type: 'spki', format: 'der' }));
  } catch (error) {
    throw new PalLinkerError(
      'input',
      'read signer: expected a public key or a certificate, in PEM or DER',
      {},
      { cause: error },
    );
  }
}

function privateKeyOf(pem: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
  } catch (error) {
    const isEncrypted = /ENCRYPTED/.test(pem);
    const expected = isEncrypted ? 'the passphrase that it is encrypted with' : 'a private key in PEM';
    throw new PalLinkerError('input', `open signing key: expected ${expected}`, {}, { cause: error });
  }
}

/** Only canonical encodings: the signer's identity is a digest of these very bytes. */
function publicKeyOf(der: Uint8Array): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
    return key.export({ format: 'der', type: 'spki' }).equals(der) ? key : undefined;
  } catch {
    return undefined;
  }
}

const CURVES: Readonly<Record<string, readonly [name: string, hash: string]>> = {
  prime256v1: ['p256', 'sha256'],
  secp384r1: ['p384', 'sha384'],
  secp521r1: ['p521', 'sha512'],
};
const HASHES = ['sha256', 'sha384', 'sha512'];
const RSA_BITS = [2048, 3072, 4096];

function defaultAlgorithm(key: KeyObject, padding: 'pkcs1' | 'pss'): string {
  const type = key.asymmetricKeyType;
  if (type === 'ed25519') return 'ed25519';
  const details = key.asymmetricKeyDetails;
  const curve = CURVES[details?.namedCurve ?? ''];
  if (type === 'ec' && curve) return `ecdsa-${curve[0]}-${curve[1]}`;
  const isPss = type === 'rsa-pss' || (type === 'rsa' && padding === 'pss');
  if (isPss) return `rsapss-${details?.modulusLength}-sha256`;
  return type === 'rsa' ? `rsassa-${details?.modulusLength}-sha256` : unknownKey(key);
}

function unknownKey(key: KeyObject): never {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  const got = [key.asymmetricKeyType, namedCurve, modulusLength].filter((part) => part !== undefined).join(' ');
  throw new PalLinkerError(
    'input',
    `open signing key: expected ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of 2048, 3072 or 4096 bits, got ${got}`,
  );
}

/** What `name` means for this key; `undefined` where it is no algorithm of it. */
function schemeFor(key: KeyObject, name: string): Scheme | undefined {
  return schemesOf(key).find((scheme) => scheme.name === name);
}

function schemesOf(key: KeyObject): readonly Scheme[] {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const curve = CURVES[namedCurve]?.[0];
  const type = key.asymmetricKeyType;
  if (type === 'ed25519') return [{ name: 'ed25519', hash: null }];
  if (type === 'ec' && curve) return HASHES.map((hash) => ({ name: `ecdsa-${curve}-${hash}`, hash }));
  if (!RSA_BITS.includes(modulusLength) || (type !== 'rsa' && type !== 'rsa-pss')) return [];
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING };
  const forPss = HASHES.map((hash) => ({ name: `rsapss-${modulusLength}-${hash}`, hash, ...pss }));
  const forPkcs1 = HASHES.map((hash) => ({ name: `rsassa-${modulusLength}-${hash}`, hash }));
  return type === 'rsa' ? [...forPkcs1, ...forPss] : forPss;
}

/** PSS salts are as long as the digest, as pki makes them and RFC 4055 advises. */
function nodeOptions({ padding }: Pick<Scheme, 'padding'>) {
  return padding === undefined ? {} : { padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}
