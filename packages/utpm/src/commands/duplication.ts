/** Duplication: Part 3, clause 13; Part 1, clause 23. */
import {
  Duplicate,
  Import,
  Rewrap,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  TPMA_OBJECT,
  TpmtSensitive,
  type TpmtSymDefObjectOrNull,
} from '@casemate/tpm';
import { EMPTY, trimAuth } from '../bytes.js';
import { encodeSensitive } from '../creation.js';
import { decodeOrRefuse } from '../decoding.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { digestSize, IMPLEMENTATION } from '../implementation.js';
import { has, isAsymmetricParent, isStorageParent, nameOfPublic, type TpmObject } from '../object.js';
import {
  type InnerKey,
  parentCipher,
  protectorOf,
  receiveSecret,
  shareSecret,
  sized,
  unsized,
  unwrapInner,
  unwrapOnce,
  wrap,
  wrapInner,
  wrapOnce,
} from '../protection.js';
import { assertAttributes, assertSupported, assertSymmetric } from '../public-area.js';
import { blameParameter, Refusal, refuse, refuseHandle, refuseParameter } from '../refusal.js';
import type { Tpm } from '../tpm.js';
import { assertKeysMatch, assertSeedFits } from '../validity.js';

/** TPM2_Duplicate (13.1). */
export const duplicate = /* @__PURE__ */ handler(Duplicate, (tpm, request) => {
  const { objectHandle, newParentHandle, encryptionKeyIn, symmetricAlg } = request;
  const object = objectAt(tpm, objectHandle);
  if (has(object.public, TPMA_OBJECT.fixedParent)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (object.public.nameAlg === TPM_ALG.NULL) refuseHandle(TPM_RC.TYPE, 1);
  const parent = newParentHandle === TPM_RH.NULL ? undefined : objectAt(tpm, newParentHandle);
  if (parent !== undefined && !isAsymmetricParent(parent.public)) refuseHandle(TPM_RC.TYPE, 2);
  if (has(object.public, TPMA_OBJECT.encryptedDuplication)) {
    if (symmetricAlg.algorithm === TPM_ALG.NULL) refuseParameter(TPM_RC.SYMMETRIC, 2);
    if (parent === undefined) refuseHandle(TPM_RC.HIERARCHY, 2);
  }
  const inner = innerKey(tpm, symmetricAlg, encryptionKeyIn);
  const plain = sized(encodeSensitive(object.sensitive ?? refuse(TPM_RC.AUTH_UNAVAILABLE), object.public.nameAlg));
  const { nameAlg } = object.public;
  const wrapped = inner === undefined ? plain : wrapInner(tpm, nameAlg, inner, object.name, plain);
  const encryptionKeyOut = inner !== undefined && encryptionKeyIn.length === 0 ? inner.key : EMPTY;
  if (parent === undefined) return { encryptionKeyOut, duplicate: wrapped, outSymSeed: EMPTY };
  const { seed, encrypted } = shareSecret(tpm, parent.public, 'DUPLICATE');
  const protector = { seed, hash: parent.public.nameAlg, cipher: parentCipher(parent.public) };
  return { encryptionKeyOut, duplicate: wrapOnce(tpm, protector, object.name, wrapped), outSymSeed: encrypted };
});

function innerKey(tpm: Tpm, symmetric: TpmtSymDefObjectOrNull, given: Uint8Array): InnerKey | undefined {
  const cipher = cipherOf(tpm, symmetric, 2);
  if (cipher === undefined) return given.length > 0 ? refuseParameter(TPM_RC.SIZE, 1) : undefined;
  if (given.length > 0 && given.length !== cipher.size) refuseParameter(TPM_RC.SIZE, 1);
  return { algorithm: cipher.algorithm, key: given.length > 0 ? given : tpm.crypto.random(cipher.size) };
}

/** The cipher of an inner wrap with the length of its key; `index` is the parameter's number. It is used in CFB mode whatever it names. */
function cipherOf(
  tpm: Tpm,
  symmetric: TpmtSymDefObjectOrNull,
  index: number,
): { readonly algorithm: number; readonly size: number } | undefined {
  if (symmetric.algorithm === TPM_ALG.NULL) return undefined;
  blameParameter(index, () => assertSymmetric(tpm.crypto, symmetric));
  return { algorithm: symmetric.algorithm, size: symmetric.keyBits / 8 };
}

/** TPM2_Import (13.3). */
export const importObject = /* @__PURE__ */ handler(Import, (tpm, request) => {
  const { parentHandle, encryptionKey, objectPublic, inSymSeed, symmetricAlg } = request;
  const parent = objectAt(tpm, parentHandle);
  blameParameter(2, () => assertSupported(tpm.crypto, objectPublic));
  if (has(objectPublic, TPMA_OBJECT.fixedTPM) || has(objectPublic, TPMA_OBJECT.fixedParent)) {
    refuseParameter(TPM_RC.ATTRIBUTES, 2);
  }
  if (!isStorageParent(parent.public) || parent.sensitive === undefined) refuseHandle(TPM_RC.TYPE, 1);
  const inner = importKey(tpm, symmetricAlg, encryptionKey);
  const needsWraps = has(objectPublic, TPMA_OBJECT.encryptedDuplication);
  if (needsWraps && inner === undefined) refuseParameter(TPM_RC.ATTRIBUTES, 1);
  if (needsWraps && inSymSeed.length === 0) refuseParameter(TPM_RC.ATTRIBUTES, 4);
  const name = nameOfPublic(tpm.crypto, objectPublic);
  const outer = openOuter(tpm, parent, inSymSeed, name, request.duplicate);
  const { nameAlg } = objectPublic;
  const plain = inner === undefined ? outer : blameParameter(3, () => unwrapInner(tpm, nameAlg, inner, name, outer));
  const decoded = blameParameter(3, () => decodeOrRefuse(TpmtSensitive, unsized(plain)));
  const sensitive = { ...decoded, authValue: trimAuth(decoded.authValue) };
  // Under a parent that may leave the TPM itself, nothing is promised; the object is checked when it is loaded.
  if (has(parent.public, TPMA_OBJECT.fixedTPM)) {
    assertSeedFits(objectPublic, sensitive, 3);
    blameParameter(2, () => {
      assertAttributes(objectPublic, undefined);
    });
    assertKeysMatch(tpm, objectPublic, sensitive, { publicAt: 2, sensitiveAt: 3 });
  }
  return { outPrivate: wrap(tpm, protectorOf(parent), name, encodeSensitive(sensitive, nameAlg)) };
});

function importKey(tpm: Tpm, symmetric: TpmtSymDefObjectOrNull, given: Uint8Array): InnerKey | undefined {
  const cipher = cipherOf(tpm, symmetric, 5);
  if (given.length !== (cipher?.size ?? 0)) refuseParameter(TPM_RC.SIZE, 1);
  return cipher && { algorithm: cipher.algorithm, key: given };
}

function openOuter(tpm: Tpm, parent: TpmObject, secret: Uint8Array, name: Uint8Array, blob: Uint8Array): Uint8Array {
  if (secret.length === 0) return blob;
  if (parent.public.type !== TPM_ALG.RSA && parent.public.type !== TPM_ALG.ECC) refuseHandle(TPM_RC.TYPE, 1);
  const seed = blameParameter(4, () => receiveSecret(tpm, parent, 'DUPLICATE', secret));
  const hash = parent.public.nameAlg;
  if (seed.length > digestSize(hash)) refuseParameter(TPM_RC.SIZE, 4);
  return blameParameter(3, () => unwrapOnce(tpm, { seed, hash, cipher: parentCipher(parent.public) }, name, blob));
}

/** TPM2_Rewrap (13.2): from the outer wrap for one parent to that for another; without a parent there is none. */
export const rewrap = /* @__PURE__ */ handler(Rewrap, (tpm, { oldParent, newParent, inDuplicate, name, inSymSeed }) => {
  if (inDuplicate.length > IMPLEMENTATION.MAX_PRIVATE) refuseParameter(TPM_RC.SIZE, 1);
  if ((inSymSeed.length === 0) !== (oldParent === TPM_RH.NULL)) refuseHandle(TPM_RC.HANDLE, 1);
  const bare = oldParent === TPM_RH.NULL ? inDuplicate : unwrapFrom(tpm, oldParent, inSymSeed, name, inDuplicate);
  if (newParent === TPM_RH.NULL) return { outDuplicate: bare, outSymSeed: EMPTY };
  const parent = objectAt(tpm, newParent);
  if (!isAsymmetricParent(parent.public)) refuseHandle(TPM_RC.TYPE, 2);
  const { seed, encrypted } = shareSecret(tpm, parent.public, 'DUPLICATE');
  const hash = parent.public.nameAlg;
  if (bare.length + 2 + digestSize(hash) > IMPLEMENTATION.MAX_PRIVATE) refuseParameter(TPM_RC.VALUE, 1);
  const outDuplicate = wrapOnce(tpm, { seed, hash, cipher: parentCipher(parent.public) }, name, bare);
  seed.fill(0);
  return { outDuplicate, outSymSeed: encrypted };
});

function unwrapFrom(
  tpm: Tpm,
  handle: number,
  secret: Uint8Array,
  name: Uint8Array,
  duplicateIn: Uint8Array,
): Uint8Array {
  const parent = objectAt(tpm, handle);
  if (!isAsymmetricParent(parent.public)) refuseHandle(TPM_RC.TYPE, 1);
  const seed = receiveOrRefuse(tpm, parent, secret);
  const protector = { seed, hash: parent.public.nameAlg, cipher: parentCipher(parent.public) };
  const bare = blameParameter(1, () => unwrapOnce(tpm, protector, name, duplicateIn));
  seed.fill(0);
  return bare;
}

// Whatever is wrong with the secret, it is told as a wrong value.
function receiveOrRefuse(tpm: Tpm, parent: TpmObject, secret: Uint8Array): Uint8Array {
  try {
    return receiveSecret(tpm, parent, 'DUPLICATE', secret);
  } catch (error) {
    if (error instanceof Refusal) refuseParameter(TPM_RC.VALUE, 3);
    throw error;
  }
}
