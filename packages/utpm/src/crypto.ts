/** The cryptography that a TPM needs beyond what its client needs: private keys and primes. */
import type { TpmCrypto } from '@casemate/tpm';
import type { RsaPrivateKey } from './rsa.js';

/** A point of a curve, each coordinate big-endian and as long as the curve's field. */
export interface CurvePoint {
  /** The affine x coordinate. */
  readonly x: Uint8Array;
  /** The affine y coordinate. */
  readonly y: Uint8Array;
}

/** An elliptic-curve private key with its public point. */
export interface EccPrivateKey extends CurvePoint {
  /** The TPM_ECC_CURVE. */
  readonly curve: number;
  /** The private scalar, big-endian, as long as the curve's order. */
  readonly d: Uint8Array;
}

/** What is to be signed: the digest always, and the message where the TPM has it, which lets OpenSSL sign. */
export interface SigningInput {
  /** The TPM_ALG_ID of the hash. */
  readonly hash: number;
  /** The digest of the message. */
  readonly digest: Uint8Array;
  /** The message itself. */
  readonly message?: Uint8Array;
}

/** An ECDSA signature; both halves are as long as the curve's order. */
export interface EcdsaSignature {
  /** The first half. */
  readonly r: Uint8Array;
  /** The second half. */
  readonly s: Uint8Array;
}

/** One run of a block cipher in a mode, without padding. */
export interface CipherRequest {
  /** TPM_ALG_AES, TPM_ALG_CAMELLIA or TPM_ALG_TDES. */
  readonly algorithm: number;
  /** TPM_ALG_CTR, TPM_ALG_OFB, TPM_ALG_CBC, TPM_ALG_CFB (of whole blocks) or TPM_ALG_ECB. */
  readonly mode: number;
  /** Which way. */
  readonly direction: 'encrypt' | 'decrypt';
  /** The key; of TDES two or three keys of eight bytes. */
  readonly key: Uint8Array;
  /** The initial vector: a block, and empty for ECB. */
  readonly iv: Uint8Array;
  /** The data: whole blocks for CBC and ECB, any length for the others. */
  readonly data: Uint8Array;
}

/** The provider of a TPM: all that its clients' provider has, and private operations. All are synchronous. */
export interface UtpmCrypto extends TpmCrypto {
  /** The block ciphers of `cipher`, as TPM_ALG_IDs: TPM_ALG_AES at least, which protects objects and contexts. */
  readonly ciphers: readonly number[];
  /** Runs a block cipher in one of its modes; only for an algorithm of `ciphers`. */
  cipher(request: CipherRequest): Uint8Array;
  /** Is `candidate`, odd and without small factors, prime but for a chance below 2^-100? */
  isProbablePrime(candidate: bigint): boolean;
  /** The raw RSA private operation; `input` is as long as the modulus and below it. Throws `RangeError` where it is not. */
  rsaPrivate(key: RsaPrivateKey, input: Uint8Array): Uint8Array;
  /**
   * `scalar` (big-endian) times `point`, or times the curve's generator where no point is given.
   * `undefined` where the point is not on the curve or the product is the point at infinity.
   */
  eccMultiply(curve: number, scalar: Uint8Array, point?: CurvePoint): CurvePoint | undefined;
  /** The sum of two points of a curve; `undefined` where one is not on the curve or the sum is the point at infinity. */
  eccAdd(curve: number, p: CurvePoint, q: CurvePoint): CurvePoint | undefined;
  /** An ECDSA signature over `input.digest`. */
  ecdsaSign(key: EccPrivateKey, input: SigningInput): EcdsaSignature;
  /** Does the signature verify over `digest`? False, too, for a point or a signature that is malformed. */
  ecdsaVerify(curve: number, point: CurvePoint, digest: Uint8Array, signature: EcdsaSignature): boolean;
}
