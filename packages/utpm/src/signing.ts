/** Signature schemes: which one a key signs with, signing, verifying. Part 1, annexes B.7 and C.4; Part 3, clause 20. */
import {
  TPM_ALG,
  TPM_RC,
  TPMA_OBJECT,
  type TpmtHa,
  type TpmtSignature,
  type TpmtSignatureOrNull,
  type TpmtSigSchemeOrNull,
} from '@casemate/tpm';
import { isEqual } from './bytes.js';
import { committedSecret, endCommit } from './commit.js';
import type { EcdsaSignature, SigningInput } from './crypto.js';
import { curveOf, padPoint } from './curve.js';
import { signEcdaa, signSchnorr, signSm2, verifySchnorr, verifySm2 } from './ecc-signature.js';
import { digesterOf, digestSize, isHash } from './implementation.js';
import { bitLength } from './integer.js';
import { eccKeyOf, rsaKeyOf, rsaPublicOf } from './key.js';
import { has, type TpmObject } from './object.js';
import { isSigningScheme } from './public-area.js';
import { refuse } from './refusal.js';
import { encodePkcs1, encodePss, isPss, rsaPublic } from './rsa.js';
import type { Tpm } from './tpm.js';

/** A scheme with its hash algorithm. */
export interface Scheme {
  readonly scheme: number;
  readonly hash: number;
  /** The number of the commitment that an anonymous signature uses. */
  readonly count?: number;
}

/** No signature. */
export const NO_SIGNATURE: TpmtSignatureOrNull = { sigAlg: TPM_ALG.NULL, signature: undefined };

/** Is it a key that signs, with its private part loaded? */
export function isSigningKey(object: TpmObject): boolean {
  return has(object.public, TPMA_OBJECT.sign) && object.public.type !== TPM_ALG.SYMCIPHER;
}

/** The scheme of a signature by `object`: its own, or the caller's where the key leaves it open. Refuses with TPM_RC_SCHEME. */
export function selectScheme(object: TpmObject, asked: TpmtSigSchemeOrNull): Scheme {
  const own = ownScheme(object);
  const wanted = asScheme(asked);
  if (wanted !== undefined && !isHash(wanted.hash)) refuse(TPM_RC.HASH);
  if (own === undefined) {
    return wanted !== undefined && isSigningScheme(object.public.type, wanted.scheme) ? wanted : refuse(TPM_RC.SCHEME);
  }
  // An anonymous signature needs its commitment, which only the caller knows.
  if (wanted === undefined) return own.scheme === TPM_ALG.ECDAA ? refuse(TPM_RC.SCHEME) : own;
  return wanted.scheme === own.scheme && wanted.hash === own.hash ? wanted : refuse(TPM_RC.SCHEME);
}

/** Is it a scheme whose signatures do not tell who signed? */
export function isAnonymous({ scheme }: Scheme): boolean {
  return scheme === TPM_ALG.ECDAA;
}

interface Detailed {
  readonly scheme: number;
  readonly details?: { readonly hashAlg?: number; readonly count?: number } | undefined;
}

function asScheme({ scheme, details }: Detailed): Scheme | undefined {
  if (scheme === TPM_ALG.NULL) return undefined;
  const { hashAlg: hash = TPM_ALG.NULL, count = 0 } = details ?? {};
  return { scheme, hash, count };
}

function ownScheme({ public: area }: TpmObject): Scheme | undefined {
  return area.type === TPM_ALG.SYMCIPHER ? undefined : asScheme(area.parameters.scheme);
}

/** Signs `input.digest`; the key and the scheme have been checked. */
export function signDigest(
  tpm: Tpm,
  object: TpmObject,
  { scheme, count = 0 }: Scheme,
  input: SigningInput,
): TpmtSignature {
  if (!isSigningScheme(object.public.type, scheme)) refuse(TPM_RC.SCHEME);
  const hash = input.hash as TpmtHa['hashAlg']; // isHash has been asked by selectScheme
  const ecc = ({ r, s }: EcdsaSignature): TpmtSignature =>
    ({ sigAlg: scheme, signature: { hash, signatureR: r, signatureS: s } }) as TpmtSignature; // scheme is one of the cases below
  switch (scheme) {
    case TPM_ALG.RSASSA:
    case TPM_ALG.RSAPSS:
      return { sigAlg: scheme, signature: { hash, sig: signRsa(tpm, object, scheme, input) } };
    case TPM_ALG.ECDSA:
      return ecc(tpm.crypto.ecdsaSign(eccKeyOf(object), input));
    case TPM_ALG.ECSCHNORR:
      return ecc(signSchnorr(tpm.crypto, eccKeyOf(object), input));
    case TPM_ALG.SM2:
      return ecc(signSm2(tpm.crypto, eccKeyOf(object), input));
    case TPM_ALG.ECDAA:
      return ecc(signAnonymously(tpm, object, input, count));
    case TPM_ALG.HMAC: {
      const digest = tpm.crypto.hmac(input.hash, hmacKeyOf(object), input.digest);
      return { sigAlg: scheme, signature: { hashAlg: hash, digest } as TpmtHa }; // as long as its hash makes it
    }
    default:
      return refuse(TPM_RC.SCHEME);
  }
}

function signAnonymously(tpm: Tpm, object: TpmObject, input: SigningInput, count: number): EcdsaSignature {
  const key = eccKeyOf(object);
  const curve = curveOf(key.curve) ?? refuse(TPM_RC.VALUE);
  const r = committedSecret(tpm, count, curve, object.name) ?? refuse(TPM_RC.VALUE);
  const signature = signEcdaa(tpm.crypto, key, input, r) ?? refuse(TPM_RC.NO_RESULT);
  r.fill(0);
  endCommit(tpm, count);
  return signature;
}

function hmacKeyOf({ sensitive }: TpmObject): Uint8Array {
  return sensitive?.sensitiveType === TPM_ALG.KEYEDHASH ? sensitive.sensitive : refuse(TPM_RC.KEY);
}

function signRsa(tpm: Tpm, object: TpmObject, scheme: number, input: SigningInput): Uint8Array {
  const key = rsaKeyOf(object);
  const { hash, digest } = input;
  const block =
    scheme === TPM_ALG.RSASSA
      ? encodePkcs1(key.size, digestInfo(hash), digest)
      : encodePss(bitLength(key.n), digest, digesterOf(tpm.crypto, hash), tpm.crypto.random);
  return tpm.crypto.rsaPrivate(key, block ?? refuse(TPM_RC.SIZE));
}

// RFC 8017, 9.2, note 1: the DER of DigestInfo up to the digest.
const DIGEST_INFO: Readonly<Record<number, string>> = {
  [TPM_ALG.SHA1]: '3021300906052b0e03021a05000414',
  [TPM_ALG.SHA256]: '3031300d060960864801650304020105000420',
  [TPM_ALG.SHA384]: '3041300d060960864801650304020205000430',
  [TPM_ALG.SHA512]: '3051300d060960864801650304020305000440',
};

function digestInfo(hash: number): Uint8Array {
  const text = DIGEST_INFO[hash] ?? refuse(TPM_RC.HASH);
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Refuses with TPM_RC_SIGNATURE where the signature is not the key's over `digest`, and with TPM_RC_SCHEME where it cannot be one. */
export function verifySignature(tpm: Tpm, object: TpmObject, digest: Uint8Array, signature: TpmtSignature): void {
  if (object.public.type === TPM_ALG.KEYEDHASH && object.sensitive === undefined) refuse(TPM_RC.HANDLE);
  if (!isSigningScheme(object.public.type, signature.sigAlg)) refuse(TPM_RC.SCHEME);
  if (!isAuthentic(tpm, object, digest, signature)) refuse(TPM_RC.SIGNATURE);
}

function isAuthentic(tpm: Tpm, object: TpmObject, digest: Uint8Array, signature: TpmtSignature): boolean {
  switch (signature.sigAlg) {
    case TPM_ALG.RSASSA:
    case TPM_ALG.RSAPSS:
      return isRsaAuthentic(tpm, object, digest, signature.sigAlg, signature.signature);
    case TPM_ALG.ECDSA:
    case TPM_ALG.ECSCHNORR:
    case TPM_ALG.SM2:
      return isEccAuthentic(tpm, object, digest, signature.sigAlg, signature.signature);
    case TPM_ALG.ECDAA:
      // Only the group's issuer and verifiers can tell.
      return refuse(TPM_RC.SCHEME);
    case TPM_ALG.HMAC: {
      const { hashAlg, digest: given } = signature.signature;
      if (!isHash(hashAlg)) return false;
      return isEqual(given, tpm.crypto.hmac(hashAlg, hmacKeyOf(object), digest));
    }
    default:
      return false;
  }
}

interface RsaSignature {
  readonly hash: number;
  readonly sig: Uint8Array;
}

function isRsaAuthentic(
  tpm: Tpm,
  object: TpmObject,
  digest: Uint8Array,
  scheme: number,
  { hash, sig }: RsaSignature,
): boolean {
  const key = rsaPublicOf(object);
  if (!isHash(hash) || digest.length !== digestSize(hash) || sig.length !== key.size) return false;
  try {
    const block = rsaPublic(key, sig);
    if (scheme === TPM_ALG.RSAPSS) return isPss(bitLength(key.n), block, digest, digesterOf(tpm.crypto, hash));
    const expected = encodePkcs1(key.size, digestInfo(hash), digest);
    return expected !== undefined && isEqual(block, expected);
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

interface EccSignature {
  readonly hash: number;
  readonly signatureR: Uint8Array;
  readonly signatureS: Uint8Array;
}

function isEccAuthentic(
  tpm: Tpm,
  object: TpmObject,
  digest: Uint8Array,
  scheme: number,
  { hash, signatureR, signatureS }: EccSignature,
): boolean {
  const { public: area } = object;
  const curve = area.type === TPM_ALG.ECC ? curveOf(area.parameters.curveID) : undefined;
  if (area.type !== TPM_ALG.ECC || curve === undefined) return false;
  if (signatureR.length > curve.size || signatureS.length > curve.size) return false;
  const point = padPoint(curve, area.unique);
  const signature = { r: signatureR, s: signatureS };
  if (scheme === TPM_ALG.ECDSA) return tpm.crypto.ecdsaVerify(curve.id, point, digest, signature);
  if (scheme === TPM_ALG.SM2) return verifySm2(tpm.crypto, curve.id, point, { hash, digest }, signature);
  return isHash(hash) && verifySchnorr(tpm.crypto, curve.id, point, { hash, digest }, signature);
}
