/** Whether a public and a sensitive area belong together: Part 1, 27.7, and Part 3, 12.2, 12.3 and 13.3. */
import { TPM_ALG, TPM_RC, TPMA_OBJECT, type TpmtPublicOrNull, type TpmtSensitive } from '@casemate/tpm';
import { isEqual } from './bytes.js';
import { curveOf, isOnCurve } from './curve.js';
import { digestSize, isHash } from './implementation.js';
import { bitLength, modInverse, toBytes, toInteger } from './integer.js';
import { has, symmetricUnique } from './object.js';
import { maxKeyedHashData } from './public-area.js';
import { refuse, refuseParameter } from './refusal.js';
import { isTdesKey } from './tdes.js';
import type { Tpm } from './tpm.js';

/** Where the two areas stand among the parameters, to blame the right one. */
export interface Places {
  /** The number of the public area's parameter. */
  readonly publicAt: number;
  /** The number of the sensitive area's parameter. */
  readonly sensitiveAt: number;
}

/** Refuses a seed that is longer than the digest that names the object, before anything else is looked at. */
export function assertSeedFits(
  area: TpmtPublicOrNull,
  sensitive: TpmtSensitive | undefined,
  sensitiveAt: number,
): void {
  if (sensitive === undefined || area.nameAlg === TPM_ALG.NULL) return;
  if (sensitive.seedValue.length > digestSize(area.nameAlg)) refuseParameter(TPM_RC.KEY_SIZE, sensitiveAt);
}

/**
 * Refuses areas that are malformed or do not belong together. The caller controls both. Whether an RSA prime belongs to its modulus is
 * left to `assertPrivateExponent`: TPM2_Import does not look at it.
 */
export function assertKeysMatch(
  tpm: Tpm,
  area: TpmtPublicOrNull,
  sensitive: TpmtSensitive | undefined,
  places: Places,
): void {
  if (sensitive !== undefined) assertSensitive(area, sensitive, places);
  switch (area.type) {
    case TPM_ALG.RSA:
      assertRsa(area, sensitive, places);
      break;
    case TPM_ALG.ECC:
      assertEcc(tpm, area, sensitive, places);
      break;
    default:
      assertSymmetric(tpm, area, sensitive, places);
  }
  if (sensitive !== undefined) assertParentSeed(area, sensitive, places);
}

function assertSensitive(area: TpmtPublicOrNull, sensitive: TpmtSensitive, { sensitiveAt }: Places): void {
  if (sensitive.sensitiveType !== area.type) refuseParameter(TPM_RC.TYPE, sensitiveAt);
  const size = digestSize(area.nameAlg);
  if (size > 0 && sensitive.authValue.length > size) refuseParameter(TPM_RC.SIZE, sensitiveAt);
}

// A parent's seed has at least half of the strength that its name has.
function assertParentSeed(area: TpmtPublicOrNull, { seedValue }: TpmtSensitive, { sensitiveAt }: Places): void {
  if (!has(area, TPMA_OBJECT.restricted) || !has(area, TPMA_OBJECT.decrypt) || !isHash(area.nameAlg)) return;
  const size = digestSize(area.nameAlg);
  if (seedValue.length < size / 2 || seedValue.length > size) refuseParameter(TPM_RC.SIZE, sensitiveAt);
}

type Area<T extends number> = Extract<TpmtPublicOrNull, { readonly type: T }>;

function assertRsa(area: Area<typeof TPM_ALG.RSA>, sensitive: TpmtSensitive | undefined, places: Places): void {
  const { keyBits, exponent } = area.parameters;
  const n = toInteger(area.unique);
  if (area.unique.length !== keyBits / 8 || bitLength(n) !== keyBits) refuseParameter(TPM_RC.KEY, places.publicAt);
  if (exponent !== 0 && exponent < 7) refuseParameter(TPM_RC.VALUE, places.publicAt);
  if (sensitive === undefined) return;
  const p = toInteger(sensitive.sensitive);
  const isWhole = sensitive.sensitive.length * 16 === keyBits && bitLength(p) * 2 === keyBits;
  if (!isWhole) refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
}

/** Refuses an RSA key that has no private exponent: its prime does not divide the modulus, or its exponent has no inverse. */
export function assertPrivateExponent(area: TpmtPublicOrNull, sensitive: TpmtSensitive | undefined): void {
  if (area.type !== TPM_ALG.RSA || sensitive === undefined) return;
  const [n, p] = [toInteger(area.unique), toInteger(sensitive.sensitive)];
  if (p < 2n || n % p !== 0n) refuse(TPM_RC.BINDING);
  const q = n / p;
  const e = BigInt(area.parameters.exponent === 0 ? DEFAULT_EXPONENT : area.parameters.exponent);
  if (!isInvertible(e, p - 1n) || !isInvertible(e, q - 1n) || !isInvertible(q, p)) refuse(TPM_RC.BINDING);
}

const DEFAULT_EXPONENT = 65537;

function isInvertible(value: bigint, modulus: bigint): boolean {
  try {
    modInverse(value, modulus);
    return true;
  } catch {
    return false;
  }
}

function assertEcc(
  tpm: Tpm,
  area: Area<typeof TPM_ALG.ECC>,
  sensitive: TpmtSensitive | undefined,
  places: Places,
): void {
  const curve = curveOf(area.parameters.curveID) ?? refuseParameter(TPM_RC.CURVE, places.publicAt);
  const { id, size, order } = curve;
  const { x, y } = area.unique;
  const isNamed = isHash(area.nameAlg);
  if (sensitive === undefined) {
    if (x.length !== size || y.length !== size) refuseParameter(TPM_RC.KEY, places.publicAt);
    if (isNamed && !isOnCurve(curve, area.unique)) refuseParameter(TPM_RC.ECC_POINT, places.publicAt);
    return;
  }
  const d = toInteger(sensitive.sensitive);
  if (d === 0n || d >= order) refuse(TPM_RC.KEY_SIZE);
  if (!isNamed) return;
  const point = tpm.crypto.eccMultiply(id, toBytes(d, size)) ?? refuse(TPM_RC.BINDING);
  if (toInteger(point.x) !== toInteger(x) || toInteger(point.y) !== toInteger(y)) refuse(TPM_RC.BINDING);
}

function assertSymmetric(
  tpm: Tpm,
  area: Area<typeof TPM_ALG.KEYEDHASH | typeof TPM_ALG.SYMCIPHER>,
  sensitive: TpmtSensitive | undefined,
  places: Places,
): void {
  const size = digestSize(area.nameAlg);
  if (sensitive === undefined) {
    if (area.unique.length !== size) refuseParameter(TPM_RC.KEY, places.publicAt);
    return;
  }
  const { sensitive: secret, seedValue } = sensitive;
  if (area.type === TPM_ALG.SYMCIPHER) assertCipherKey(area, secret, places);
  else if (secret.length > maxKeyedHashData(area)) refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
  if (size === 0) return;
  if (seedValue.length !== size) refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
  if (!isEqual(area.unique, symmetricUnique(tpm.crypto, area, seedValue, secret))) refuse(TPM_RC.BINDING);
}

function assertCipherKey(area: Area<typeof TPM_ALG.SYMCIPHER>, key: Uint8Array, { sensitiveAt }: Places): void {
  const { algorithm, keyBits } = area.parameters.sym;
  if (key.length !== keyBits / 8) refuseParameter(TPM_RC.KEY_SIZE, sensitiveAt);
  if (algorithm === TPM_ALG.TDES && !isTdesKey(key)) refuseParameter(TPM_RC.KEY, sensitiveAt);
}
