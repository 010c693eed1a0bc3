/** Secrets encrypted to a key of a TPM: salts, credential seeds, duplication seeds (Part 1, annexes B.10 and C.6). */
import { encode } from '@casemate/wire';
import { labelBytes, padTo } from './bytes.js';
import type { TpmCrypto } from './crypto.js';
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
