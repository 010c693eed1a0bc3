/** Private keys under a passphrase: PBES2 with PBKDF2 and AES-256-CBC (RFC 8018 section 6.2, RFC 5958 section 3). */

import { algorithmOid, parsePkcs8 } from './algorithm.js';
import { randomBytes } from './bytes.js';
import {
  type DerReader,
  integer,
  nul,
  octetString,
  oid,
  oidValue,
  openDer,
  sequence,
  smallInteger,
  TAG,
} from './der.js';
import { malformed, PkiError } from './error.js';
import { ALGORITHM } from './oid.js';

/** The work factor of new files, as OWASP advised for PBKDF2 with HMAC-SHA-256 in 2023. */
const ITERATIONS = 600_000;
/** A file that asks for more is refused: the number is the sender's, the time is ours. */
const MAX_ITERATIONS = 10_000_000;

const PRF: Readonly<Record<string, string>> = {
  [ALGORITHM.hmacWithSha256]: 'SHA-256',
  [ALGORITHM.hmacWithSha384]: 'SHA-384',
  [ALGORITHM.hmacWithSha512]: 'SHA-512',
};
const KEY_LENGTH: Readonly<Record<string, number>> = { [ALGORITHM.aes128Cbc]: 16, [ALGORITHM.aes256Cbc]: 32 };

interface Protection {
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly prf: string;
  readonly keyLength: number;
  readonly iv: Uint8Array;
}

/**
 * Encrypts PKCS#8 DER under a passphrase: EncryptedPrivateKeyInfo DER, which OpenSSL opens. PBKDF2-HMAC-SHA-256 with 600,000
 * rounds, AES-256-CBC. Throws {@link PkiError} `bad-input` for an empty passphrase.
 */
export async function encryptKey(pkcs8: Uint8Array, passphrase: string): Promise<Uint8Array> {
  if (passphrase === '') throw new PkiError('bad-input', 'encrypt key: expected a passphrase, got an empty one');
  const protection = {
    salt: randomBytes(16),
    iterations: ITERATIONS,
    prf: 'SHA-256',
    keyLength: 32,
    iv: randomBytes(16),
  };
  const key = await deriveKey(passphrase, protection, 'encrypt');
  const encrypted = await globalThis.crypto.subtle.encrypt({ name: 'AES-CBC', iv: protection.iv }, key, pkcs8.slice());
  return sequence(encodeProtection(protection), octetString(new Uint8Array(encrypted)));
}

/**
 * Decrypts EncryptedPrivateKeyInfo DER (PBES2 with PBKDF2-HMAC-SHA-2 and AES-CBC) to PKCS#8 DER.
 * Throws {@link PkiError}: `malformed`, `unsupported` for other schemes, `wrong-passphrase`.
 */
export async function decryptKey(encrypted: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const reader = openDer(encrypted, TAG.SEQUENCE, 'EncryptedPrivateKeyInfo');
  const protection = parseProtection(reader.enter(TAG.SEQUENCE, 'encryptionAlgorithm'));
  const data = reader.take(TAG.OCTET_STRING, 'encryptedData').content;
  reader.finish();
  const key = await deriveKey(passphrase, protection, 'decrypt');
  try {
    const plain = await globalThis.crypto.subtle.decrypt(
      { name: 'AES-CBC', iv: protection.iv.slice() },
      key,
      data.slice(),
    );
    // A wrong key leaves good padding behind once in 256 tries; then the structure tells.
    return parsePkcs8(new Uint8Array(plain));
  } catch (cause) {
    throw new PkiError('wrong-passphrase', 'decrypt key: expected the passphrase of the key, got another', cause);
  }
}

async function deriveKey(passphrase: string, protection: Protection, use: 'encrypt' | 'decrypt') {
  const { subtle } = globalThis.crypto;
  const secret = await subtle.importKey('raw', new TextEncoder().encode(passphrase), 'PBKDF2', false, ['deriveKey']);
  const { iterations, prf, keyLength } = protection;
  const derivation = { name: 'PBKDF2', salt: protection.salt.slice(), iterations, hash: prf };
  return subtle.deriveKey(derivation, secret, { name: 'AES-CBC', length: keyLength * 8 }, false, [use]);
}

function encodeProtection(protection: Protection): Uint8Array {
  const prf = sequence(oid(ALGORITHM.hmacWithSha256), nul());
  const derivation = sequence(octetString(protection.salt), integer(protection.iterations), prf);
  const cipher = sequence(oid(ALGORITHM.aes256Cbc), octetString(protection.iv));
  return sequence(oid(ALGORITHM.pbes2), sequence(sequence(oid(ALGORITHM.pbkdf2), derivation), cipher));
}

function parseProtection(reader: DerReader): Protection {
  assertOid(reader, ALGORITHM.pbes2, 'PBES2');
  const parameters = reader.enter(TAG.SEQUENCE, 'PBES2-params');
  reader.finish();
  const derivation = parseDerivation(parameters.enter(TAG.SEQUENCE, 'keyDerivationFunc'));
  const cipher = parameters.enter(TAG.SEQUENCE, 'encryptionScheme');
  parameters.finish();
  const dotted = oidValue(cipher.take(TAG.OID, 'algorithm').content, 'encryptionScheme');
  const keyLength = KEY_LENGTH[dotted];
  if (keyLength === undefined) throw new PkiError('unsupported', `decrypt key: expected AES-CBC, got ${dotted}`);
  const iv = cipher.take(TAG.OCTET_STRING, 'iv').content;
  cipher.finish();
  if (iv.length !== 16) throw malformed('encryptionScheme', `expected 16 bytes of IV, got ${iv.length}`);
  return { ...derivation, keyLength, iv };
}

function parseDerivation(reader: DerReader): Pick<Protection, 'salt' | 'iterations' | 'prf'> {
  assertOid(reader, ALGORITHM.pbkdf2, 'PBKDF2');
  const parameters = reader.enter(TAG.SEQUENCE, 'PBKDF2-params');
  reader.finish();
  const salt = parameters.take(TAG.OCTET_STRING, 'salt').content;
  const iterations = smallInteger(parameters.take(TAG.INTEGER, 'iterationCount').content, 'iterationCount');
  parameters.optional(TAG.INTEGER, 'keyLength');
  const prf = parsePrf(parameters.take(TAG.SEQUENCE, 'prf').bytes);
  parameters.finish();
  if (iterations < 1 || iterations > MAX_ITERATIONS) {
    throw new PkiError('unsupported', `decrypt key: expected 1 to ${MAX_ITERATIONS} rounds, got ${iterations}`);
  }
  return { salt, iterations, prf };
}

function parsePrf(identifier: Uint8Array): string {
  const dotted = algorithmOid(identifier, 'prf');
  const hash = PRF[dotted];
  if (hash === undefined) throw new PkiError('unsupported', `decrypt key: expected HMAC with SHA-2, got ${dotted}`);
  return hash;
}

function assertOid(reader: DerReader, wanted: string, name: string): void {
  const dotted = oidValue(reader.take(TAG.OID, 'algorithm').content, 'algorithm');
  if (dotted !== wanted) throw new PkiError('unsupported', `decrypt key: expected ${name}, got ${dotted}`);
}
