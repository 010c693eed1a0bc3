/** The cryptography that TPM 1.2 needs, as one small interface, and its default from @noble. */
import { cbc, ctr } from '@noble/ciphers/aes.js';
import type { RsaPublicKey, TpmCrypto } from '../crypto.js';
import { nobleHashes } from '../noble-hashes.js';
import { TpmError } from '../response-code.js';
import { oaepEncrypt, pkcs1Verify } from '../rsa.js';

/** AES in the modes in which credentials and sealed files are encrypted; the key has 16, 24 or 32 bytes. */
export interface AesModes {
  /** CBC with the padding of PKCS #7. */
  aesCbcEncrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
  /** The inverse of {@link AesModes.aesCbcEncrypt}. Throws where the padding is wrong. */
  aesCbcDecrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
  /** CTR from the first counter block `iv`; it is its own inverse. */
  aesCtr(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
}

/** A synchronous crypto provider for TPM 1.2; `nodeCrypto` of `@casemate/tpm/node-crypto` is one. */
export interface Tpm12Crypto
  extends Pick<TpmCrypto, 'random' | 'hash' | 'hmac' | 'rsaOaepEncrypt' | 'verify'>,
    AesModes {}

/** The provider that needs nothing but JavaScript and `crypto.getRandomValues`; of signatures it knows RSASSA alone. */
export const nobleCrypto12: Tpm12Crypto = {
  hash: nobleHashes.hash,
  hmac: nobleHashes.hmac,
  random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  rsaOaepEncrypt(key, hash, label, message) {
    return oaepEncrypt(key, hash, label, message, crypto.getRandomValues(nobleHashes.hash(hash)), nobleHashes);
  },
  verify(key, signature, message) {
    if (key.type !== 'rsa' || signature.scheme !== 'rsassa') return false;
    return pkcs1Verify(key, signature.hash, nobleHashes.hash(signature.hash, message), signature.signature);
  },
  aesCbcEncrypt: (key, iv, data) => cbc(key, iv).encrypt(data),
  aesCbcDecrypt(key, iv, data) {
    try {
      return cbc(key, iv).decrypt(data);
    } catch (cause) {
      throw new TpmError('integrity', 'decrypt by AES-CBC: the key is wrong, or the data are damaged', { cause });
    }
  },
  aesCtr: (key, iv, data) => ctr(key, iv).encrypt(data),
};

/** SHA-1, the one hash of TPM 1.2, under the number that both families give it. */
const SHA1 = 4;

/** SHA-1 of the parts one after another. */
export function sha1(crypto: Pick<Tpm12Crypto, 'hash'>, ...parts: readonly Uint8Array[]): Uint8Array {
  return crypto.hash(SHA1, ...parts);
}

/** HMAC-SHA1 of the parts one after another. */
export function hmacSha1(
  crypto: Pick<Tpm12Crypto, 'hmac'>,
  key: Uint8Array,
  ...parts: readonly Uint8Array[]
): Uint8Array {
  return crypto.hmac(SHA1, key, ...parts);
}

/** RSAES-OAEP as every TPM 1.2 uses it: SHA-1, and the label `TCPA`. TPM 1.2 Part 1, clause 31.1.1. */
export function oaepTcpa(
  crypto: Pick<Tpm12Crypto, 'rsaOaepEncrypt'>,
  key: RsaPublicKey,
  message: Uint8Array,
): Uint8Array {
  return crypto.rsaOaepEncrypt(key, SHA1, new TextEncoder().encode('TCPA'), message);
}

/** Whether `signature` is the key's RSASSA-PKCS1-v1_5 signature of `message` with SHA-1. */
export function verifySha1(
  crypto: Pick<Tpm12Crypto, 'verify'>,
  key: RsaPublicKey,
  signature: Uint8Array,
  message: Uint8Array,
): boolean {
  return crypto.verify(key, { scheme: 'rsassa', hash: SHA1, signature }, message);
}
