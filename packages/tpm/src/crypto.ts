/** The cryptography that a TPM client needs, as one small interface, so that the provider can be chosen. */

/** Hash functions by TPM algorithm identifier (`TPM_ALG.SHA1`, `SHA256`, `SHA384`, `SHA512`). */
export interface TpmHashes {
  /** Hash of the parts one after another. Throws `TpmError` `usage` for another algorithm. */
  hash(algorithm: number, ...parts: readonly Uint8Array[]): Uint8Array;
  /** HMAC of the parts one after another. Throws `TpmError` `usage` for another algorithm. */
  hmac(algorithm: number, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
}

/** An RSA public key: big-endian modulus, and the exponent. */
export interface RsaPublicKey {
  /** Tag. */
  readonly type: 'rsa';
  /** Modulus, big-endian. */
  readonly modulus: Uint8Array;
  /** Public exponent, usually 65537. */
  readonly exponent: number;
}

/** A point on a NIST prime curve. */
export interface EccPublicKey {
  /** Tag. */
  readonly type: 'ecc';
  /** TPM curve identifier: 3 P-256, 4 P-384, 5 P-521. */
  readonly curve: number;
  /** Affine x, big-endian. */
  readonly x: Uint8Array;
  /** Affine y, big-endian. */
  readonly y: Uint8Array;
}

/** A signature as a TPM gives it, with the names of its scheme and its hash (TPM algorithm identifier). */
export type TpmSignature =
  | { readonly scheme: 'rsassa' | 'rsapss'; readonly hash: number; readonly signature: Uint8Array }
  | { readonly scheme: 'ecdsa'; readonly hash: number; readonly r: Uint8Array; readonly s: Uint8Array };

/** One ephemeral Diffie-Hellman exchange: the public point to send, and the shared x coordinate. */
export interface EcdhExchange {
  /** x of the ephemeral public point, padded to the curve's size. */
  readonly x: Uint8Array;
  /** y of the ephemeral public point, padded to the curve's size. */
  readonly y: Uint8Array;
  /** x of the shared point, padded to the curve's size. A secret. */
  readonly z: Uint8Array;
}

/** A synchronous crypto provider. `nobleCrypto` runs anywhere; `nodeCrypto` of `@casemate/tpm/node-crypto` is OpenSSL, and Node's default. */
export interface TpmCrypto extends TpmHashes {
  /** `length` bytes from the platform's cryptographic random generator. */
  random(length: number): Uint8Array;
  /** AES in full-block CFB mode; the key has 16, 24 or 32 bytes, the initial vector 16. */
  aesCfbEncrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
  /** The inverse of {@link TpmCrypto.aesCfbEncrypt}. */
  aesCfbDecrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
  /** RSAES-OAEP (RFC 8017, 7.1) with `hash` for both the label and MGF1. `label` is used as given, its NUL included. */
  rsaOaepEncrypt(key: RsaPublicKey, hash: number, label: Uint8Array, message: Uint8Array): Uint8Array;
  /** A fresh ephemeral key on the peer's curve, combined with the peer's point. Throws where the point is not on it. */
  ecdh(peer: EccPublicKey): EcdhExchange;
  /** Whether `signature` is the key's signature of `message`; false also for a malformed key or signature. */
  verify(key: RsaPublicKey | EccPublicKey, signature: TpmSignature, message: Uint8Array): boolean;
}
