/** Which public areas are acceptable: Part 1, clause 25 and 27, and Part 3, 12.1.1 to 12.1.3. */
import { TPM_ALG, TPM_RC, TPMA_OBJECT, type TpmtPublicOrNull } from '@casemate/tpm';
import { cipherKeyBits } from './block-cipher.js';
import type { UtpmCrypto } from './crypto.js';
import { curveOf } from './curve.js';
import { isPolicySize } from './entity.js';
import { IMPLEMENTATION, isHash, RSA_BITS } from './implementation.js';
import { has, isDerivationParent, isStorageParent } from './object.js';
import { refuse } from './refusal.js';

const { fixedTPM, fixedParent, encryptedDuplication, restricted, decrypt, sign, sensitiveDataOrigin } = TPMA_OBJECT;

/** Refuses algorithms, key sizes and curves that this TPM does not have, wherever they stand in the area. */
export function assertSupported(crypto: UtpmCrypto, area: TpmtPublicOrNull): void {
  if (area.nameAlg !== TPM_ALG.NULL && !isHash(area.nameAlg)) refuse(TPM_RC.HASH);
  switch (area.type) {
    case TPM_ALG.RSA:
      assertSymmetric(crypto, area.parameters.symmetric);
      assertScheme(area.parameters.scheme);
      if (!RSA_BITS.includes(area.parameters.keyBits)) refuse(TPM_RC.VALUE);
      return;
    case TPM_ALG.ECC:
      assertSymmetric(crypto, area.parameters.symmetric);
      assertScheme(area.parameters.scheme);
      if (curveOf(area.parameters.curveID) === undefined) refuse(TPM_RC.CURVE);
      assertKdf(area.parameters.kdf);
      return;
    case TPM_ALG.SYMCIPHER:
      assertSymmetric(crypto, area.parameters.sym);
      return;
    default:
      assertScheme(area.parameters.scheme);
  }
}

/** How a cipher is told in a public area. */
export interface Symmetric {
  readonly algorithm: number;
  readonly keyBits?: number | undefined;
  readonly mode?: number | undefined;
}

/** Refuses ciphers and key sizes that this TPM does not have. */
export function assertSymmetric(crypto: UtpmCrypto, { algorithm, keyBits = 0 }: Symmetric): void {
  if (algorithm === TPM_ALG.NULL) return;
  if (!crypto.ciphers.includes(algorithm)) refuse(TPM_RC.SYMMETRIC);
  if (!cipherKeyBits(algorithm).includes(keyBits)) refuse(TPM_RC.VALUE);
}

interface Scheme {
  readonly scheme: number;
  readonly details?: { readonly hashAlg?: number; readonly kdf?: number } | undefined;
}

const SCHEMES: readonly number[] = [
  TPM_ALG.NULL,
  TPM_ALG.RSASSA,
  TPM_ALG.RSAPSS,
  TPM_ALG.RSAES,
  TPM_ALG.OAEP,
  TPM_ALG.ECDSA,
  TPM_ALG.ECDAA,
  TPM_ALG.SM2,
  TPM_ALG.ECSCHNORR,
  TPM_ALG.ECDH,
  TPM_ALG.ECMQV,
  TPM_ALG.HMAC,
  TPM_ALG.XOR,
];

function assertScheme({ scheme, details }: Scheme): void {
  if (!SCHEMES.includes(scheme)) refuse(TPM_RC.SCHEME);
  if (details?.hashAlg !== undefined && !isHash(details.hashAlg)) refuse(TPM_RC.HASH);
}

function assertKdf({ scheme, details }: Scheme): void {
  if (scheme !== TPM_ALG.NULL && details?.hashAlg !== undefined && !isHash(details.hashAlg)) refuse(TPM_RC.HASH);
}

/** Refuses attributes that contradict each other or the parent's, and then schemes; `parent` is undefined for a primary object. */
export function assertAttributes(area: TpmtPublicOrNull, parent: TpmtPublicOrNull | undefined): void {
  if (area.nameAlg === TPM_ALG.NULL) refuse(TPM_RC.HASH);
  if (!isPolicySize(area.nameAlg, area.authPolicy.length)) refuse(TPM_RC.SIZE);
  if (parent === undefined || has(parent, fixedTPM)) {
    if (has(area, fixedTPM) !== has(area, fixedParent)) refuse(TPM_RC.ATTRIBUTES);
  } else if (has(area, fixedTPM)) refuse(TPM_RC.ATTRIBUTES);
  if (has(area, sign) === has(area, decrypt)) {
    if (has(area, restricted)) refuse(TPM_RC.ATTRIBUTES);
    // Only a data object does neither.
    if (area.type !== TPM_ALG.KEYEDHASH && !has(area, sign)) refuse(TPM_RC.ATTRIBUTES);
  }
  if (has(area, fixedTPM) && has(area, encryptedDuplication)) refuse(TPM_RC.ATTRIBUTES);
  if (
    parent !== undefined &&
    !has(parent, fixedTPM) &&
    has(parent, encryptedDuplication) !== has(area, encryptedDuplication)
  ) {
    refuse(TPM_RC.ATTRIBUTES);
  }
  if (parent !== undefined && isDerivationParent(parent)) {
    if (has(area, fixedTPM) !== has(parent, fixedTPM) || !has(area, fixedParent)) refuse(TPM_RC.ATTRIBUTES);
  }
  assertSchemes(area, parent);
}

/** Refuses a template that TPM2_Create and its like cannot make an object of; `data` is the caller's sensitive data. */
export function assertCreatable(area: TpmtPublicOrNull, parent: TpmtPublicOrNull | undefined, data: Uint8Array): void {
  const isGenerated = has(area, sensitiveDataOrigin);
  if (!isGenerated && data.length === 0) refuse(TPM_RC.ATTRIBUTES);
  // With a primary object the data go into its derivation instead.
  if (isGenerated && data.length > 0 && parent !== undefined) refuse(TPM_RC.ATTRIBUTES);
  if (area.type === TPM_ALG.RSA || area.type === TPM_ALG.ECC) {
    if (!isGenerated) refuse(TPM_RC.ATTRIBUTES);
  } else {
    // Nothing but the caller can make the data of a sealed object.
    const isData = area.type === TPM_ALG.KEYEDHASH && !has(area, sign) && !has(area, decrypt);
    if (isData && isGenerated) refuse(TPM_RC.ATTRIBUTES);
    const isFixed = has(area, fixedParent) || has(area, fixedTPM);
    if (has(area, restricted) && !isGenerated && isFixed) refuse(TPM_RC.ATTRIBUTES);
  }
  assertAttributes(area, parent);
}

/** Refuses schemes that do not fit the object's use, and storage keys that stay under a parent but are protected otherwise. */
export function assertSchemes(area: TpmtPublicOrNull, parent: TpmtPublicOrNull | undefined): void {
  switch (area.type) {
    case TPM_ALG.SYMCIPHER:
      if (has(area, decrypt) && area.parameters.sym.mode === TPM_ALG.CMAC) refuse(TPM_RC.SCHEME);
      assertProtection(area, area.parameters.sym, parent);
      return;
    case TPM_ALG.KEYEDHASH:
      assertKeyedHash(area, area.parameters.scheme);
      return;
    default:
      assertAsymmetric(area, parent);
  }
}

function assertKeyedHash(area: TpmtPublicOrNull, { scheme, details }: Scheme): void {
  const expected = has(area, sign) ? TPM_ALG.HMAC : TPM_ALG.XOR;
  if (scheme !== (has(area, sign) === has(area, decrypt) ? TPM_ALG.NULL : expected)) refuse(TPM_RC.SCHEME);
  // A derivation parent derives by SP 800-108.
  if (isDerivationParent(area) && details?.kdf !== TPM_ALG.KDF1_SP800_108) refuse(TPM_RC.SCHEME);
}

type AsymmetricArea = Extract<TpmtPublicOrNull, { readonly type: typeof TPM_ALG.RSA | typeof TPM_ALG.ECC }>;

function assertAsymmetric(area: AsymmetricArea, parent: TpmtPublicOrNull | undefined): void {
  const { scheme } = area.parameters.scheme;
  const isSigner = has(area, sign);
  const isDecrypter = has(area, decrypt);
  if (isSigner === isDecrypter) {
    if (scheme !== TPM_ALG.NULL) refuse(TPM_RC.SCHEME);
  } else if (isSigner) {
    if (!isSigningScheme(area.type, scheme) && (scheme !== TPM_ALG.NULL || has(area, restricted)))
      refuse(TPM_RC.SCHEME);
  } else if (has(area, restricted)) {
    if (scheme !== TPM_ALG.NULL) refuse(TPM_RC.SCHEME);
  } else if (!isDecryptingScheme(area.type, scheme) && scheme !== TPM_ALG.NULL) refuse(TPM_RC.SCHEME);
  const { symmetric } = area.parameters;
  if (!isStorageParent(area) && symmetric.algorithm !== TPM_ALG.NULL) refuse(TPM_RC.SYMMETRIC);
  if (area.type === TPM_ALG.ECC && area.parameters.kdf.scheme !== TPM_ALG.NULL) refuse(TPM_RC.KDF);
  assertProtection(area, symmetric, parent);
}

// A storage key that cannot leave its parent must protect as its parent does (Part 1, 23.2). Sensitive areas are encrypted in CFB mode
// whatever mode is named, which libtpms does not mind either.
function assertProtection(area: TpmtPublicOrNull, symmetric: Symmetric, parent: TpmtPublicOrNull | undefined): void {
  if (!isStorageParent(area)) return;
  if (symmetric.algorithm === TPM_ALG.NULL) refuse(TPM_RC.SYMMETRIC);
  if (parent === undefined || !has(area, fixedParent)) return;
  if (area.nameAlg !== parent.nameAlg) refuse(TPM_RC.HASH);
  const above = symmetricOf(parent);
  const isSame = above?.algorithm === symmetric.algorithm && above.keyBits === symmetric.keyBits;
  if (!isSame || above.mode !== symmetric.mode) refuse(TPM_RC.SYMMETRIC);
}

/** The symmetric definition of a public area that has one. */
export function symmetricOf(area: TpmtPublicOrNull): Symmetric | undefined {
  switch (area.type) {
    case TPM_ALG.RSA:
    case TPM_ALG.ECC:
      return area.parameters.symmetric;
    case TPM_ALG.SYMCIPHER:
      return area.parameters.sym;
    default:
      return undefined;
  }
}

const ECC_SIGNING: readonly number[] = [TPM_ALG.ECDSA, TPM_ALG.ECDAA, TPM_ALG.SM2, TPM_ALG.ECSCHNORR];
const ECC_DECRYPTING: readonly number[] = [TPM_ALG.ECDH, TPM_ALG.SM2, TPM_ALG.ECMQV];

/** Is `scheme` one that keys of `type` sign with? */
export function isSigningScheme(type: number, scheme: number): boolean {
  if (type === TPM_ALG.RSA) return scheme === TPM_ALG.RSASSA || scheme === TPM_ALG.RSAPSS;
  if (type === TPM_ALG.ECC) return ECC_SIGNING.includes(scheme);
  return type === TPM_ALG.KEYEDHASH && scheme === TPM_ALG.HMAC;
}

function isDecryptingScheme(type: number, scheme: number): boolean {
  if (type === TPM_ALG.RSA) return scheme === TPM_ALG.RSAES || scheme === TPM_ALG.OAEP;
  return ECC_DECRYPTING.includes(scheme);
}

/** The longest data that a sealed object may hold, and the longest key of a hash, in bytes. */
export function maxKeyedHashData(area: TpmtPublicOrNull): number {
  if (area.type !== TPM_ALG.KEYEDHASH) return IMPLEMENTATION.MAX_SYM_DATA;
  const { scheme, details } = area.parameters.scheme;
  return scheme === TPM_ALG.NULL ? IMPLEMENTATION.MAX_SYM_DATA : hashBlockSize(details.hashAlg);
}

/** The block of a hash algorithm in bytes: the longest useful key of its HMAC. */
export function hashBlockSize(alg: number): number {
  return alg === TPM_ALG.SHA384 || alg === TPM_ALG.SHA512 ? 128 : 64;
}
