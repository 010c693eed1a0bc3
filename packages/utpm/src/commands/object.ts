/** Objects: Part 3, clause 12. */
import {
  ActivateCredential,
  type CommandRequest,
  type CommandResponse,
  Create,
  CreateLoaded,
  Load,
  LoadExternal,
  MakeCredential,
  ObjectChangeAuth,
  ReadPublic,
  TPM_ALG,
  TPM_HT,
  TPM_RC,
  TPM_RH,
  TPMA_OBJECT,
  TpmtPublic,
  TpmtPublicDerive,
  TpmtSensitive,
  Unseal,
} from '@casemate/tpm';
import { concat, EMPTY, isEqual, trimAuth } from '../bytes.js';
import {
  encodeSensitive,
  encodeTemplate,
  generateObject,
  type NewObject,
  type Origin,
  primarySource,
  proveCreation,
} from '../creation.js';
import { decodeOrRefuse } from '../decoding.js';
import { type Derivation, derivationSource, labelAndContext } from '../derivation.js';
import { handleType, objectAt } from '../entity.js';
import { handler, type Invocation } from '../handler.js';
import { digestSize } from '../implementation.js';
import { has, isDerivationParent, isStorageParent, nameOfPublic, type TpmObject } from '../object.js';
import { addExternal, addObject, assertRoom } from '../object-slots.js';
import { assertSelections } from '../pcr.js';
import {
  protectorOf,
  receiveSecret,
  shareSecret,
  sized,
  unsized,
  unwrap,
  unwrapOnce,
  wrap,
  wrapOnce,
} from '../protection.js';
import { assertAttributes, assertCreatable, assertSchemes, assertSupported } from '../public-area.js';
import { blameParameter, refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { assertTemplateAllowed } from '../template-policy.js';
import { hierarchySecrets, isHierarchyEnabled, type Tpm } from '../tpm.js';
import { assertKeysMatch, assertPrivateExponent, assertSeedFits } from '../validity.js';

/** The storage key of a handle; refuses where the object is none, and blames handle 1. */
function storageParent(tpm: Tpm, handle: number, code: number = TPM_RC.TYPE): TpmObject {
  const parent = objectAt(tpm, handle);
  if (!isStorageParent(parent.public) || parent.sensitive === undefined) refuseHandle(code, 1);
  return parent;
}

function wrapFor(tpm: Tpm, parent: TpmObject, made: NewObject): Uint8Array {
  return wrap(tpm, protectorOf(parent), made.name, encodeSensitive(made.sensitive, made.public.nameAlg));
}

/** TPM2_Create (12.1). */
export const create = /* @__PURE__ */ handler(Create, (tpm, request, invocation) => {
  const { parentHandle, inSensitive, inPublic, outsideInfo, creationPCR } = request;
  const parent = storageParent(tpm, parentHandle);
  blameParameter(2, () => assertSupported(tpm.crypto, inPublic));
  assertSelections(creationPCR, 4);
  // The object does not stay, but libtpms makes it in a slot.
  assertRoom(tpm);
  blameParameter(2, () => assertCreatable(inPublic, parent.public, inSensitive.data));
  assertTemplateAllowed(tpm, invocation, encodeTemplate(inPublic));
  const made = generateObject(tpm.crypto, inPublic, inSensitive, tpm.crypto.random);
  const origin: Origin = { kind: 'child', parent, hierarchy: parent.hierarchy };
  const circumstances = { outsideInfo, pcrs: creationPCR, locality: invocation.locality };
  const proof = proveCreation(tpm, made, origin, circumstances);
  const outPublic = { ...made.public, nameAlg: inPublic.nameAlg };
  return { outPrivate: wrapFor(tpm, parent, made), outPublic, ...proof };
});

/** TPM2_Load (12.2). */
export const load = /* @__PURE__ */ handler(Load, (tpm, { parentHandle, inPrivate, inPublic }) => {
  blameParameter(2, () => assertSupported(tpm.crypto, inPublic));
  assertRoom(tpm);
  const parent = storageParent(tpm, parentHandle);
  if (inPrivate.length === 0) refuseParameter(TPM_RC.SIZE, 1);
  const name = nameOfPublic(tpm.crypto, inPublic);
  const plain = blameParameter(1, () => unwrap(tpm, protectorOf(parent), name, inPrivate));
  const sensitive = trimmed(blameParameter(1, () => decodeOrRefuse(TpmtSensitive, plain)));
  plain.fill(0);
  assertSeedFits(inPublic, sensitive, 1);
  blameParameter(2, () => {
    assertAttributes(inPublic, parent.public);
  });
  assertKeysMatch(tpm, inPublic, sensitive, { publicAt: 2, sensitiveAt: 1 });
  assertPrivateExponent(inPublic, sensitive);
  const origin: Origin = { kind: 'child', parent, hierarchy: parent.hierarchy };
  return { objectHandle: addObject(tpm, { public: inPublic, sensitive, name }, origin), name };
});

function trimmed(sensitive: TpmtSensitive): TpmtSensitive {
  return { ...sensitive, authValue: trimAuth(sensitive.authValue) };
}

/** TPM2_LoadExternal (12.3). */
export const loadExternal = /* @__PURE__ */ handler(LoadExternal, (tpm, { inPrivate, inPublic, hierarchy }) => {
  blameParameter(2, () => assertSupported(tpm.crypto, inPublic));
  assertRoom(tpm);
  if (!isHierarchyEnabled(tpm, hierarchy)) refuseParameter(TPM_RC.HIERARCHY, 3);
  const { fixedTPM, fixedParent, restricted } = TPMA_OBJECT;
  if (inPrivate !== undefined) {
    if (hierarchy !== TPM_RH.NULL) refuseParameter(TPM_RC.HIERARCHY, 3);
    if (has(inPublic, fixedTPM) || has(inPublic, fixedParent) || has(inPublic, restricted)) {
      refuseParameter(TPM_RC.ATTRIBUTES, 2);
    }
  }
  // A public key alone is no key of this TPM: only what it is to be used for counts.
  const check = inPrivate === undefined || inPublic.nameAlg === TPM_ALG.NULL ? assertSchemes : assertAttributes;
  assertSeedFits(inPublic, inPrivate, 1);
  blameParameter(2, () => check(inPublic, undefined));
  const sensitive = inPrivate === undefined ? undefined : trimmed(inPrivate);
  assertKeysMatch(tpm, inPublic, sensitive, { publicAt: 2, sensitiveAt: 1 });
  assertPrivateExponent(inPublic, sensitive);
  const name = nameOfPublic(tpm.crypto, inPublic);
  return {
    objectHandle: addExternal(tpm, { public: inPublic, ...(sensitive && { sensitive }), name }, hierarchy),
    name,
  };
});

/** TPM2_ReadPublic (12.4). */
export const readPublic = /* @__PURE__ */ handler(ReadPublic, (tpm, { objectHandle }) => {
  const { public: outPublic, name, qualifiedName, sequence } = objectAt(tpm, objectHandle);
  if (sequence !== undefined) refuse(TPM_RC.SEQUENCE);
  return { outPublic, name, qualifiedName };
});

/** TPM2_ActivateCredential (12.5). */
export const activateCredential = /* @__PURE__ */ handler(ActivateCredential, (tpm, request) => {
  const key = objectAt(tpm, request.keyHandle);
  const object = objectAt(tpm, request.activateHandle);
  if (key.public.type !== TPM_ALG.RSA && key.public.type !== TPM_ALG.ECC) refuseHandle(TPM_RC.TYPE, 2);
  if (!isStorageParent(key.public)) refuseHandle(TPM_RC.TYPE, 2);
  const seed = blameParameter(2, () => receiveSecret(tpm, key, 'IDENTITY', request.secret));
  const protector = { ...protectorOf(key), seed };
  const certInfo = blameParameter(1, () => unsized(unwrapOnce(tpm, protector, object.name, request.credentialBlob)));
  seed.fill(0);
  return { certInfo };
});

/** TPM2_MakeCredential (12.6). */
export const makeCredential = /* @__PURE__ */ handler(MakeCredential, (tpm, { handle, credential, objectName }) => {
  const key = objectAt(tpm, handle);
  if (key.public.type !== TPM_ALG.RSA && key.public.type !== TPM_ALG.ECC) refuseHandle(TPM_RC.TYPE, 1);
  if (!isStorageParent(key.public)) refuseHandle(TPM_RC.TYPE, 1);
  if (credential.length > digestSize(key.public.nameAlg)) refuseParameter(TPM_RC.SIZE, 1);
  const { seed, encrypted } = shareSecret(tpm, key.public, 'IDENTITY');
  const protector = { ...protectorFor(key), seed };
  const credentialBlob = wrapOnce(tpm, protector, objectName, sized(credential));
  seed.fill(0);
  return { credentialBlob, secret: encrypted };
});

/** The hash and cipher of a storage key of which only the public area may be loaded. */
function protectorFor(key: TpmObject): Omit<ReturnType<typeof protectorOf>, 'seed'> {
  const { hash, cipher } = protectorOf({ ...key, sensitive: key.sensitive ?? NO_SENSITIVE });
  return { hash, cipher };
}

const NO_SENSITIVE: TpmtSensitive = {
  sensitiveType: TPM_ALG.KEYEDHASH,
  authValue: EMPTY,
  seedValue: EMPTY,
  sensitive: EMPTY,
};

/** TPM2_Unseal (12.7). */
export const unseal = /* @__PURE__ */ handler(Unseal, (tpm, { itemHandle }) => {
  const { public: area, sensitive } = objectAt(tpm, itemHandle);
  if (area.type !== TPM_ALG.KEYEDHASH) refuseHandle(TPM_RC.TYPE, 1);
  const { decrypt, sign, restricted } = TPMA_OBJECT;
  if (has(area, decrypt) || has(area, sign) || has(area, restricted)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (sensitive?.sensitiveType !== TPM_ALG.KEYEDHASH) return refuseHandle(TPM_RC.TYPE, 1);
  return { outData: sensitive.sensitive };
});

/** TPM2_ObjectChangeAuth (12.8): the loaded object keeps its old value; the new one is in the blob that is returned. */
export const objectChangeAuth = /* @__PURE__ */ handler(
  ObjectChangeAuth,
  (tpm, { objectHandle, parentHandle, newAuth }) => {
    const object = objectAt(tpm, objectHandle);
    const parent = objectAt(tpm, parentHandle);
    const auth = trimAuth(newAuth);
    if (object.sequence !== undefined) refuseHandle(TPM_RC.TYPE, 1);
    if (auth.length > digestSize(object.public.nameAlg)) refuseParameter(TPM_RC.SIZE, 1);
    if (object.isPrimary || object.isExternal) refuseHandle(TPM_RC.TYPE, 2);
    if (!isStorageParent(parent.public)) refuseHandle(TPM_RC.TYPE, 2);
    const { nameAlg } = object.public;
    const expected = concat(
      object.qualifiedName.slice(0, 2),
      tpm.crypto.hash(nameAlg, parent.qualifiedName, object.name),
    );
    if (!isEqual(expected, object.qualifiedName)) refuseHandle(TPM_RC.TYPE, 2);
    const sensitive = object.sensitive ?? refuse(TPM_RC.AUTH_UNAVAILABLE);
    const changed = encodeSensitive({ ...sensitive, authValue: auth }, nameAlg);
    const outPrivate = wrap(tpm, protectorOf(parent), object.name, changed);
    changed.fill(0);
    return { outPrivate };
  },
);

/** TPM2_CreateLoaded (12.9): a primary object, a child or a derived object, by what the parent is. */
export const createLoaded = /* @__PURE__ */ handler(CreateLoaded, (tpm, request, invocation) => {
  const { parentHandle, inSensitive, inPublic } = request;
  const isPrimary = handleType(parentHandle) === TPM_HT.PERMANENT;
  const parent = isPrimary ? undefined : objectAt(tpm, parentHandle);
  if (parent !== undefined && isDerivationParent(parent.public)) return derive(tpm, request, invocation, parent);
  if (parent !== undefined && (!isStorageParent(parent.public) || parent.sensitive === undefined))
    refuseHandle(TPM_RC.TYPE, 1);
  assertRoom(tpm);
  const template = blameParameter(2, () => decodeOrRefuse(TpmtPublic, inPublic));
  blameParameter(2, () => assertSupported(tpm.crypto, template));
  if (trimAuth(inSensitive.userAuth).length > digestSize(template.nameAlg)) refuseParameter(TPM_RC.SIZE, 1);
  blameParameter(2, () => assertCreatable(template, parent?.public, inSensitive.data));
  assertTemplateAllowed(tpm, invocation, inPublic);
  const source = isPrimary
    ? primarySource(tpm.crypto, hierarchySecrets(tpm, parentHandle).seed, encodeTemplate(template), inSensitive.data)
    : tpm.crypto.random;
  const made = generateObject(tpm.crypto, template, inSensitive, source);
  const origin: Origin =
    parent === undefined
      ? { kind: 'primary', hierarchy: parentHandle }
      : { kind: 'child', parent, hierarchy: parent.hierarchy };
  const outPrivate = parent === undefined ? EMPTY : wrapFor(tpm, parent, made);
  const objectHandle = addObject(tpm, made, origin);
  return { objectHandle, outPrivate, outPublic: { ...made.public, nameAlg: template.nameAlg }, name: made.name };
});

type CreateLoadedRequest = CommandRequest<typeof CreateLoaded>;

// A derived object has no private area to return: it is derived again.
function derive(
  tpm: Tpm,
  { inSensitive, inPublic }: CreateLoadedRequest,
  invocation: Invocation,
  parent: TpmObject,
): CommandResponse<typeof CreateLoaded> {
  assertRoom(tpm);
  const { unique, ...decoded } = blameParameter(2, () => decodeOrRefuse(TpmtPublicDerive, inPublic));
  const template = { ...decoded, unique: decoded.type === TPM_ALG.ECC ? { x: EMPTY, y: EMPTY } : EMPTY } as TpmtPublic; // as its type has it
  blameParameter(2, () => assertSupported(tpm.crypto, template));
  if (trimAuth(inSensitive.userAuth).length > digestSize(template.nameAlg)) refuseParameter(TPM_RC.SIZE, 1);
  if (template.type === TPM_ALG.RSA) refuseParameter(TPM_RC.TYPE, 2);
  if (has(template, TPMA_OBJECT.sensitiveDataOrigin)) refuse(TPM_RC.ATTRIBUTES);
  blameParameter(2, () => assertAttributes(template, parent.public));
  assertTemplateAllowed(tpm, invocation, inPublic);
  const derivation = { ...derivationOf(parent), derive: labelAndContext(unique, inSensitive.data) };
  const source = derivationSource(tpm.crypto, derivation);
  const made = generateObject(tpm.crypto, template, { userAuth: inSensitive.userAuth, data: EMPTY }, source);
  const objectHandle = addObject(tpm, made, { kind: 'child', parent, hierarchy: parent.hierarchy });
  const outPublic = { ...made.public, nameAlg: template.nameAlg };
  return { objectHandle, outPrivate: EMPTY, outPublic, name: made.name };
}

function derivationOf({ public: area, sensitive }: TpmObject): Pick<Derivation, 'hash' | 'key'> {
  const scheme = area.type === TPM_ALG.KEYEDHASH ? area.parameters.scheme : undefined;
  if (scheme?.scheme !== TPM_ALG.XOR || sensitive === undefined) return refuseHandle(TPM_RC.TYPE, 1);
  return { hash: scheme.details.hashAlg, key: sensitive.sensitive };
}
