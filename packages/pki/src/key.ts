/** Signing keys: one small interface, and keys that live in memory behind it (PKCS#8, RFC 5958). */
import {
  ecdsaToDer,
  importKind,
  parsePublicKey,
  pkcs8ForImport,
  type SignatureAlgorithm,
  type SignatureScheme,
  schemeOf,
} from './algorithm.js';
import { equalBytes } from './bytes.js';
import { PkiError } from './error.js';
import { platformSigner } from './platform-crypto.js';
import { mlDsa } from './post-quantum.js';
import { importParameters, operation, verifySignature, type WebImport, type WebKey } from './signature.js';

/** Something that signs: a key in memory, in a TPM (`tpmSigner` of @casemate/tpm), or anywhere else. */
export interface Signer {
  /** A {@link SignatureAlgorithm}, for example `ecdsa-p256-sha256`; functions refuse a signer that names another. */
  readonly algorithm: string;
  /** The public key as SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** Signs `data` (hashing is the signer's part). ECDSA gives the DER of ECDSA-Sig-Value, RSA and Ed25519 the raw signature. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** A key in this process's memory. */
export interface SoftwareKey extends Signer {
  /** The key type and the one scheme that it signs with. */
  readonly algorithm: SignatureAlgorithm;
  /**
   * The private key as unprotected PKCS#8 DER, RSA always under rsaEncryption, so that {@link importKey} must be told of PSS.
   * Whoever holds these bytes is the key's owner.
   */
  unsafeExportKey(): Promise<Uint8Array>;
}

/**
 * Makes a key pair with the platform's generator.
 * Throws {@link PkiError} `unsupported` for an unknown algorithm.
 */
export async function generateKey(algorithm: SignatureAlgorithm): Promise<SoftwareKey> {
  const { key } = schemeOf(algorithm);
  if (key.kind === 'ml-dsa') return mlDsa().generate(key.set);
  const pair = await globalThis.crypto.subtle.generateKey(generationParameters(algorithm), true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new PkiError('unsupported', `generate key: expected a key pair for ${algorithm}`);
  const spki = await globalThis.crypto.subtle.exportKey('spki', pair.publicKey);
  return softwareKey(algorithm, pair.privateKey, new Uint8Array(spki));
}

function generationParameters(
  algorithm: SignatureAlgorithm,
): WebImport & { modulusLength: number; publicExponent: Uint8Array } {
  const { scheme, key } = schemeOf(algorithm);
  const bits = key.kind === 'rsa' ? key.bits : 0;
  return { ...importParameters(key, scheme), modulusLength: bits, publicExponent: Uint8Array.of(1, 0, 1) };
}

/**
 * Opens a private key from PKCS#8 DER, as OpenSSL and {@link SoftwareKey.unsafeExportKey} write it.
 * `algorithm` chooses how an RSA key signs; without it a plain RSA key signs PKCS#1 v1.5 with SHA-256, and a key with the
 * identifier id-RSASSA-PSS signs PSS with the digest of its parameters (SHA-256 where it has none).
 * Throws {@link PkiError} `malformed`, `unsupported`, or `key-mismatch` where `algorithm` does not fit the key.
 */
export async function importKey(pkcs8: Uint8Array, algorithm?: SignatureAlgorithm): Promise<SoftwareKey> {
  const found = importKind(pkcs8);
  if (found.key.kind === 'ml-dsa') return assertAlgorithm(mlDsa().importKey(found.key.set, pkcs8), algorithm);
  const hint = algorithm === undefined ? found.scheme : schemeOf(algorithm).scheme;
  const imported = await importPrivate(pkcs8ForImport(pkcs8), importParameters(found.key, hint));
  const spki = await publicPart(imported, importParameters(found.key, hint));
  const actual = algorithmName(spki, hint);
  return assertAlgorithm(softwareKey(actual, imported, spki), algorithm);
}

function assertAlgorithm(key: SoftwareKey, wanted: SignatureAlgorithm | undefined): SoftwareKey {
  if (wanted === undefined || key.algorithm === wanted) return key;
  throw new PkiError('key-mismatch', `import key: expected a key for ${wanted}, got one for ${key.algorithm}`);
}

async function importPrivate(pkcs8: Uint8Array, parameters: WebImport): Promise<WebKey> {
  try {
    return await globalThis.crypto.subtle.importKey('pkcs8', pkcs8.slice(), parameters, true, ['sign']);
  } catch (cause) {
    throw new PkiError('malformed', 'import key: expected a PKCS#8 private key, got one that is refused', cause);
  }
}

/** WebCrypto derives no public key from a private one, but its JWK form holds both. */
async function publicPart(key: WebKey, parameters: WebImport): Promise<Uint8Array> {
  const { kty, n, e, crv, x, y } = await globalThis.crypto.subtle.exportKey('jwk', key);
  const parts = Object.entries({ kty, n, e, crv, x, y }).filter(([, value]) => value !== undefined);
  const imported = await globalThis.crypto.subtle.importKey('jwk', Object.fromEntries(parts), parameters, true, [
    'verify',
  ]);
  return new Uint8Array(await globalThis.crypto.subtle.exportKey('spki', imported));
}

function algorithmName(spki: Uint8Array, scheme: SignatureScheme): SignatureAlgorithm {
  const key = parsePublicKey(spki);
  if (key.kind === 'ed25519') return 'ed25519';
  if (key.kind === 'ml-dsa') return `ml-dsa-${key.set}`;
  if (key.kind === 'ec') return `ecdsa-${curveWord[key.curve]}-${scheme.kind === 'ecdsa' ? scheme.hash : 'sha256'}`;
  const { bits } = key;
  if (bits !== 2048 && bits !== 3072 && bits !== 4096) {
    throw new PkiError('unsupported', `import key: expected 2048, 3072 or 4096 bits, got ${bits}`);
  }
  if (scheme.kind !== 'rsassa' && scheme.kind !== 'rsapss') {
    throw new PkiError('key-mismatch', `import key: expected a key for ${scheme.kind}, got an RSA key`);
  }
  return `${scheme.kind}-${bits}-${scheme.hash}`;
}

const curveWord = { 'P-256': 'p256', 'P-384': 'p384', 'P-521': 'p521' } as const;

function softwareKey(algorithm: SignatureAlgorithm, key: WebKey, publicKey: Uint8Array): SoftwareKey {
  const { scheme } = schemeOf(algorithm);
  const signHere = platformSigner(key, scheme);
  const made: SoftwareKey = {
    algorithm,
    publicKey,
    async sign(data) {
      if (signHere !== undefined) return await signHere(data);
      const raw = new Uint8Array(await globalThis.crypto.subtle.sign(operation(scheme), key, data.slice()));
      return scheme.kind === 'ecdsa' ? ecdsaToDer(raw) : raw;
    },
    async unsafeExportKey() {
      return new Uint8Array(await globalThis.crypto.subtle.exportKey('pkcs8', key));
    },
  };
  ownKeys.add(made);
  return made;
}

/** Keys that the platform's own cryptography signs with in this process. A copy of one with another `sign` is none. */
const ownKeys = new WeakSet<Signer>();

/** What a signer signs with. Throws {@link PkiError} `unsupported` for a name that this package does not know. */
export function signerScheme(signer: Signer): SignatureScheme {
  return schemeOf(signer.algorithm).scheme;
}

/** Throws {@link PkiError} `key-mismatch` unless `signer` signs for the key in `spki`. */
export function assertSignerOf(signer: Signer, spki: Uint8Array, owner: string | (() => string)): void {
  if (!equalBytes(signer.publicKey, spki)) {
    throw new PkiError('key-mismatch', `use key: expected the key of ${wording(owner)}, got another`);
  }
}

/** Text of an error message; a function where it costs something to make and is rarely needed. */
function wording(text: string | (() => string)): string {
  return typeof text === 'string' ? text : text();
}

/**
 * Signs `data`, and checks the signature with the public key before it leaves: a faulty signature of a TPM, a token or a program
 * behind a {@link Signer} must not be published. The platform's own cryptography in this process is taken at its word: the check
 * would take longer than the rest of issuing, and OpenSSL checks what can go wrong in RSA itself. Throws {@link PkiError}
 * `bad-signature`.
 */
export async function signChecked(
  signer: Signer,
  data: Uint8Array,
  what: string | (() => string),
): Promise<Uint8Array> {
  const signature = await signer.sign(data);
  if (ownKeys.has(signer)) return signature;
  if (await verifySignature(signer.publicKey, signerScheme(signer), data, signature)) return signature;
  throw new PkiError(
    'bad-signature',
    `sign ${wording(what)}: expected the signer's own signature to verify, got one that does not`,
  );
}
