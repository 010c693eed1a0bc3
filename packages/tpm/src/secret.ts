/** Secrets encrypted to a key of a TPM: salts, credential seeds, duplication seeds (Part 1, annexes B.10 and C.6). */
import { decode, encode } from '@casemate/wire';
import { labelBytes, padTo } from './bytes.js';
import type { EccPublicKey, RsaPublicKey, TpmCrypto } from './crypto.js';
import { hashSize } from './hashes.js';
import { kdfE } from './kdf.js';
import { curveSize, publicKeyOf } from './public-key.js';
import { TpmError } from './response-code.js';
import { TpmsEccPoint } from './structures/asymmetric.js';
import type { TpmtPublic } from './structures/public.js';

/** A secret and its encrypted form. */
export interface SharedSecret {
  /** The secret, as long as the digest of the key's name algorithm. */
  readonly secret: Uint8Array;
  /** The contents of a TPM2B_ENCRYPTED_SECRET. */
  readonly encrypted: Uint8Array;
}

/** What a secret is for; it goes into the encryption. */
export type SecretLabel = 'SECRET' | 'IDENTITY' | 'DUPLICATE';

/** An RSA key with its private part, as a TPM keeps it: one of the two primes. */
export interface RsaPrivateKey extends RsaPublicKey {
  /** One prime factor of the modulus, big-endian. */
  readonly prime: Uint8Array;
}

/** An ECC key with its private part. */
export interface EccPrivateKey extends EccPublicKey {
  /** The private scalar, big-endian. */
  readonly d: Uint8Array;
}

/**
 * Operations with a private key that is not in a TPM, for {@link recoverSecret}. `nodeRecovery` of
 * `@casemate/tpm/node-crypto` is OpenSSL; there is none in plain JavaScript, whose timing would show the key.
 */
export interface SecretRecovery {
  /** RSAES-OAEP decryption with `hash` for label and MGF1; `label` is used as given, its NUL included. */
  rsaOaepDecrypt(key: RsaPrivateKey, hash: number, label: Uint8Array, ciphertext: Uint8Array): Uint8Array;
  /** x of the product of the peer's point and the private scalar, padded to the curve's size. Throws for a point off the curve. */
  ecdhWith(key: EccPrivateKey, peer: { readonly x: Uint8Array; readonly y: Uint8Array }): Uint8Array;
}

/**
 * The secret of {@link shareSecret} again, with a private key in software. `nameAlg` is the key's name algorithm.
 * Throws `TpmError` where the bytes are no secret for this key.
 */
export function recoverSecret(
  key: (RsaPrivateKey | EccPrivateKey) & { readonly nameAlg: number },
  label: SecretLabel,
  encrypted: Uint8Array,
  recovery: SecretRecovery,
): Uint8Array {
  if (key.type === 'rsa') return recovery.rsaOaepDecrypt(key, key.nameAlg, labelBytes(label), encrypted);
  const ephemeral = decode(TpmsEccPoint, encrypted); // whoever sent it controls the point
  const size = curveSize(key.curve);
  const partyVInfo = padTo(key.x, size);
  if (!partyVInfo) throw new TpmError('usage', `recover secret: expected coordinates of ${size} bytes`);
  // As it came: TPMs hash it so, and tpm2-tools leaves leading zeros out.
  const partyUInfo = ephemeral.x;
  const z = recovery.ecdhWith(key, ephemeral);
  const bits = hashSize(key.nameAlg) * 8;
  const secret = kdfE({ hash: key.nameAlg, z, label, partyUInfo, partyVInfo, bits });
  z.fill(0);
  return secret;
}

/** Makes a secret that only the TPM with the key can recover: by OAEP for RSA, by one-pass ECDH for ECC. */
export function shareSecret(key: TpmtPublic, label: SecretLabel, crypto: TpmCrypto): SharedSecret {
  const publicKey = publicKeyOf(key);
  const size = hashSize(key.nameAlg);
  if (publicKey.type === 'rsa') {
    const secret = crypto.random(size);
    return { secret, encrypted: crypto.rsaOaepEncrypt(publicKey, key.nameAlg, labelBytes(label), secret) };
  }
  const { x, y, z } = crypto.ecdh(publicKey);
  const partyVInfo = padTo(publicKey.x, curveSize(publicKey.curve));
  if (!partyVInfo) throw new TpmError('usage', "share secret: the key's x coordinate is longer than its curve's size");
  const secret = kdfE({ hash: key.nameAlg, z, label, partyUInfo: x, partyVInfo, bits: size * 8 }, crypto);
  z.fill(0);
  return { secret, encrypted: encode(TpmsEccPoint, { x, y }) };
}
