/** Private keys under a passphrase: EncryptedPrivateKeyInfo (RFC 5958 section 3). */
import { parsePkcs8 } from './algorithm.js';
import { octetString, openDer, sequence, TAG } from './der.js';
import { PkiError } from './error.js';
import { decryptPbes2, type EncryptionOptions, encryptPbes2, type Passphrase } from './pbes2.js';

/**
 * Encrypts PKCS#8 DER under a passphrase: EncryptedPrivateKeyInfo DER, which OpenSSL opens. PBKDF2-HMAC-SHA-256 with 600,000
 * rounds and AES-256-CBC, unless `options` say otherwise. Throws {@link PkiError} `bad-input` for an empty passphrase.
 */
export async function encryptKey(
  pkcs8: Uint8Array,
  passphrase: Passphrase,
  options: EncryptionOptions = {},
): Promise<Uint8Array> {
  const { identifier, data } = await encryptPbes2(pkcs8, passphrase, options);
  return sequence(identifier, octetString(data));
}

/**
 * Decrypts EncryptedPrivateKeyInfo DER (PBES2 with PBKDF2 or scrypt, AES-CBC or AES-GCM) to PKCS#8 DER.
 * Throws {@link PkiError}: `malformed`, `unsupported` for other schemes, `wrong-passphrase`.
 */
export async function decryptKey(encrypted: Uint8Array, passphrase: Passphrase): Promise<Uint8Array> {
  const reader = openDer(encrypted, TAG.SEQUENCE, 'EncryptedPrivateKeyInfo');
  const identifier = reader.take(TAG.SEQUENCE, 'encryptionAlgorithm').bytes;
  const data = reader.take(TAG.OCTET_STRING, 'encryptedData').content;
  reader.finish();
  return openedKey(await decryptPbes2({ identifier, data }, passphrase));
}

/** A wrong key leaves good padding behind once in 256 tries; then the structure tells. */
export function openedKey(plain: Uint8Array): Uint8Array {
  try {
    return parsePkcs8(plain);
  } catch (cause) {
    throw new PkiError('wrong-passphrase', 'decrypt key: expected the passphrase of the key, got another', cause);
  }
}
