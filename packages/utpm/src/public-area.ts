/** Which public areas are acceptable: Part 1, clause 25 and 27, and Part 3, 12.1.1 to 12.1.3. */
import { TPM_ALG, TPM_RC, TPMA_OBJECT, type TpmtPublicOrNull } from '@casemate/tpm';
import { curveOf } from './curve.js';
import { isPolicySize } from './entity.js';
import { AES_BITS, IMPLEMENTATION, isHash, RSA_BITS } from './implementation.js';
import { has, isStorageParent } from './object.js';
import { refuse } from './refusal.js';

const { fixedTPM, fixedParent, encryptedDuplication, restricted, decrypt, sign, sensitiveDataOrigin } = TPMA_OBJECT;

/** Refuses algorithms, key sizes and curves that this TPM does not have, wherever they stand in the area. */
export function assertSupported(area: TpmtPublicOrNull): void {
  if (area.nameAlg !== TPM_ALG.NULL && !isHash(area.nameAlg)) refuse(TPM_RC.HASH);
  switch (area.type) {
    case TPM_ALG.RSA:
      assertSymmetric(area.parameters.symmetric);
      assertScheme(area.parameters.scheme);
      if (!RSA_BITS.includes(area.parameters.keyBits)) refuse(TPM_RC.VALUE);
      assertExponent(area.parameters.exponent);
      return;
    case TPM_ALG.ECC:
      assertSymmetric(area.parameters.symmetric);
      assertScheme(area.parameters.scheme);
      if (curveOf(area.parameters.curveID) === undefined) refuse(TPM_RC.CURVE);
      assertKdf(area.parameters.kdf);
      return;
    case TPM_ALG.SYMCIPHER:
      assertSymmetric(area.parameters.sym);
      return;
    default:
      assertScheme(area.parameters.scheme);
  }
}

interface Symmetric {
  readonly algorithm: number;
  readonly keyBits?: number | undefined;
}

function assertSymmetric({ algorithm, keyBits }: Symmetric): void {
  if (algorithm === TPM_ALG.NULL) return;
  if (algorithm !== TPM_ALG.AES) refuse(TPM_RC.SYMMETRIC);
  if (keyBits === undefined || !AES_BITS.includes(keyBits)) refuse(TPM_RC.VALUE);
}

interface Scheme {
  readonly scheme: number;
  readonly details?: { readonly hashAlg?: number } | undefined;
}

const SCHEMES: readonly number[] = [
  TPM_ALG.NULL,
  TPM_ALG.RSASSA,
  TPM_ALG.RSAPSS,
  TPM_ALG.RSAES,
  TPM_ALG.OAEP,
  TPM_ALG.ECDSA,
  TPM_ALG.ECDH,
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

// 0 stands for 65537. Any other exponent must be a prime above 2^16 (Part 2, 12.2.3.5); the one that the world uses is taken.
function assertExponent(exponent: number): void {
  if (exponent !== 0 && exponent !== 65537) refuse(TPM_RC.RANGE);
}

/** Refuses attributes that contradict each other or the parent's; `parent` is undefined for a primary object. */
export function assertAttributes(area: TpmtPublicOrNull, parent: TpmtPublicOrNull | undefined): void {
  if (!isPolicySize(area.nameAlg, area.authPolicy.length)) refuse(TPM_RC.SIZE);
  if (parent === undefined || has(parent, fixedTPM)) {
    if (has(area, fixedTPM) !== has(area, fixedParent)) refuse(TPM_RC.ATTRIBUTES);
  } else if (has(area, fixedTPM)) refuse(TPM_RC.ATTRIBUTES);
  if (has(area, fixedTPM) && has(area, encryptedDuplication)) refuse(TPM_RC.ATTRIBUTES);
  if (
    parent !== undefined &&
    !has(parent, fixedTPM) &&
    has(parent, encryptedDuplication) !== has(area, encryptedDuplication)
  ) {
    refuse(TPM_RC.ATTRIBUTES);
  }
  if (has(area, restricted) && has(area, sign) === has(area, decrypt)) refuse(TPM_RC.ATTRIBUTES);
}

/** Refuses a template that TPM2_Create and its like cannot make an object of; `data` is the caller's sensitive data. */
export function assertCreatable(area: TpmtPublicOrNull, parent: TpmtPublicOrNull | undefined, data: Uint8Array): void {
  const isGenerated = has(area, sensitiveDataOrigin);
  if (isGenerated ? data.length > 0 : data.length === 0) refuse(TPM_RC.ATTRIBUTES);
  switch (area.type) {
    case TPM_ALG.KEYEDHASH:
      // Nothing but the caller can make the data of a sealed object.
      if (has(area, sign) === has(area, decrypt) && isGenerated) refuse(TPM_RC.ATTRIBUTES);
      break;
    case TPM_ALG.SYMCIPHER:
      if (has(area, restricted) && !isGenerated && (has(area, fixedParent) || has(area, fixedTPM)))
        refuse(TPM_RC.ATTRIBUTES);
      break;
    default:
      if (!isGenerated) refuse(TPM_RC.ATTRIBUTES);
  }
  assertSchemes(area, parent);
  assertAttributes(area, parent);
}

/** Refuses schemes that do not fit the object's use, and storage keys whose protection differs from a parent's that is not fixed. */
export function assertSchemes(area: TpmtPublicOrNull, parent: TpmtPublicOrNull | undefined): void {
  switch (area.type) {
    case TPM_ALG.SYMCIPHER:
      assertCipherMode(area);
      return;
    case TPM_ALG.KEYEDHASH:
      assertKeyedHash(area, area.parameters.scheme);
      return;
    default:
      assertAsymmetric(area, parent);
  }
}

function assertCipherMode(area: Extract<TpmtPublicOrNull, { readonly type: typeof TPM_ALG.SYMCIPHER }>): void {
  const { mode } = area.parameters.sym;
  if (isStorageParent(area) && mode !== TPM_ALG.CFB) refuse(TPM_RC.MODE);
}

function assertKeyedHash(area: TpmtPublicOrNull, { scheme }: Scheme): void {
  if (has(area, sign) === has(area, decrypt)) {
    if (scheme !== TPM_ALG.NULL) refuse(TPM_RC.SCHEME);
    return;
  }
  if (has(area, sign) && scheme !== TPM_ALG.HMAC) {
    if (scheme !== TPM_ALG.NULL || has(area, restricted)) refuse(TPM_RC.SCHEME);
  }
  if (has(area, decrypt) && scheme !== TPM_ALG.XOR) {
    if (scheme !== TPM_ALG.NULL || has(area, restricted)) refuse(TPM_RC.SCHEME);
  }
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
  assertProtection(area, parent);
  if (area.type === TPM_ALG.ECC && area.parameters.kdf.scheme !== TPM_ALG.NULL) refuse(TPM_RC.KDF);
}

function assertProtection(area: AsymmetricArea, parent: TpmtPublicOrNull | undefined): void {
  const { symmetric } = area.parameters;
  if (!isStorageParent(area)) {
    if (symmetric.algorithm !== TPM_ALG.NULL) refuse(TPM_RC.SYMMETRIC);
    return;
  }
  if (symmetric.algorithm === TPM_ALG.NULL) {
    refuse(TPM_RC.SYMMETRIC);
    return;
  }
  if (symmetric.mode !== TPM_ALG.CFB) refuse(TPM_RC.MODE);
  // Under a parent that may move, children must not be weaker protected where they land (Part 1, 23.2).
  if (parent === undefined || has(parent, fixedTPM) || !has(area, fixedParent)) return;
  if (area.nameAlg !== parent.nameAlg) refuse(TPM_RC.HASH);
}

/** Is `scheme` one that keys of `type` sign with? */
export function isSigningScheme(type: number, scheme: number): boolean {
  if (type === TPM_ALG.RSA) return scheme === TPM_ALG.RSASSA || scheme === TPM_ALG.RSAPSS;
  if (type === TPM_ALG.ECC) return scheme === TPM_ALG.ECDSA;
  return type === TPM_ALG.KEYEDHASH && scheme === TPM_ALG.HMAC;
}

function isDecryptingScheme(type: number, scheme: number): boolean {
  if (type === TPM_ALG.RSA) return scheme === TPM_ALG.RSAES || scheme === TPM_ALG.OAEP;
  return scheme === TPM_ALG.ECDH;
}

/** The longest data that a sealed object may hold, and the longest HMAC key of a hash, in bytes. */
export function maxKeyedHashData(area: TpmtPublicOrNull): number {
  if (area.type !== TPM_ALG.KEYEDHASH || area.parameters.scheme.scheme !== TPM_ALG.HMAC)
    return IMPLEMENTATION.MAX_SYM_DATA;
  return Math.min(IMPLEMENTATION.MAX_SYM_DATA, blockSize(area.parameters.scheme.details.hashAlg));
}

function blockSize(alg: number): number {
  return alg === TPM_ALG.SHA384 || alg === TPM_ALG.SHA512 ? 128 : 64;
}
