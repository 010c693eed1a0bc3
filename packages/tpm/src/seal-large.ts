/** Sealing more than a TPM takes: the data under a fresh key, and the key in the TPM (encrypt-then-MAC as in Part 1, section 22.4). */
import { concat, equalBytes } from './bytes.js';
import { TPM_ALG } from './constants/algorithms.js';
import type { TpmCrypto } from './crypto.js';
import { defaultCrypto } from './default-crypto.js';
import { kdfA } from './kdf.js';
import type { WrappedKey } from './object.js';
import { TpmError } from './response-code.js';
import { type SealOptions, seal, type UnsealOptions, unseal } from './seal.js';
import type { Tpm } from './tpm.js';

/** Data of any length that only one TPM can open. */
export interface SealedLarge {
  /** The sealed key. */
  readonly sealed: WrappedKey;
  /** HMAC-SHA-256 of the encrypted data (32 bytes), then the data, encrypted by AES-256-CFB. */
  readonly encrypted: Uint8Array;
}

/** Seals data of any length: {@link seal} seals a fresh secret, and keys from it encrypt and authenticate the data. */
export async function sealLarge(tpm: Tpm, options: SealOptions): Promise<SealedLarge> {
  const crypto = tpm.crypto ?? defaultCrypto;
  const secret = crypto.random(32);
  try {
    const { cipher, mac } = keysFrom(secret, crypto);
    const data = crypto.aesCfbEncrypt(cipher, new Uint8Array(16), options.data);
    const encrypted = concat(crypto.hmac(TPM_ALG.SHA256, mac, data), data);
    return { sealed: await seal(tpm, { ...options, data: secret }), encrypted };
  } finally {
    secret.fill(0);
  }
}

/** Unseals what {@link sealLarge} sealed. Throws what {@link unseal} throws, and `TpmError` `integrity` for changed data. */
export async function unsealLarge(
  tpm: Tpm,
  options: Omit<UnsealOptions, 'sealed'> & { readonly sealed: SealedLarge },
): Promise<Uint8Array> {
  const { sealed, encrypted } = options.sealed;
  const crypto = tpm.crypto ?? defaultCrypto;
  const secret = await unseal(tpm, { ...options, sealed });
  try {
    const { cipher, mac } = keysFrom(secret, crypto);
    const data = encrypted.slice(32);
    if (equalBytes(crypto.hmac(TPM_ALG.SHA256, mac, data), encrypted.slice(0, 32))) {
      return crypto.aesCfbDecrypt(cipher, new Uint8Array(16), data);
    }
    throw new TpmError('integrity', 'unseal: the encrypted data are not those that were sealed');
  } finally {
    secret.fill(0);
  }
}

/** Fresh for each sealing, so that the cipher's initial vector can be zero. */
function keysFrom(key: Uint8Array, crypto: TpmCrypto) {
  const from = { hash: TPM_ALG.SHA256, key, bits: 256 } as const;
  return { cipher: kdfA({ ...from, label: 'STORAGE' }, crypto), mac: kdfA({ ...from, label: 'INTEGRITY' }, crypto) };
}
