/** Whether a public and a sensitive area belong together: Part 1, 27.7, and Part 3, 12.2 and 12.3. */
import { TPM_ALG, TPM_RC, type TpmtPublicOrNull, type TpmtSensitive } from '@casemate/tpm';
import { isEqual, padStart } from './bytes.js';
import { curveOf, isOnCurve } from './curve.js';
import { digestSize, isHash } from './implementation.js';
import { bitLength, toInteger } from './integer.js';
import { isStorageParent } from './object.js';
import { maxKeyedHashData } from './public-area.js';
import { refuse, refuseParameter } from './refusal.js';
import type { Tpm } from './tpm.js';

/** Where the two areas stand among the parameters, to blame the right one. */
export interface Places {
  /** The number of the public area's parameter. */
  readonly publicAt: number;
  /** The number of the sensitive area's parameter. */
  readonly sensitiveAt: number;
}

/** Refuses areas that are malformed or do not belong together. The caller controls both. */
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
      return;
    case TPM_ALG.ECC:
      assertEcc(tpm, area, sensitive, places);
      return;
    default:
      assertSymmetric(tpm, area, sensitive, places);
  }
}

function assertSensitive(area: TpmtPublicOrNull, sensitive: TpmtSensitive, { sensitiveAt }: Places): void {
  if (sensitive.sensitiveType !== area.type) refuseParameter(TPM_RC.TYPE, sensitiveAt);
  const size = digestSize(area.nameAlg);
  if (size > 0 && sensitive.authValue.length > size) refuseParameter(TPM_RC.SIZE, sensitiveAt);
  const isSeeded = isStorageParent(area) || area.type === TPM_ALG.KEYEDHASH || area.type === TPM_ALG.SYMCIPHER;
  if (isSeeded && isHash(area.nameAlg)) {
    if (isStorageParent(area) && sensitive.seedValue.length !== size) refuseParameter(TPM_RC.SIZE, sensitiveAt);
    if (sensitive.seedValue.length > size) refuseParameter(TPM_RC.SIZE, sensitiveAt);
  }
}

type Area<T extends number> = Extract<TpmtPublicOrNull, { readonly type: T }>;

function assertRsa(area: Area<typeof TPM_ALG.RSA>, sensitive: TpmtSensitive | undefined, places: Places): void {
  const { keyBits } = area.parameters;
  const n = toInteger(area.unique);
  if (area.unique.length !== keyBits / 8 || bitLength(n) !== keyBits) refuseParameter(TPM_RC.KEY, places.publicAt);
  if (sensitive === undefined) return;
  if (sensitive.sensitive.length * 2 !== keyBits / 8) refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
  const p = toInteger(sensitive.sensitive);
  if (p < 3n || n % p !== 0n || p === n) refuse(TPM_RC.BINDING);
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
  if (x.length > size || y.length > size) refuseParameter(TPM_RC.KEY, places.publicAt);
  if (sensitive === undefined) {
    if (!isOnCurve(curve, area.unique)) refuseParameter(TPM_RC.ECC_POINT, places.publicAt);
    return;
  }
  if (sensitive.sensitive.length > size) refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
  const d = toInteger(sensitive.sensitive);
  if (d === 0n || d >= order) refuse(TPM_RC.KEY_SIZE);
  const point = tpm.crypto.eccMultiply(id, padStart(sensitive.sensitive, size));
  if (!point || !isEqual(point.x, padStart(x, size)) || !isEqual(point.y, padStart(y, size))) refuse(TPM_RC.BINDING);
}

function assertSymmetric(
  tpm: Tpm,
  area: Area<typeof TPM_ALG.KEYEDHASH | typeof TPM_ALG.SYMCIPHER>,
  sensitive: TpmtSensitive | undefined,
  places: Places,
): void {
  const size = digestSize(area.nameAlg);
  if (area.unique.length !== size) refuseParameter(TPM_RC.KEY, places.publicAt);
  if (sensitive === undefined) return;
  const secret = sensitive.sensitive;
  if (area.type === TPM_ALG.SYMCIPHER && secret.length !== area.parameters.sym.keyBits / 8) {
    refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
  }
  if (area.type === TPM_ALG.KEYEDHASH && secret.length > maxKeyedHashData(area)) {
    refuseParameter(TPM_RC.KEY_SIZE, places.sensitiveAt);
  }
  if (size === 0) return;
  if (!isEqual(area.unique, tpm.crypto.hash(area.nameAlg, sensitive.seedValue, secret))) {
    refuseParameter(TPM_RC.BINDING, places.publicAt);
  }
}
