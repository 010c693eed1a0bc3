/** Hierarchies: Part 3, clause 24. */
import {
  ChangeEps,
  ChangePps,
  Clear,
  ClearControl,
  CreatePrimary,
  HierarchyChangeAuth,
  HierarchyControl,
  SetPrimaryPolicy,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  TPMA_NV,
} from '@casemate/tpm';
import { EMPTY, trimAuth } from '../bytes.js';
import { timeOf } from '../clock.js';
import { encodeTemplate, generateObject, primarySource, proveCreation } from '../creation.js';
import { isPolicySize } from '../entity.js';
import { removePersistentOf } from '../evict.js';
import { handler } from '../handler.js';
import { digestSize, isHash } from '../implementation.js';
import { addObject, assertRoom, flushHierarchy } from '../object-slots.js';
import { assertSelections } from '../pcr.js';
import { type AuthPolicy, ORDERLY } from '../permanent.js';
import { assertCreatable, assertSupported } from '../public-area.js';
import { blameParameter, refuse, refuseParameter } from '../refusal.js';
import { assertTemplateAllowed } from '../template-policy.js';
import {
  hierarchySecrets,
  isHierarchyEnabled,
  markDirty,
  NEW_LOCKOUT,
  NO_POLICY,
  newHierarchy,
  type Tpm,
} from '../tpm.js';
import { removeIndex } from './nv.js';

/** TPM2_CreatePrimary (24.1). */
export const createPrimary = /* @__PURE__ */ handler(CreatePrimary, (tpm, request, invocation) => {
  const { primaryHandle, inSensitive, inPublic, outsideInfo, creationPCR } = request;
  blameParameter(2, () => assertSupported(tpm.crypto, inPublic));
  assertSelections(creationPCR, 4);
  assertRoom(tpm);
  blameParameter(2, () => assertCreatable(inPublic, undefined, inSensitive.data));
  const template = encodeTemplate(inPublic);
  assertTemplateAllowed(tpm, invocation, template);
  const { seed } = hierarchySecrets(tpm, primaryHandle);
  const source = primarySource(tpm.crypto, seed, template, inSensitive.data);
  const made = generateObject(tpm.crypto, inPublic, inSensitive, source);
  const circumstances = { outsideInfo, pcrs: creationPCR, locality: invocation.locality };
  const proof = proveCreation(tpm, made, { kind: 'primary', hierarchy: primaryHandle }, circumstances);
  const objectHandle = addObject(tpm, made, { kind: 'primary', hierarchy: primaryHandle });
  // The template's nameAlg is a hash, or assertCreatable would not have let an object be named.
  return { objectHandle, outPublic: { ...made.public, nameAlg: inPublic.nameAlg }, ...proof, name: made.name };
});

/** TPM2_HierarchyControl (24.2). */
export const hierarchyControl = /* @__PURE__ */ handler(HierarchyControl, (tpm, { authHandle, enable, state }) => {
  const { enables } = tpm.volatile;
  const own: Readonly<Record<number, readonly number[]>> = {
    [TPM_RH.OWNER]: [TPM_RH.OWNER, TPM_RH.PLATFORM],
    [TPM_RH.ENDORSEMENT]: [TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM],
    [TPM_RH.PLATFORM]: [TPM_RH.PLATFORM],
    [TPM_RH.PLATFORM_NV]: [TPM_RH.PLATFORM],
  };
  if (!own[enable]?.includes(authHandle)) refuse(TPM_RC.AUTH_TYPE);
  // Only the platform may enable again what is disabled; and its own hierarchy is enabled by a start alone.
  if (state && authHandle !== TPM_RH.PLATFORM && !isHierarchyEnabled(tpm, enable)) refuse(TPM_RC.AUTH_TYPE);
  switch (enable) {
    case TPM_RH.OWNER:
      enables.owner = state;
      break;
    case TPM_RH.ENDORSEMENT:
      enables.endorsement = state;
      break;
    case TPM_RH.PLATFORM:
      enables.platform = state;
      break;
    default:
      enables.platformNv = state;
  }
  if (!state && enable !== TPM_RH.PLATFORM_NV) flushHierarchy(tpm, enable);
  return {};
});

/** TPM2_SetPrimaryPolicy (24.3). */
export const setPrimaryPolicy = /* @__PURE__ */ handler(
  SetPrimaryPolicy,
  (tpm, { authHandle, authPolicy, hashAlg }) => {
    if (hashAlg !== TPM_ALG.NULL && !isHash(hashAlg)) refuseParameter(TPM_RC.HASH, 2);
    if (authPolicy.length !== digestSize(hashAlg)) refuseParameter(TPM_RC.SIZE, 1);
    if (!isPolicySize(hashAlg, authPolicy.length)) refuseParameter(TPM_RC.SIZE, 1);
    setPolicy(tpm, authHandle, { alg: hashAlg, digest: authPolicy });
    return {};
  },
);

function setPolicy(tpm: Tpm, handle: number, policy: AuthPolicy): void {
  const { permanent } = tpm;
  if (handle === TPM_RH.OWNER) permanent.owner = { ...permanent.owner, policy };
  else if (handle === TPM_RH.ENDORSEMENT) permanent.endorsement = { ...permanent.endorsement, policy };
  else if (handle === TPM_RH.LOCKOUT) permanent.lockout = { ...permanent.lockout, policy };
  else if (handle === TPM_RH.PLATFORM) tpm.volatile.platformPolicy = policy;
  else refuse(TPM_RC.VALUE);
  markDirty(tpm);
}

/** TPM2_ChangePPS (24.4): the policies that the platform has set end with its seed. */
export const changePps = /* @__PURE__ */ handler(ChangePps, (tpm) => {
  tpm.permanent.platform.seed.fill(0);
  tpm.permanent.platform = newHierarchy(tpm.crypto);
  tpm.volatile.platformPolicy = NO_POLICY;
  tpm.permanent.pcrPolicy = NO_POLICY;
  flushHierarchy(tpm, TPM_RH.PLATFORM);
  removePersistentOf(tpm, TPM_RH.PLATFORM);
  markDirty(tpm);
  return {};
});

/** TPM2_ChangeEPS (24.5): the new endorsement hierarchy has neither authorization value nor policy. */
export const changeEps = /* @__PURE__ */ handler(ChangeEps, (tpm) => {
  tpm.permanent.endorsement.seed.fill(0);
  tpm.permanent.endorsement = newHierarchy(tpm.crypto);
  tpm.permanent.isEpsGenerated = true;
  tpm.volatile.enables.endorsement = true;
  flushHierarchy(tpm, TPM_RH.ENDORSEMENT);
  removePersistentOf(tpm, TPM_RH.ENDORSEMENT);
  markDirty(tpm);
  return {};
});

/** TPM2_Clear (24.6): a new owner. */
export const clear = /* @__PURE__ */ handler(Clear, (tpm) => {
  if (tpm.permanent.disableClear) refuse(TPM_RC.DISABLED);
  const { permanent, volatile } = tpm;
  for (const hierarchy of [TPM_RH.OWNER, TPM_RH.ENDORSEMENT]) {
    flushHierarchy(tpm, hierarchy);
    removePersistentOf(tpm, hierarchy);
  }
  removeOwnerNv(tpm);
  permanent.owner.seed.fill(0);
  permanent.owner = newHierarchy(tpm.crypto);
  permanent.endorsement = {
    ...permanent.endorsement,
    proof: newHierarchy(tpm.crypto).proof,
    auth: EMPTY,
    policy: NO_POLICY,
  };
  permanent.lockout = NEW_LOCKOUT;
  permanent.audit = { ...permanent.audit, counter: 0n };
  volatile.enables.owner = true;
  volatile.enables.endorsement = true;
  permanent.resetCount = 0;
  // clearCount goes on: from zero it would make contexts valid again that a TPM Restart has ended.
  volatile.restartCount = 0;
  volatile.pcrAuth = undefined;
  // Policies that PCRs have satisfied so far were satisfied for the owner before.
  volatile.pcrCounter = (volatile.pcrCounter + 1) >>> 0;
  resetClock(tpm);
  return {};
});

function removeOwnerNv(tpm: Tpm): void {
  for (const index of [...tpm.permanent.nv.values()]) {
    if ((index.attributes & TPMA_NV.PLATFORMCREATE) === 0) removeIndex(tpm, index);
  }
}

// Clock starts again with the new owner (Part 1, 36.3.1). Time goes on, and what is timed by it; tickets end with the proofs.
function resetClock(tpm: Tpm): void {
  tpm.volatile.clockOffset = BigInt.asUintN(64, -timeOf(tpm));
  tpm.volatile.isClockSafe = true;
  tpm.permanent.clock = 0n;
  tpm.permanent.isClockSafe = true;
  if (tpm.permanent.orderly !== ORDERLY.DA_USED) tpm.permanent.orderly = ORDERLY.NONE;
  markDirty(tpm);
}

/** TPM2_ClearControl (24.7). */
export const clearControl = /* @__PURE__ */ handler(ClearControl, (tpm, { auth, disable }) => {
  if (auth === TPM_RH.LOCKOUT && !disable) refuse(TPM_RC.AUTH_FAIL);
  tpm.permanent.disableClear = disable;
  markDirty(tpm);
  return {};
});

/** TPM2_HierarchyChangeAuth (24.8). */
export const hierarchyChangeAuth = /* @__PURE__ */ handler(HierarchyChangeAuth, (tpm, { authHandle, newAuth }) => {
  const auth = trimAuth(newAuth);
  const { permanent } = tpm;
  // The value may be as long as the digest of the hash that protects the proofs.
  if (auth.length > digestSize(TPM_ALG.SHA512)) refuseParameter(TPM_RC.SIZE, 1);
  if (authHandle === TPM_RH.PLATFORM) {
    tpm.volatile.platformAuth = auth;
    return {};
  }
  if (authHandle === TPM_RH.OWNER) permanent.owner = { ...permanent.owner, auth };
  else if (authHandle === TPM_RH.ENDORSEMENT) permanent.endorsement = { ...permanent.endorsement, auth };
  else permanent.lockout = { ...permanent.lockout, auth };
  markDirty(tpm);
  return {};
});
