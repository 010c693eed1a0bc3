/** Context management: Part 3, clause 28; Part 1, clause 30. */
import {
  ContextLoad,
  ContextSave,
  EvictControl,
  FlushContext,
  kdfA,
  TPM_HC,
  TPM_HT,
  TPM_RC,
  TPM_RH,
  Tpm2bDigest,
  type TpmsContext,
} from '@casemate/tpm';
import { Reader } from '@casemate/wire';
import { concat, isEqual, u32Bytes, u64Bytes } from '../bytes.js';
import { decodeObject, decodeSession, encodeObject, encodeSession } from '../context.js';
import { readOrRefuse } from '../decoding.js';
import { findObject, handleType, isSessionHandle, objectAt } from '../entity.js';
import { removePersistent, storePersistent } from '../evict.js';
import { handler } from '../handler.js';
import { digestSize, IMPLEMENTATION } from '../implementation.js';
import type { TpmObject } from '../object.js';
import { addLoaded, assertRoom, flushObject } from '../object-slots.js';
import { sized } from '../protection.js';
import { refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { wipeSession } from '../session.js';
import { hierarchySecrets, isHierarchyEnabled, type Tpm } from '../tpm.js';

// Part 2, table 45: what a saved object is told by.
const SAVED_OBJECT = 0x80000000;
const SAVED_SEQUENCE = 0x80000001;
const SAVED_ST_CLEAR = 0x80000002;
const CONTEXT_GAP = 0xffffn;

type Hierarchy = TpmsContext['hierarchy'];

/** TPM2_ContextSave (28.2). */
export const contextSave = /* @__PURE__ */ handler(ContextSave, (tpm, { saveHandle }) => ({
  context: isSessionHandle(saveHandle) ? saveSession(tpm, saveHandle) : saveObject(tpm, saveHandle),
}));

function saveObject(tpm: Tpm, handle: number): TpmsContext {
  const object = objectAt(tpm, handle);
  tpm.volatile.objectContextId += 1n;
  const header = {
    sequence: tpm.volatile.objectContextId,
    savedHandle: savedHandleOf(object),
    hierarchy: object.hierarchy as Hierarchy, // objects are in one of the four hierarchies
  };
  return protect(tpm, header, encodeObject(object));
}

function savedHandleOf({ sequence, isStClear }: TpmObject): number {
  if (sequence !== undefined) return SAVED_SEQUENCE;
  return isStClear ? SAVED_ST_CLEAR : SAVED_OBJECT;
}

// A session has one valid context: the counter that is noted here and stands in it.
function saveSession(tpm: Tpm, handle: number): TpmsContext {
  const { sessions, savedSessions } = tpm.volatile;
  const session = sessions.get(handle) ?? refuseHandle(TPM_RC.HANDLE, 1);
  assertNoGap(tpm);
  tpm.volatile.contextCounter += 1n;
  const counter = tpm.volatile.contextCounter;
  const header = { sequence: counter, savedHandle: handle, hierarchy: TPM_RH.NULL };
  const context = protect(tpm, header, encodeSession(session));
  sessions.delete(handle);
  savedSessions.set(handle, { counter });
  wipeSession(session);
  return context;
}

function assertNoGap(tpm: Tpm): void {
  const counters = [...tpm.volatile.savedSessions.values()].map(({ counter }) => counter);
  if (counters.some((counter) => tpm.volatile.contextCounter - counter >= CONTEXT_GAP)) refuse(TPM_RC.CONTEXT_GAP);
}

type Header = Omit<TpmsContext, 'contextBlob'>;

function protect(tpm: Tpm, header: Header, plain: Uint8Array): TpmsContext {
  const { key, iv } = contextKey(tpm, header);
  const encrypted = tpm.crypto.aesCfbEncrypt(key, iv, plain);
  plain.fill(0);
  const contextBlob = concat(sized(contextIntegrity(tpm, header, encrypted)), encrypted);
  return { ...header, contextBlob };
}

function contextKey(tpm: Tpm, header: Header): { readonly key: Uint8Array; readonly iv: Uint8Array } {
  const { proof } = hierarchySecrets(tpm, header.hierarchy);
  const contextU = u64Bytes(header.sequence);
  const contextV = u32Bytes(header.savedHandle);
  const derived = kdfA(
    { hash: IMPLEMENTATION.CONTEXT_HASH, key: proof, label: 'CONTEXT', contextU, contextV, bits: 256 + 128 },
    tpm.crypto,
  );
  return { key: derived.slice(0, 32), iv: derived.slice(32) };
}

// No context outlives a TPM Reset, and none of an stClear object a TPM Restart (Part 1, 30.3.1).
function contextIntegrity(tpm: Tpm, header: Header, encrypted: Uint8Array): Uint8Array {
  const { proof } = hierarchySecrets(tpm, header.hierarchy);
  const clears = header.savedHandle === SAVED_ST_CLEAR ? tpm.volatile.clearCount : 0;
  return tpm.crypto.hmac(
    IMPLEMENTATION.CONTEXT_HASH,
    proof,
    u64Bytes(tpm.permanent.totalResetCount),
    u32Bytes(clears),
    u64Bytes(header.sequence),
    u32Bytes(header.savedHandle),
    encrypted,
  );
}

/** TPM2_ContextLoad (28.3). */
export const contextLoad = /* @__PURE__ */ handler(ContextLoad, (tpm, { context }) => {
  const plain = unprotect(tpm, context);
  try {
    return {
      loadedHandle: isSessionHandle(context.savedHandle)
        ? loadSession(tpm, context, plain)
        : loadObject(tpm, context, plain),
    };
  } finally {
    plain.fill(0);
  }
});

function unprotect(tpm: Tpm, context: TpmsContext): Uint8Array {
  const reader = new Reader(context.contextBlob);
  const integrity = readOrRefuse(Tpm2bDigest, reader);
  // Behind the digest libtpms has a copy of the sequence number; what is shorter cannot be a context.
  const isWhole = integrity.length === digestSize(IMPLEMENTATION.CONTEXT_HASH) && reader.remaining >= 8;
  const encrypted = isWhole ? reader.take(reader.remaining, 'context') : refuseParameter(TPM_RC.SIZE, 1);
  if (!isEqual(integrity, contextIntegrity(tpm, context, encrypted))) refuseParameter(TPM_RC.INTEGRITY, 1);
  const { key, iv } = contextKey(tpm, context);
  return tpm.crypto.aesCfbDecrypt(key, iv, encrypted);
}

function loadObject(tpm: Tpm, context: TpmsContext, plain: Uint8Array): number {
  if (!isHierarchyEnabled(tpm, context.hierarchy)) refuseParameter(TPM_RC.HIERARCHY, 1);
  assertRoom(tpm);
  return addLoaded(tpm, decodeObject(tpm, context.hierarchy, plain));
}

function loadSession(tpm: Tpm, context: TpmsContext, plain: Uint8Array): number {
  const { sessions, savedSessions } = tpm.volatile;
  const saved = savedSessions.get(context.savedHandle);
  if (saved?.counter !== context.sequence) return refuseParameter(TPM_RC.HANDLE, 1);
  if (sessions.size >= IMPLEMENTATION.MAX_LOADED_SESSIONS) refuse(TPM_RC.SESSION_MEMORY);
  savedSessions.delete(context.savedHandle);
  sessions.set(context.savedHandle, decodeSession(context.savedHandle, plain));
  return context.savedHandle;
}

/** TPM2_FlushContext (28.4). */
export const flushContext = /* @__PURE__ */ handler(FlushContext, (tpm, { flushHandle }) => {
  const { objects, sessions, savedSessions } = tpm.volatile;
  const limit = isSessionHandle(flushHandle) ? IMPLEMENTATION.MAX_ACTIVE_SESSIONS : IMPLEMENTATION.MAX_LOADED_OBJECTS;
  if ((flushHandle & 0xffffff) >= limit) refuseParameter(TPM_RC.VALUE, 1);
  if (!isSessionHandle(flushHandle)) {
    if (!objects.has(flushHandle)) refuseParameter(TPM_RC.HANDLE, 1);
    flushObject(tpm, flushHandle);
    return {};
  }
  // The number tells the session, whatever kind the handle names.
  const loaded = [...sessions.values()].find(({ handle }) => (handle & 0xffffff) === (flushHandle & 0xffffff));
  const saved = [...savedSessions.keys()].find((handle) => (handle & 0xffffff) === (flushHandle & 0xffffff));
  if (loaded === undefined && saved === undefined) refuseParameter(TPM_RC.HANDLE, 1);
  if (loaded !== undefined) wipeSession(loaded);
  if (loaded !== undefined) sessions.delete(loaded.handle);
  if (loaded === undefined && saved !== undefined) savedSessions.delete(saved);
  if (loaded !== undefined && tpm.volatile.exclusiveAudit === loaded.handle) tpm.volatile.exclusiveAudit = 0;
  return {};
});

/** TPM2_EvictControl (28.5). */
export const evictControl = /* @__PURE__ */ handler(EvictControl, (tpm, { auth, objectHandle, persistentHandle }) => {
  const object = objectAt(tpm, objectHandle);
  const isPersistent = handleType(objectHandle) === TPM_HT.PERSISTENT;
  if (object.isExternal || object.isStClear || object.hierarchy === TPM_RH.NULL || object.sensitive === undefined) {
    return refuseHandle(TPM_RC.ATTRIBUTES, 2);
  }
  if (isPersistent && objectHandle !== persistentHandle) refuseHandle(TPM_RC.HANDLE, 2);
  assertMayEvict(auth, object, persistentHandle, isPersistent);
  if (isPersistent) {
    removePersistent(tpm, persistentHandle);
    return {};
  }
  if (findObject(tpm, persistentHandle) !== undefined) refuse(TPM_RC.NV_DEFINED);
  if (tpm.permanent.objects.size >= IMPLEMENTATION.MAX_EVICT_OBJECTS) refuse(TPM_RC.NV_SPACE);
  storePersistent(tpm, persistentHandle, object, object.sensitive);
  return {};
});

function assertMayEvict(auth: number, object: TpmObject, persistentHandle: number, isPersistent: boolean): void {
  const isPlatformObject = object.hierarchy === TPM_RH.PLATFORM;
  const isPlatformHandle = persistentHandle >= TPM_HC.PLATFORM_PERSISTENT;
  if (auth === TPM_RH.PLATFORM) {
    if (isPersistent) return;
    if (!isPlatformObject) refuseHandle(TPM_RC.HIERARCHY, 2);
    if (!isPlatformHandle) refuseParameter(TPM_RC.RANGE, 1);
    return;
  }
  if (isPlatformObject) refuseHandle(TPM_RC.HIERARCHY, 2);
  if (!isPersistent && isPlatformHandle) refuseParameter(TPM_RC.RANGE, 1);
}
