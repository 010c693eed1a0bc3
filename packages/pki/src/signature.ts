/** Checking a signature with the platform's WebCrypto; the algorithms are those of `algorithm.ts`. */
import {
  COORDINATE_LENGTH,
  ecdsaFromDer,
  type PublicKeyInfo,
  parsePublicKey,
  plainRsa,
  rawPublicKey,
  type SignatureScheme,
  WEB_HASH,
} from './algorithm.js';
import { PkiError } from './error.js';
import { verifyNow } from './platform-crypto.js';
import { mlDsa } from './post-quantum.js';

/** WebCrypto's key handle. */
export type WebKey = Awaited<ReturnType<typeof globalThis.crypto.subtle.importKey>>;
/** The algorithm argument of WebCrypto's importKey. */
export type WebImport = Exclude<Parameters<typeof globalThis.crypto.subtle.importKey>[2], string>;
/** The algorithm argument of WebCrypto's sign and verify. */
export type WebOperation = Exclude<Parameters<typeof globalThis.crypto.subtle.sign>[0], string>;

/**
 * Whether `signature` over `data` verifies with the key in `spki` (SubjectPublicKeyInfo DER).
 * A key that does not fit the scheme, or a signature that is not well formed, is `false`.
 * Throws {@link PkiError} `unsupported` for a key of an unknown or weak kind.
 */
export async function verifySignature(
  spki: Uint8Array,
  scheme: SignatureScheme,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const key = parsePublicKey(spki);
  if (!fits(key, scheme)) return false;
  if (scheme.kind === 'ml-dsa') return mlDsa().verify(scheme.set, rawPublicKey(spki), data, signature);
  const raw = rawSignature(key, signature);
  if (raw === undefined) return false;
  const now = verifyNow(spki, key, scheme, data, signature);
  if (now !== undefined) return now;
  const imported = await importPublic(spki, key, scheme);
  return globalThis.crypto.subtle.verify(operation(scheme), imported, raw.slice(), data.slice());
}

function fits(key: PublicKeyInfo, scheme: SignatureScheme): boolean {
  switch (scheme.kind) {
    case 'ecdsa':
      return key.kind === 'ec';
    case 'ed25519':
      return key.kind === 'ed25519';
    case 'ml-dsa':
      return key.kind === 'ml-dsa' && key.set === scheme.set;
    case 'rsassa':
      return key.kind === 'rsa' && key.scheme === undefined;
    case 'rsapss':
      return key.kind === 'rsa' && (key.scheme === undefined || permits(key.scheme, scheme));
  }
}

/** RFC 4055 section 3.3: a key with parameters permits its own digest and a salt at least as long. */
function permits(restriction: SignatureScheme, scheme: SignatureScheme): boolean {
  return (
    restriction.kind === 'rsapss' &&
    scheme.kind === 'rsapss' &&
    restriction.hash === scheme.hash &&
    scheme.saltLength >= restriction.saltLength
  );
}

function rawSignature(key: PublicKeyInfo, signature: Uint8Array): Uint8Array | undefined {
  if (key.kind !== 'ec') return signature;
  try {
    return ecdsaFromDer(signature, COORDINATE_LENGTH[key.curve]);
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

async function importPublic(spki: Uint8Array, key: PublicKeyInfo, scheme: SignatureScheme): Promise<WebKey> {
  const der = key.kind === 'rsa' ? plainRsa(spki) : spki;
  try {
    return await globalThis.crypto.subtle.importKey('spki', der.slice(), importParameters(key, scheme), false, [
      'verify',
    ]);
  } catch (cause) {
    throw new PkiError(
      'malformed',
      `import public key: expected a valid ${key.kind} key, got one that is refused`,
      cause,
    );
  }
}

/** The parameters that WebCrypto wants for importing a key. */
export function importParameters(key: PublicKeyInfo, scheme: SignatureScheme): WebImport {
  if (key.kind === 'ec') return { name: 'ECDSA', namedCurve: key.curve };
  if (scheme.kind === 'rsassa') return { name: 'RSASSA-PKCS1-v1_5', hash: WEB_HASH[scheme.hash] };
  if (scheme.kind === 'rsapss') return { name: 'RSA-PSS', hash: WEB_HASH[scheme.hash] };
  return { name: 'Ed25519' };
}

/** The parameters that WebCrypto wants for signing and verifying. */
export function operation(scheme: SignatureScheme): WebOperation {
  switch (scheme.kind) {
    case 'ecdsa':
      return { name: 'ECDSA', hash: WEB_HASH[scheme.hash] };
    case 'rsassa':
      return { name: 'RSASSA-PKCS1-v1_5' };
    case 'rsapss':
      return { name: 'RSA-PSS', saltLength: scheme.saltLength };
    case 'ed25519':
      return { name: 'Ed25519' };
    case 'ml-dsa':
      throw new PkiError('unsupported', 'use WebCrypto: expected an algorithm of its own, got ML-DSA');
  }
}
