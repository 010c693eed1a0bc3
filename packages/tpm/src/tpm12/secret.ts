/** Secrets of entities: 20 bytes, most often a digest of a password. TPM 1.2 Main Part 1, clause 8; TSS 1.2, clause 2.3.2.2. */
import { nobleCrypto12, sha1, type Tpm12Crypto } from './crypto.js';

/**
 * How a password becomes bytes. `utf-8` is what tpm-tools use, and `ASCII` for jTpmTools. `utf-16le` is the rule of TSS
 * dialogs, which tpm-tools follow with `-u`; `utf-16le-nul` has the two zero bytes at the end that older ones hashed too.
 */
export type PasswordEncoding = 'utf-8' | 'utf-16le' | 'utf-16le-nul';

/** The secret of a password: SHA-1 of its bytes. */
export function passwordSecret(
  password: string,
  encoding: PasswordEncoding = 'utf-8',
  crypto: Pick<Tpm12Crypto, 'hash'> = nobleCrypto12,
): Uint8Array {
  const bytes = encodePassword(password, encoding);
  try {
    return sha1(crypto, bytes);
  } finally {
    bytes.fill(0);
  }
}

/** The secret that everybody knows, TSS_WELL_KNOWN_SECRET: 20 zero bytes. */
export function wellKnownSecret(): Uint8Array {
  return new Uint8Array(20);
}

function encodePassword(password: string, encoding: PasswordEncoding): Uint8Array {
  if (encoding === 'utf-8') return new TextEncoder().encode(password);
  const text = encoding === 'utf-16le-nul' ? `${password}\0` : password;
  const units = Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  return Uint8Array.from(units.flatMap((unit) => [unit & 0xff, unit >>> 8]));
}
