/** Non-volatile storage: Part 3, clause 31; Part 1, 37.2. */
import {
  NvCertify,
  NvChangeAuth,
  NvDefineSpace,
  NvExtend,
  NvGlobalWriteLock,
  NvIncrement,
  NvRead,
  NvReadLock,
  NvReadPublic,
  NvSetBits,
  NvUndefineSpace,
  NvUndefineSpaceSpecial,
  NvWrite,
  NvWriteLock,
  TPM_NT,
  TPM_RC,
  TPM_RH,
  TPM_ST,
  TPMA_NV,
  type TpmsNvPublic,
} from '@casemate/tpm';
import { attest, signerOf } from '../attest.js';
import { readU64, trimAuth, u64Bytes } from '../bytes.js';
import { isPinIndex, isPolicySize, nvAt, nvKind, nvName, nvPublic } from '../entity.js';
import { handler } from '../handler.js';
import { digestSize, IMPLEMENTATION, isHash, zeroDigest } from '../implementation.js';
import { assertNvAccess, assertNvReadable, assertNvWritable, isNvSet } from '../nv-access.js';
import { hasOrderlyRoom, unwrittenData } from '../nv-space.js';
import type { NvIndexState } from '../permanent.js';
import { refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { markDirty, type Tpm } from '../tpm.js';

function store(tpm: Tpm, index: NvIndexState): void {
  tpm.permanent.nv.set(index.nvIndex, index);
  markDirty(tpm);
}

/** A written index with new data. */
function withData(index: NvIndexState, data: Uint8Array): NvIndexState {
  return { ...index, data, attributes: (index.attributes | TPMA_NV.WRITTEN) >>> 0 };
}

function withAttribute(index: NvIndexState, bit: number): NvIndexState {
  return { ...index, attributes: (index.attributes | bit) >>> 0 };
}

/** TPM2_NV_DefineSpace (31.3). */
export const nvDefineSpace = /* @__PURE__ */ handler(NvDefineSpace, (tpm, { authHandle, auth, publicInfo }) => {
  const { nvIndex, nameAlg, attributes, authPolicy, dataSize } = publicInfo;
  if (!isHash(nameAlg)) refuseParameter(TPM_RC.HASH, 2);
  if (dataSize > IMPLEMENTATION.MAX_NV_INDEX_SIZE) refuseParameter(TPM_RC.SIZE, 2);
  if (!isPolicySize(nameAlg, authPolicy.length)) refuseParameter(TPM_RC.SIZE, 2);
  const trimmed = trimAuth(auth);
  if (trimmed.length > digestSize(nameAlg)) refuseParameter(TPM_RC.SIZE, 1);
  if (authHandle === TPM_RH.PLATFORM && !tpm.volatile.enables.platformNv) refuseHandle(TPM_RC.HIERARCHY, 1);
  assertNvSize(publicInfo);
  assertNvAttributes(authHandle, attributes);
  // What must be written whole must fit one write.
  if ((attributes & TPMA_NV.WRITEALL) !== 0 && dataSize > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 2);
  if (tpm.permanent.nv.has(nvIndex)) refuse(TPM_RC.NV_DEFINED);
  assertNvSpace(tpm, attributes, dataSize);
  const data = unwrittenData(attributes, dataSize);
  store(tpm, { nvIndex, nameAlg, attributes, authPolicy, dataSize, auth: trimmed, data });
  return {};
});

function assertNvSize({ attributes, dataSize, nameAlg }: TpmsNvPublic): void {
  switch (nvKind(attributes)) {
    case TPM_NT.ORDINARY:
      return;
    case TPM_NT.EXTEND:
      if (dataSize !== digestSize(nameAlg)) refuseParameter(TPM_RC.SIZE, 2);
      return;
    case TPM_NT.COUNTER:
    case TPM_NT.BITS:
    case TPM_NT.PIN_FAIL:
    case TPM_NT.PIN_PASS:
      if (dataSize !== 8) refuseParameter(TPM_RC.SIZE, 2);
      return;
    default:
      refuseParameter(TPM_RC.ATTRIBUTES, 2);
  }
}

// Part 2, 13.4, and Part 3, 31.3.1: each rule is a combination that makes no sense.
function assertNvAttributes(authHandle: number, attributes: number): void {
  const isSet = (bits: number): boolean => (attributes & bits) !== 0;
  const isPlatform = authHandle === TPM_RH.PLATFORM;
  const wrong = [
    isSet(TPMA_NV.WRITTEN | TPMA_NV.WRITELOCKED | TPMA_NV.READLOCKED),
    !isSet(TPMA_NV.PPWRITE | TPMA_NV.OWNERWRITE | TPMA_NV.AUTHWRITE | TPMA_NV.POLICYWRITE),
    !isSet(TPMA_NV.PPREAD | TPMA_NV.OWNERREAD | TPMA_NV.AUTHREAD | TPMA_NV.POLICYREAD),
    isSet(TPMA_NV.CLEAR_STCLEAR) && nvKind(attributes) === TPM_NT.COUNTER,
    isSet(TPMA_NV.CLEAR_STCLEAR) && isSet(TPMA_NV.WRITEDEFINE),
    nvKind(attributes) === TPM_NT.PIN_FAIL && !isSet(TPMA_NV.NO_DA),
    isPinIndex(attributes) && isSet(TPMA_NV.AUTHWRITE | TPMA_NV.GLOBALLOCK | TPMA_NV.WRITEDEFINE),
  ];
  if (wrong.some((isWrong) => isWrong)) refuseParameter(TPM_RC.ATTRIBUTES, 2);
  if (isSet(TPMA_NV.PLATFORMCREATE) !== isPlatform) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (isSet(TPMA_NV.POLICY_DELETE) && !isPlatform) refuseParameter(TPM_RC.ATTRIBUTES, 2);
}

function assertNvSpace(tpm: Tpm, attributes: number, size: number): void {
  if (!hasOrderlyRoom(tpm, attributes, size)) refuse(TPM_RC.NV_SPACE);
  const used = [...tpm.permanent.nv.values()].reduce((sum, { dataSize }) => sum + dataSize, 0);
  const isFull = tpm.permanent.nv.size >= IMPLEMENTATION.MAX_NV_INDEXES || used + size > IMPLEMENTATION.MAX_NV_BYTES;
  if (isFull) refuse(TPM_RC.NV_SPACE);
}

/** TPM2_NV_UndefineSpace (31.4). */
export const nvUndefineSpace = /* @__PURE__ */ handler(NvUndefineSpace, (tpm, { authHandle, nvIndex }) => {
  const index = nvAt(tpm, nvIndex);
  if (isNvSet(index, TPMA_NV.POLICY_DELETE)) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  if (authHandle === TPM_RH.OWNER && isNvSet(index, TPMA_NV.PLATFORMCREATE)) refuse(TPM_RC.NV_AUTHORIZATION);
  removeIndex(tpm, index);
  return {};
});

/** Removes an index. A counter that is defined later must not repeat a value of one that is gone (Part 1, 37.2.4.2). */
export function removeIndex(tpm: Tpm, index: NvIndexState): void {
  if (nvKind(index.attributes) === TPM_NT.COUNTER && isNvSet(index, TPMA_NV.WRITTEN)) {
    const value = readU64(index.data, 0);
    if (value > tpm.permanent.maxCounter) tpm.permanent.maxCounter = value;
  }
  index.data.fill(0);
  tpm.permanent.nv.delete(index.nvIndex);
  markDirty(tpm);
}

/** TPM2_NV_UndefineSpaceSpecial (31.5). */
export const nvUndefineSpaceSpecial = /* @__PURE__ */ handler(NvUndefineSpaceSpecial, (tpm, { nvIndex }) => {
  const index = nvAt(tpm, nvIndex);
  if (!isNvSet(index, TPMA_NV.POLICY_DELETE)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  removeIndex(tpm, index);
  return {};
});

/** TPM2_NV_ReadPublic (31.6). */
export const nvReadPublic = /* @__PURE__ */ handler(NvReadPublic, (tpm, { nvIndex }) => {
  const index = nvAt(tpm, nvIndex);
  return { nvPublic: nvPublic(index), nvName: nvName(tpm, index) };
});

/** TPM2_NV_Write (31.7). */
export const nvWrite = /* @__PURE__ */ handler(NvWrite, (tpm, { authHandle, nvIndex, data, offset }) => {
  const index = nvAt(tpm, nvIndex);
  if (data.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
  assertNvWritable(authHandle, index);
  const kinds: readonly number[] = [TPM_NT.COUNTER, TPM_NT.BITS, TPM_NT.EXTEND];
  if (kinds.includes(nvKind(index.attributes))) refuse(TPM_RC.ATTRIBUTES);
  if (offset > index.dataSize) refuseParameter(TPM_RC.VALUE, 2);
  if (data.length > index.dataSize - offset) refuse(TPM_RC.NV_RANGE);
  if (isNvSet(index, TPMA_NV.WRITEALL) && data.length < index.dataSize) refuse(TPM_RC.NV_RANGE);
  const changed = index.data.slice();
  changed.set(data, offset);
  store(tpm, withData(index, changed));
  return {};
});

/** TPM2_NV_Increment (31.8). */
export const nvIncrement = /* @__PURE__ */ handler(NvIncrement, (tpm, { authHandle, nvIndex }) => {
  const index = nvAt(tpm, nvIndex);
  assertNvWritable(authHandle, index);
  if (nvKind(index.attributes) !== TPM_NT.COUNTER) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  const before = isNvSet(index, TPMA_NV.WRITTEN) ? readU64(index.data, 0) : highestCounter(tpm);
  store(tpm, withData(index, u64Bytes(before + 1n)));
  return {};
});

function highestCounter(tpm: Tpm): bigint {
  const counters = [...tpm.permanent.nv.values()].filter(
    (index) => nvKind(index.attributes) === TPM_NT.COUNTER && isNvSet(index, TPMA_NV.WRITTEN),
  );
  let highest = tpm.permanent.maxCounter;
  for (const index of counters) {
    const value = readU64(index.data, 0);
    if (value > highest) highest = value;
  }
  return highest;
}

/** TPM2_NV_Extend (31.9). */
export const nvExtend = /* @__PURE__ */ handler(NvExtend, (tpm, { authHandle, nvIndex, data }) => {
  const index = nvAt(tpm, nvIndex);
  if (data.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
  assertNvWritable(authHandle, index);
  if (nvKind(index.attributes) !== TPM_NT.EXTEND) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  const before = isNvSet(index, TPMA_NV.WRITTEN) ? index.data : zeroDigest(index.nameAlg);
  store(tpm, withData(index, tpm.crypto.hash(index.nameAlg, before, data)));
  return {};
});

/** TPM2_NV_SetBits (31.10). */
export const nvSetBits = /* @__PURE__ */ handler(NvSetBits, (tpm, { authHandle, nvIndex, bits }) => {
  const index = nvAt(tpm, nvIndex);
  assertNvWritable(authHandle, index);
  if (nvKind(index.attributes) !== TPM_NT.BITS) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  const isWritten = isNvSet(index, TPMA_NV.WRITTEN);
  const before = isWritten ? readU64(index.data, 0) : 0n;
  if (!isWritten || (before | bits) !== before) store(tpm, withData(index, u64Bytes(before | bits)));
  return {};
});

/** TPM2_NV_WriteLock (31.11). */
export const nvWriteLock = /* @__PURE__ */ handler(NvWriteLock, (tpm, { authHandle, nvIndex }) => {
  const index = nvAt(tpm, nvIndex);
  assertNvAccess(authHandle, index, { owner: TPMA_NV.OWNERWRITE, platform: TPMA_NV.PPWRITE });
  if (isNvSet(index, TPMA_NV.WRITELOCKED)) return {};
  if (!isNvSet(index, TPMA_NV.WRITEDEFINE | TPMA_NV.WRITE_STCLEAR)) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  store(tpm, withAttribute(index, TPMA_NV.WRITELOCKED));
  return {};
});

/** TPM2_NV_GlobalWriteLock (31.12). */
export const nvGlobalWriteLock = /* @__PURE__ */ handler(NvGlobalWriteLock, (tpm) => {
  for (const index of [...tpm.permanent.nv.values()]) {
    if (isNvSet(index, TPMA_NV.GLOBALLOCK)) store(tpm, withAttribute(index, TPMA_NV.WRITELOCKED));
  }
  return {};
});

/** TPM2_NV_Read (31.13). */
export const nvRead = /* @__PURE__ */ handler(NvRead, (tpm, { authHandle, nvIndex, size, offset }) => {
  const index = nvAt(tpm, nvIndex);
  assertNvReadable(authHandle, index);
  if (size > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.VALUE, 1);
  if (offset > index.dataSize) refuseParameter(TPM_RC.VALUE, 2);
  if (size > index.dataSize - offset) refuse(TPM_RC.NV_RANGE);
  return { data: index.data.slice(offset, offset + size) };
});

/** TPM2_NV_ReadLock (31.14). */
export const nvReadLock = /* @__PURE__ */ handler(NvReadLock, (tpm, { authHandle, nvIndex }) => {
  const index = nvAt(tpm, nvIndex);
  assertNvAccess(authHandle, index, { owner: TPMA_NV.OWNERREAD, platform: TPMA_NV.PPREAD });
  if (isNvSet(index, TPMA_NV.READLOCKED)) return {};
  if (!isNvSet(index, TPMA_NV.READ_STCLEAR)) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  store(tpm, withAttribute(index, TPMA_NV.READLOCKED));
  return {};
});

/** TPM2_NV_ChangeAuth (31.15). */
export const nvChangeAuth = /* @__PURE__ */ handler(NvChangeAuth, (tpm, { nvIndex, newAuth }) => {
  const index = nvAt(tpm, nvIndex);
  const auth = trimAuth(newAuth);
  if (auth.length > digestSize(index.nameAlg)) refuseParameter(TPM_RC.SIZE, 1);
  store(tpm, { ...index, auth });
  return {};
});

/** TPM2_NV_Certify (31.16): the contents, or their digest where size and offset are 0. */
export const nvCertify = /* @__PURE__ */ handler(NvCertify, (tpm, request) => {
  const { signHandle, authHandle, nvIndex, qualifyingData, inScheme, size, offset } = request;
  const index = nvAt(tpm, nvIndex);
  const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 1, schemeAt: 2 });
  assertNvReadable(authHandle, index);
  if (size + offset > index.dataSize) refuse(TPM_RC.NV_RANGE);
  if (size > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.VALUE, 3);
  const indexName = nvName(tpm, index);
  const hash = signer?.scheme.hash ?? IMPLEMENTATION.CONTEXT_HASH;
  const { info, signature } = attest(
    tpm,
    signer,
    qualifyingData,
    size === 0 && offset === 0
      ? { type: TPM_ST.ATTEST_NV_DIGEST, attested: { indexName, nvDigest: tpm.crypto.hash(hash, index.data) } }
      : {
          type: TPM_ST.ATTEST_NV,
          attested: { indexName, offset, nvContents: index.data.slice(offset, offset + size) },
        },
  );
  return { certifyInfo: info, signature };
});
