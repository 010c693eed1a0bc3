/** Enhanced authorization: Part 3, clause 23; Part 1, 19.7. */
import {
  PolicyAuthorize,
  PolicyAuthorizeNv,
  PolicyAuthValue,
  PolicyCommandCode,
  PolicyCounterTimer,
  PolicyCpHash,
  PolicyDuplicationSelect,
  PolicyGetDigest,
  PolicyLocality,
  PolicyNameHash,
  PolicyNv,
  PolicyNvWritten,
  PolicyOr,
  PolicyPassword,
  PolicyPcr,
  PolicyPhysicalPresence,
  PolicySecret,
  PolicySigned,
  PolicyTemplate,
  PolicyTicket,
  TPM_ALG,
  TPM_CC,
  TPM_RC,
  TPM_RH,
  TPM_ST,
  TpmsTimeInfo,
  TpmtHa,
  type TpmtTkAuth,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { clockInfo } from '../attest.js';
import { codeBytes, concat, EMPTY, isEqual, readU64, u16Bytes, u32Bytes, u64Bytes } from '../bytes.js';
import { timeOf } from '../clock.js';
import { compare } from '../comparison.js';
import { decodeOrRefuse } from '../decoding.js';
import { entityHierarchy, entityName, nvAt, nvName, objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { digestSize, isHash, zeroDigest } from '../implementation.js';
import { assertNvReadable } from '../nv-access.js';
import { assertSelections, pcrDigest as currentPcrs, encodeSelections } from '../pcr.js';
import { blameParameter, refuse, refuseHandle, refuseParameter } from '../refusal.js';
import type { PolicyState, Session } from '../session.js';
import { verifySignature } from '../signing.js';
import { type AuthClaim, authTicket, verifiedTicket } from '../ticket.js';
import type { Tpm } from '../tpm.js';

/** The session of a policy handle, which the dispatcher has found loaded. */
export function policySession(tpm: Tpm, handle: number): Session {
  return tpm.volatile.sessions.get(handle) ?? refuse(TPM_RC.VALUE);
}

function change(session: Session, changes: Partial<PolicyState>): void {
  session.policy = { ...session.policy, ...changes };
}

/** policyDigest := H(policyDigest || command code || parts). */
function extend(tpm: Tpm, session: Session, code: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return tpm.crypto.hash(session.authHash, session.policy.digest, codeBytes(code), ...parts);
}

/** policyDigest := H(H(policyDigest || command code || name) || policyRef): PolicyUpdate of Part 3, 23.2.3. */
function extendWithRef(tpm: Tpm, session: Session, code: number, name: Uint8Array, policyRef: Uint8Array): Uint8Array {
  return tpm.crypto.hash(session.authHash, extend(tpm, session, code, name), policyRef);
}

/** What PolicySigned and PolicySecret have in common. */
interface Authorized {
  readonly nonceTPM: Uint8Array;
  readonly cpHashA: Uint8Array;
  readonly policyRef: Uint8Array;
  readonly expiration: number;
}

// Part 3, 23.2.2: the parameters are 1 nonceTPM, 2 cpHashA, 4 expiration.
function timeoutOf(tpm: Tpm, session: Session, { nonceTPM, expiration }: Authorized): bigint {
  if (expiration === 0) return 0n;
  const milliseconds = BigInt(Math.abs(expiration)) * 1000n;
  return nonceTPM.length === 0 ? milliseconds + (timeOf(tpm) % 1000n) : session.startTime + milliseconds;
}

function assertAuthorized(tpm: Tpm, session: Session, request: Authorized, timeout: bigint): void {
  if (request.nonceTPM.length > 0 && !isEqual(request.nonceTPM, session.nonceTpm)) refuseParameter(TPM_RC.NONCE, 1);
  if (timeout !== 0n && (timeout < timeOf(tpm) || session.epoch !== tpm.volatile.timeEpoch))
    refuseParameter(TPM_RC.EXPIRED, 4);
  assertCpHash(session, request.cpHashA);
}

function assertCpHash(session: Session, cpHashA: Uint8Array): void {
  if (cpHashA.length === 0) return;
  if (cpHashA.length !== digestSize(session.authHash)) refuseParameter(TPM_RC.SIZE, 2);
  const { bound } = session.policy;
  if (bound !== undefined && !isEqual(bound.digest, cpHashA)) refuse(TPM_RC.CPHASH);
}

function noteAuthorized(session: Session, cpHashA: Uint8Array, timeout: bigint, digest: Uint8Array): void {
  const { policy } = session;
  const isEarlier = timeout !== 0n && (policy.timeout === 0n || timeout < policy.timeout);
  change(session, {
    digest,
    timeout: isEarlier ? timeout : policy.timeout,
    bound: cpHashA.length > 0 ? { kind: 'cpHash', digest: cpHashA } : policy.bound,
  });
}

// The top bit of the timeout that a caller gets says that the ticket does not survive a TPM Reset.
const EXPIRES_ON_RESET = 1n << 63n;

interface TicketAnswer {
  readonly timeout: Uint8Array;
  readonly policyTicket: TpmtTkAuth;
}

function answerTicket(
  tpm: Tpm,
  session: Session,
  request: Authorized,
  claim: Omit<AuthClaim, 'expiresOnReset'>,
): TicketAnswer {
  if (request.expiration >= 0 || session.type === 'trial') {
    return { timeout: EMPTY, policyTicket: { tag: claim.tag, hierarchy: TPM_RH.NULL, digest: EMPTY } };
  }
  const expiresOnReset = request.nonceTPM.length === 0;
  const timeout = u64Bytes(expiresOnReset ? claim.timeout | EXPIRES_ON_RESET : claim.timeout);
  return { timeout, policyTicket: authTicket(tpm, { ...claim, expiresOnReset }) };
}

/** TPM2_PolicySigned (23.3). */
export const policySigned = /* @__PURE__ */ handler(PolicySigned, (tpm, request) => {
  const session = policySession(tpm, request.policySession);
  const object = objectAt(tpm, request.authObject);
  const timeout = timeoutOf(tpm, session, request);
  if (session.type !== 'trial') {
    assertAuthorized(tpm, session, request, timeout);
    const hash = signatureHash(request.auth.signature);
    const expiration = u32Bytes(request.expiration >>> 0);
    const digest = tpm.crypto.hash(hash, request.nonceTPM, expiration, request.cpHashA, request.policyRef);
    blameParameter(5, () => verifySignature(tpm, object, digest, request.auth));
  }
  const { cpHashA, policyRef } = request;
  noteAuthorized(session, cpHashA, timeout, extendWithRef(tpm, session, TPM_CC.PolicySigned, object.name, policyRef));
  const claim = {
    tag: TPM_ST.AUTH_SIGNED,
    hierarchy: object.hierarchy,
    timeout,
    cpHash: cpHashA,
    policyRef,
    authName: object.name,
  };
  return answerTicket(tpm, session, request, claim);
});

function signatureHash(signature: { readonly hash: number } | { readonly hashAlg: number }): number {
  const hash = 'hash' in signature ? signature.hash : signature.hashAlg;
  return isHash(hash) ? hash : refuseParameter(TPM_RC.HASH, 5);
}

/** TPM2_PolicySecret (23.4): the authorization of the command itself is the proof. */
export const policySecret = /* @__PURE__ */ handler(PolicySecret, (tpm, request) => {
  const session = policySession(tpm, request.policySession);
  const authName = entityName(tpm, request.authHandle);
  const timeout = timeoutOf(tpm, session, request);
  if (session.type !== 'trial') assertAuthorized(tpm, session, request, timeout);
  const { cpHashA, policyRef } = request;
  noteAuthorized(session, cpHashA, timeout, extendWithRef(tpm, session, TPM_CC.PolicySecret, authName, policyRef));
  const hierarchy = entityHierarchy(tpm, request.authHandle);
  return answerTicket(tpm, session, request, {
    tag: TPM_ST.AUTH_SECRET,
    hierarchy,
    timeout,
    cpHash: cpHashA,
    policyRef,
    authName,
  });
});

/** TPM2_PolicyTicket (23.5). */
export const policyTicket = /* @__PURE__ */ handler(PolicyTicket, (tpm, request) => {
  const session = policySession(tpm, request.policySession);
  const { cpHashA, policyRef, authName, ticket } = request;
  if (session.type === 'trial') refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (request.timeout.length !== 8) refuseParameter(TPM_RC.SIZE, 1);
  const given = readU64(request.timeout, 0);
  const timeout = given & ~EXPIRES_ON_RESET;
  if (timeout < timeOf(tpm)) refuseParameter(TPM_RC.EXPIRED, 1);
  assertCpHash(session, cpHashA);
  const expiresOnReset = (given & EXPIRES_ON_RESET) !== 0n;
  const claim = {
    tag: ticket.tag,
    hierarchy: ticket.hierarchy,
    timeout,
    expiresOnReset,
    cpHash: cpHashA,
    policyRef,
    authName,
  };
  if (!isEqual(authTicket(tpm, claim).digest, ticket.digest)) refuseParameter(TPM_RC.TICKET, 5);
  const code = ticket.tag === TPM_ST.AUTH_SIGNED ? TPM_CC.PolicySigned : TPM_CC.PolicySecret;
  noteAuthorized(session, cpHashA, timeout, extendWithRef(tpm, session, code, authName, policyRef));
  return {};
});

/** TPM2_PolicyOR (23.6). */
export const policyOr = /* @__PURE__ */ handler(PolicyOr, (tpm, { policySession: handle, pHashList }) => {
  const session = policySession(tpm, handle);
  const isOneOf = pHashList.some((digest) => isEqual(digest, session.policy.digest));
  if (session.type !== 'trial' && !isOneOf) refuseParameter(TPM_RC.VALUE, 1);
  const start = zeroDigest(session.authHash);
  change(session, { digest: tpm.crypto.hash(session.authHash, start, u32Bytes(TPM_CC.PolicyOR), ...pHashList) });
  return {};
});

/** TPM2_PolicyPCR (23.7). */
export const policyPcr = /* @__PURE__ */ handler(
  PolicyPcr,
  (tpm, { policySession: handle, pcrDigest: expected, pcrs: selections }) => {
    const session = policySession(tpm, handle);
    assertSelections(selections, 2);
    const isTrial = session.type === 'trial';
    const { pcrs, digest } = currentPcrs(tpm, session.authHash, selections);
    const { policy } = session;
    const { pcrCounter } = policy;
    if (!isTrial && pcrCounter !== undefined && pcrCounter !== tpm.volatile.pcrCounter) refuse(TPM_RC.PCR_CHANGED);
    if (!isTrial && expected.length > 0 && !isEqual(expected, digest)) refuseParameter(TPM_RC.VALUE, 1);
    const used = isTrial && expected.length > 0 ? expected : digest;
    // Member by member: what is spread into an object that then gets other values is copied by the runtime, for a microsecond.
    session.policy = {
      digest: extend(tpm, session, TPM_CC.PolicyPCR, encodeSelections(pcrs), used),
      commandCode: policy.commandCode,
      bound: policy.bound,
      locality: policy.locality,
      timeout: policy.timeout,
      pcrCounter: isTrial ? pcrCounter : tpm.volatile.pcrCounter,
      needsAuthValue: policy.needsAuthValue,
      needsPassword: policy.needsPassword,
      needsPresence: policy.needsPresence,
      nvWritten: policy.nvWritten,
    };
    return {};
  },
);

/** TPM2_PolicyLocality (23.8). */
export const policyLocality = /* @__PURE__ */ handler(PolicyLocality, (tpm, { policySession: handle, locality }) => {
  const session = policySession(tpm, handle);
  if (locality === 0) refuseParameter(TPM_RC.RANGE, 1);
  const before = session.policy.locality;
  const digest = extend(tpm, session, TPM_CC.PolicyLocality, Uint8Array.of(locality));
  change(session, { digest, locality: before === 0 ? locality : narrowed(before, locality) });
  return {};
});

// Below 32 the octet is a set of localities, and two calls allow what both allow; from 32 up it is one locality.
function narrowed(before: number, locality: number): number {
  if (before >= 32 || locality >= 32) return before === locality ? locality : refuseParameter(TPM_RC.RANGE, 1);
  return (before & locality) === 0 ? refuseParameter(TPM_RC.RANGE, 1) : before & locality;
}

/** TPM2_PolicyNV (23.9). */
export const policyNv = /* @__PURE__ */ handler(PolicyNv, (tpm, request) => {
  const { authHandle, nvIndex, operandB, offset, operation } = request;
  const session = policySession(tpm, request.policySession);
  const index = nvAt(tpm, nvIndex);
  if (session.type !== 'trial') {
    assertNvReadable(authHandle, index);
    if (offset > index.dataSize) refuseParameter(TPM_RC.VALUE, 2);
    if (operandB.length > index.dataSize - offset) refuseParameter(TPM_RC.SIZE, 1);
    const operandA = index.data.subarray(offset, offset + operandB.length);
    if (!compare(operation, operandA, operandB)) refuse(TPM_RC.POLICY);
  }
  const args = tpm.crypto.hash(session.authHash, operandB, u16Bytes(offset), u16Bytes(operation));
  change(session, { digest: extend(tpm, session, TPM_CC.PolicyNV, args, nvName(tpm, index)) });
  return {};
});

/** TPM2_PolicyCounterTimer (23.10). */
export const policyCounterTimer = /* @__PURE__ */ handler(PolicyCounterTimer, (tpm, request) => {
  const { operandB, offset, operation } = request;
  const session = policySession(tpm, request.policySession);
  const info = encode(TpmsTimeInfo, { time: timeOf(tpm), clockInfo: clockInfo(tpm) });
  if (offset > info.length) refuseParameter(TPM_RC.VALUE, 2);
  if (operandB.length > info.length - offset) refuse(TPM_RC.RANGE);
  if (session.type !== 'trial') {
    const operandA = info.subarray(offset, offset + operandB.length);
    if (!compare(operation, operandA, operandB)) refuse(TPM_RC.POLICY);
  }
  const args = tpm.crypto.hash(session.authHash, operandB, u16Bytes(offset), u16Bytes(operation));
  change(session, { digest: extend(tpm, session, TPM_CC.PolicyCounterTimer, args) });
  return {};
});

/** TPM2_PolicyCommandCode (23.11). */
export const policyCommandCode = /* @__PURE__ */ handler(PolicyCommandCode, (tpm, { policySession: handle, code }) => {
  const session = policySession(tpm, handle);
  const { commandCode } = session.policy;
  if (commandCode !== 0 && commandCode !== code) refuseParameter(TPM_RC.VALUE, 1);
  if (!tpm.commands.has(code)) refuseParameter(TPM_RC.POLICY_CC, 1);
  change(session, { digest: extend(tpm, session, TPM_CC.PolicyCommandCode, u32Bytes(code)), commandCode: code });
  return {};
});

/** TPM2_PolicyPhysicalPresence (23.12). */
export const policyPhysicalPresence = /* @__PURE__ */ handler(
  PolicyPhysicalPresence,
  (tpm, { policySession: handle }) => {
    const session = policySession(tpm, handle);
    change(session, { digest: extend(tpm, session, TPM_CC.PolicyPhysicalPresence), needsPresence: true });
    return {};
  },
);

/** TPM2_PolicyCpHash (23.13). */
export const policyCpHash = /* @__PURE__ */ handler(PolicyCpHash, (tpm, { policySession: handle, cpHashA }) => {
  const session = policySession(tpm, handle);
  if (cpHashA.length !== digestSize(session.authHash)) refuseParameter(TPM_RC.SIZE, 1);
  const { bound } = session.policy;
  if (bound !== undefined && (bound.kind !== 'cpHash' || !isEqual(bound.digest, cpHashA))) refuse(TPM_RC.CPHASH);
  change(session, {
    digest: extend(tpm, session, TPM_CC.PolicyCpHash, cpHashA),
    bound: { kind: 'cpHash', digest: cpHashA },
  });
  return {};
});

/** TPM2_PolicyNameHash (23.14). */
export const policyNameHash = /* @__PURE__ */ handler(PolicyNameHash, (tpm, { policySession: handle, nameHash }) => {
  const session = policySession(tpm, handle);
  if (nameHash.length !== digestSize(session.authHash)) refuseParameter(TPM_RC.SIZE, 1);
  if (session.policy.bound !== undefined) refuse(TPM_RC.CPHASH);
  change(session, {
    digest: extend(tpm, session, TPM_CC.PolicyNameHash, nameHash),
    bound: { kind: 'nameHash', digest: nameHash },
  });
  return {};
});

/** TPM2_PolicyDuplicationSelect (23.15). */
export const policyDuplicationSelect = /* @__PURE__ */ handler(PolicyDuplicationSelect, (tpm, request) => {
  const { objectName, newParentName, includeObject } = request;
  const session = policySession(tpm, request.policySession);
  if (session.policy.bound !== undefined) refuse(TPM_RC.CPHASH);
  if (session.policy.commandCode !== 0) refuse(TPM_RC.COMMAND_CODE);
  const digest = tpm.crypto.hash(session.authHash, objectName, newParentName);
  const names = includeObject ? concat(objectName, newParentName) : newParentName;
  change(session, {
    digest: extend(tpm, session, TPM_CC.PolicyDuplicationSelect, names, Uint8Array.of(Number(includeObject))),
    bound: { kind: 'nameHash', digest },
    commandCode: TPM_CC.Duplicate,
  });
  return {};
});

/** TPM2_PolicyAuthorize (23.16). */
export const policyAuthorize = /* @__PURE__ */ handler(PolicyAuthorize, (tpm, request) => {
  const { approvedPolicy, policyRef, keySign, checkTicket } = request;
  const session = policySession(tpm, request.policySession);
  const isTrial = session.type === 'trial';
  const alg = ((keySign[0] ?? 0) << 8) | (keySign[1] ?? 0);
  if (!isHash(alg)) refuseParameter(TPM_RC.HASH, 3);
  if (keySign.length !== 2 + digestSize(alg)) refuseParameter(TPM_RC.SIZE, 3);
  if (!isTrial && !isEqual(session.policy.digest, approvedPolicy)) refuseParameter(TPM_RC.VALUE, 1);
  if (!isTrial) {
    const authHash = tpm.crypto.hash(alg, approvedPolicy, policyRef);
    const expected = verifiedTicket(tpm, checkTicket.hierarchy, authHash, keySign);
    if (expected.digest.length === 0 || !isEqual(expected.digest, checkTicket.digest)) refuseParameter(TPM_RC.VALUE, 4);
  }
  replaceDigest(tpm, session, TPM_CC.PolicyAuthorize, keySign, policyRef);
  return {};
});

// What was approved stands in for all that led to it: the digest starts anew.
function replaceDigest(tpm: Tpm, session: Session, code: number, name: Uint8Array, policyRef: Uint8Array): void {
  change(session, { digest: zeroDigest(session.authHash) });
  change(session, { digest: extendWithRef(tpm, session, code, name, policyRef) });
}

/** TPM2_PolicyAuthValue (23.17). */
export const policyAuthValue = /* @__PURE__ */ handler(PolicyAuthValue, (tpm, { policySession: handle }) => {
  const session = policySession(tpm, handle);
  change(session, { digest: extend(tpm, session, TPM_CC.PolicyAuthValue), needsAuthValue: true, needsPassword: false });
  return {};
});

/** TPM2_PolicyPassword (23.18): the same digest as PolicyAuthValue, so that either may satisfy the policy. */
export const policyPassword = /* @__PURE__ */ handler(PolicyPassword, (tpm, { policySession: handle }) => {
  const session = policySession(tpm, handle);
  change(session, { digest: extend(tpm, session, TPM_CC.PolicyAuthValue), needsAuthValue: false, needsPassword: true });
  return {};
});

/** TPM2_PolicyGetDigest (23.19). */
export const policyGetDigest = /* @__PURE__ */ handler(PolicyGetDigest, (tpm, { policySession: handle }) => ({
  policyDigest: policySession(tpm, handle).policy.digest,
}));

/** TPM2_PolicyNvWritten (23.20). */
export const policyNvWritten = /* @__PURE__ */ handler(
  PolicyNvWritten,
  (tpm, { policySession: handle, writtenSet }) => {
    const session = policySession(tpm, handle);
    const { nvWritten } = session.policy;
    if (nvWritten !== undefined && nvWritten !== writtenSet) refuseParameter(TPM_RC.VALUE, 1);
    const digest = extend(tpm, session, TPM_CC.PolicyNvWritten, Uint8Array.of(Number(writtenSet)));
    change(session, { digest, nvWritten: writtenSet });
    return {};
  },
);

/** TPM2_PolicyTemplate (23.21). */
export const policyTemplate = /* @__PURE__ */ handler(
  PolicyTemplate,
  (tpm, { policySession: handle, templateHash }) => {
    const session = policySession(tpm, handle);
    const { bound } = session.policy;
    if (bound !== undefined && bound.kind !== 'template') refuse(TPM_RC.CPHASH);
    if (bound !== undefined && !isEqual(bound.digest, templateHash)) refuseParameter(TPM_RC.VALUE, 1);
    if (templateHash.length !== digestSize(session.authHash)) refuseParameter(TPM_RC.SIZE, 1);
    const digest = extend(tpm, session, TPM_CC.PolicyTemplate, templateHash);
    change(session, { digest, bound: { kind: 'template', digest: templateHash } });
    return {};
  },
);

/** TPM2_PolicyAuthorizeNV (23.22). */
export const policyAuthorizeNv = /* @__PURE__ */ handler(
  PolicyAuthorizeNv,
  (tpm, { authHandle, nvIndex, policySession: handle }) => {
    const session = policySession(tpm, handle);
    const index = nvAt(tpm, nvIndex);
    if (session.type !== 'trial') {
      assertNvReadable(authHandle, index);
      const stored = storedPolicy(index.data);
      if (stored.hashAlg !== session.authHash) refuseHandle(TPM_RC.HASH, 2);
      if (!isEqual(stored.digest, session.policy.digest)) refuse(TPM_RC.VALUE);
    }
    change(session, { digest: zeroDigest(session.authHash) });
    change(session, { digest: extend(tpm, session, TPM_CC.PolicyAuthorizeNV, nvName(tpm, index)) });
    return {};
  },
);

// The index holds a TPMT_HA, and may be longer than that.
function storedPolicy(data: Uint8Array): TpmtHa {
  const alg = data.length < 2 ? TPM_ALG.NULL : ((data[0] ?? 0) << 8) | (data[1] ?? 0);
  if (!isHash(alg)) return refuse(TPM_RC.HASH);
  if (data.length < 2 + digestSize(alg)) return refuse(TPM_RC.INSUFFICIENT);
  return decodeOrRefuse(TpmtHa, data.subarray(0, 2 + digestSize(alg)));
}
