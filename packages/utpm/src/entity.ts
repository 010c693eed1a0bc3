/** Entities: what a handle refers to, its name, authorization value and policy (Part 1, clauses 15, 16 and 19). */
import {
  TPM_ALG,
  TPM_CC,
  TPM_HC,
  TPM_HT,
  TPM_NT,
  TPM_RC,
  TPM_RH,
  TPM_RS,
  TPMA_NV,
  TPMA_OBJECT,
  TpmsNvPublic,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { concat, EMPTY, trimAuth, u16Bytes } from './bytes.js';
import { loadPersistent } from './evict.js';
import { digestSize } from './implementation.js';
import { handleName, has, type TpmObject } from './object.js';
import { isAuthorizedPcr } from './pcr-bank.js';
import type { AuthPolicy, NvIndexState } from './permanent.js';
import { refuse } from './refusal.js';
import { isHierarchyEnabled, NO_POLICY, type Tpm } from './tpm.js';

/** The type octet of a handle (TPM_HT). */
export function handleType(handle: number): number {
  return handle >>> 24;
}

/** Is it the handle of an HMAC or policy session? */
export function isSessionHandle(handle: number): boolean {
  return handleType(handle) === TPM_HT.HMAC_SESSION || handleType(handle) === TPM_HT.POLICY_SESSION;
}

/** The object that a transient or persistent handle refers to; refuses where there is none. */
export function objectAt(tpm: Tpm, handle: number): TpmObject {
  const object = findObject(tpm, handle);
  return object ?? refuse(TPM_RC.HANDLE);
}

/** The object that a transient or persistent handle refers to. */
export function findObject(tpm: Tpm, handle: number): TpmObject | undefined {
  if (handleType(handle) === TPM_HT.PERSISTENT) return loadPersistent(tpm, handle);
  return tpm.volatile.objects.get(handle);
}

/** The NV index of a handle; refuses where it is not defined. */
export function nvAt(tpm: Tpm, handle: number): NvIndexState {
  return tpm.permanent.nv.get(handle) ?? refuse(TPM_RC.HANDLE);
}

/**
 * Refuses where nothing that can be used has this handle. `position` counts from 0; a transient object or session that is not loaded
 * is told from a permanent problem, so that a resource manager may load it (TPM_RC_REFERENCE_Hx).
 */
export function assertPresent(tpm: Tpm, handle: number, position: number): void {
  switch (handleType(handle)) {
    case TPM_HT.PERMANENT:
      assertPermanent(tpm, handle);
      return;
    case TPM_HT.TRANSIENT:
      if (!tpm.volatile.objects.has(handle)) refuse(TPM_RC.REFERENCE_H0 + position);
      return;
    case TPM_HT.PERSISTENT:
      assertPersistent(tpm, handle);
      return;
    case TPM_HT.HMAC_SESSION:
    case TPM_HT.POLICY_SESSION:
      if (isOtherSession(tpm, handle)) refuse(TPM_RC.HANDLE);
      if (!tpm.volatile.sessions.has(handle)) refuse(TPM_RC.REFERENCE_H0 + position);
      return;
    case TPM_HT.NV_INDEX:
      assertNvIndex(tpm, handle);
      return;
    default:
      // A PCR whose number is in range is always there.
      return;
  }
}

/** Is a session of this number loaded, but of the other kind? Numbers are shared, the handle's type tells the kind. */
export function isOtherSession(tpm: Tpm, handle: number): boolean {
  const other = handleType(handle) === TPM_HT.HMAC_SESSION ? TPM_HT.POLICY_SESSION : TPM_HT.HMAC_SESSION;
  return tpm.volatile.sessions.has((handle & 0xffffff) + other * 0x1000000);
}

function assertPermanent(tpm: Tpm, handle: number): void {
  if (!PERMANENT.includes(handle)) refuse(TPM_RC.VALUE);
  if (!isHierarchyEnabled(tpm, handle)) refuse(TPM_RC.HIERARCHY);
}

const PERMANENT: readonly number[] = [
  TPM_RH.OWNER,
  TPM_RH.ENDORSEMENT,
  TPM_RH.PLATFORM,
  TPM_RH.NULL,
  TPM_RH.LOCKOUT,
  TPM_RS.PW,
];

// The room for persistent objects is the owner's, or above a handle the platform's, whichever hierarchy the objects are in.
function assertPersistent(tpm: Tpm, handle: number): void {
  const { owner, platform } = tpm.volatile.enables;
  if (handle >= TPM_HC.PLATFORM_PERSISTENT ? !platform : !owner) refuse(TPM_RC.HANDLE);
  const object = findObject(tpm, handle);
  if (object === undefined || !isHierarchyEnabled(tpm, object.hierarchy)) refuse(TPM_RC.HANDLE);
}

// An index of the platform needs phEnableNV, any other needs shEnable (Part 1, 37.2.2 and 13.4).
function assertNvIndex(tpm: Tpm, handle: number): void {
  const index = nvAt(tpm, handle);
  const isPlatform = (index.attributes & TPMA_NV.PLATFORMCREATE) !== 0;
  const { enables } = tpm.volatile;
  if (isPlatform ? !enables.platformNv : !enables.owner) refuse(TPM_RC.HANDLE);
}

/** The Name of what a handle refers to (Part 1, clause 16). */
export function entityName(tpm: Tpm, handle: number): Uint8Array {
  switch (handleType(handle)) {
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT:
      return objectAt(tpm, handle).name;
    case TPM_HT.NV_INDEX:
      return nvName(tpm, nvAt(tpm, handle));
    default:
      return handleName(handle);
  }
}

/** The Name of an NV index: nameAlg and the digest of its public area. */
export function nvName(tpm: Tpm, index: NvIndexState): Uint8Array {
  const area = encode(TpmsNvPublic, nvPublic(index));
  return concat(u16Bytes(index.nameAlg), tpm.crypto.hash(index.nameAlg, area));
}

/** The public area of an NV index. */
export function nvPublic(index: NvIndexState): TpmsNvPublic {
  const { nvIndex, attributes, authPolicy, dataSize } = index;
  // NV_DefineSpace admits no other hash.
  const nameAlg = index.nameAlg as TpmsNvPublic['nameAlg'];
  return { nvIndex, nameAlg, attributes, authPolicy, dataSize };
}

/** The authorization value of an entity without its trailing zeros; empty where it has none. */
export function entityAuth(tpm: Tpm, handle: number): Uint8Array {
  switch (handleType(handle)) {
    case TPM_HT.PERMANENT:
      return permanentAuth(tpm, handle);
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT:
      return trimAuth(objectAt(tpm, handle).sensitive?.authValue ?? EMPTY);
    case TPM_HT.NV_INDEX:
      return nvAt(tpm, handle).auth;
    case TPM_HT.PCR:
      return isAuthorizedPcr(handle) ? (tpm.volatile.pcrAuth ?? EMPTY) : EMPTY;
    default:
      return EMPTY;
  }
}

function permanentAuth(tpm: Tpm, handle: number): Uint8Array {
  switch (handle) {
    case TPM_RH.OWNER:
      return tpm.permanent.owner.auth;
    case TPM_RH.ENDORSEMENT:
      return tpm.permanent.endorsement.auth;
    case TPM_RH.LOCKOUT:
      return tpm.permanent.lockout.auth;
    case TPM_RH.PLATFORM:
      return tpm.volatile.platformAuth;
    default:
      return EMPTY;
  }
}

/** The policy of an entity with its hash algorithm. */
export function entityPolicy(tpm: Tpm, handle: number): AuthPolicy {
  switch (handleType(handle)) {
    case TPM_HT.PERMANENT:
      return permanentPolicy(tpm, handle);
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT: {
      const { public: area } = objectAt(tpm, handle);
      return { alg: area.nameAlg, digest: area.authPolicy };
    }
    case TPM_HT.NV_INDEX: {
      const index = nvAt(tpm, handle);
      return { alg: index.nameAlg, digest: index.authPolicy };
    }
    case TPM_HT.PCR:
      return isAuthorizedPcr(handle) ? tpm.permanent.pcrPolicy : NO_POLICY;
    default:
      return NO_POLICY;
  }
}

function permanentPolicy(tpm: Tpm, handle: number): AuthPolicy {
  switch (handle) {
    case TPM_RH.OWNER:
      return tpm.permanent.owner.policy;
    case TPM_RH.ENDORSEMENT:
      return tpm.permanent.endorsement.policy;
    case TPM_RH.LOCKOUT:
      return tpm.permanent.lockout.policy;
    case TPM_RH.PLATFORM:
      return tpm.volatile.platformPolicy;
    default:
      return NO_POLICY;
  }
}

const NV_WRITES: ReadonlySet<number> = new Set([
  TPM_CC.NV_Write,
  TPM_CC.NV_Increment,
  TPM_CC.NV_SetBits,
  TPM_CC.NV_Extend,
  TPM_CC.NV_WriteLock,
]);
const NV_READS: ReadonlySet<number> = new Set([TPM_CC.NV_Read, TPM_CC.NV_ReadLock, TPM_CC.NV_Certify, TPM_CC.PolicyNV]);

/** May the entity's authorization value authorise this command in this role (Part 1, 19.2)? */
export function isAuthValueAvailable(tpm: Tpm, handle: number, commandCode: number, isAdminRole: boolean): boolean {
  switch (handleType(handle)) {
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT: {
      const object = objectAt(tpm, handle);
      if (object.sensitive === undefined) return false;
      if (has(object.public, TPMA_OBJECT.userWithAuth)) return true;
      return isAdminRole && !has(object.public, TPMA_OBJECT.adminWithPolicy);
    }
    case TPM_HT.NV_INDEX: {
      const { attributes } = nvAt(tpm, handle);
      if (NV_WRITES.has(commandCode)) return (attributes & TPMA_NV.AUTHWRITE) !== 0;
      // A PIN is there to be given, whether or not the index may be read by it.
      return isPinIndex(attributes) || (attributes & TPMA_NV.AUTHREAD) !== 0;
    }
    default:
      return true;
  }
}

/** May the entity's policy authorise this command? */
export function isPolicyAvailable(tpm: Tpm, handle: number, commandCode: number): boolean {
  switch (handleType(handle)) {
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT:
      return objectAt(tpm, handle).sensitive !== undefined && objectAt(tpm, handle).sequence === undefined;
    case TPM_HT.NV_INDEX: {
      const index = nvAt(tpm, handle);
      if (index.authPolicy.length === 0) return false;
      if (NV_WRITES.has(commandCode)) return (index.attributes & TPMA_NV.POLICYWRITE) !== 0;
      if (NV_READS.has(commandCode)) return (index.attributes & TPMA_NV.POLICYREAD) !== 0;
      return true;
    }
    case TPM_HT.PERMANENT:
      return entityPolicy(tpm, handle).alg !== TPM_ALG.NULL && entityPolicy(tpm, handle).digest.length > 0;
    case TPM_HT.PCR:
      return isAuthorizedPcr(handle);
    default:
      return false;
  }
}

/** Is a failed authorization of this entity no sign of a dictionary attack (Part 1, 19.8.2)? */
export function isDaExempt(tpm: Tpm, handle: number): boolean {
  switch (handleType(handle)) {
    case TPM_HT.PERMANENT:
      return handle !== TPM_RH.LOCKOUT;
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT:
      return has(objectAt(tpm, handle).public, TPMA_OBJECT.noDA);
    case TPM_HT.NV_INDEX:
      return (nvAt(tpm, handle).attributes & TPMA_NV.NO_DA) !== 0;
    default:
      return true;
  }
}

/** The kind of an NV index (TPM_NT). */
export function nvKind(attributes: number): number {
  return (attributes & TPMA_NV.TPM_NT) >>> 4;
}

/** Does the index count wrong or right PINs? */
export function isPinIndex(attributes: number): boolean {
  return nvKind(attributes) === TPM_NT.PIN_FAIL || nvKind(attributes) === TPM_NT.PIN_PASS;
}

/** Does `size` fit a digest of `alg`, or is it the empty policy? */
export function isPolicySize(alg: number, size: number): boolean {
  return size === 0 || size === digestSize(alg);
}

/** The hierarchy that an entity belongs to; TPM_RH_NULL where it belongs to none. */
export function entityHierarchy(tpm: Tpm, handle: number): number {
  switch (handleType(handle)) {
    case TPM_HT.PERMANENT:
      return [TPM_RH.PLATFORM, TPM_RH.ENDORSEMENT, TPM_RH.NULL].find((known) => known === handle) ?? TPM_RH.OWNER;
    case TPM_HT.TRANSIENT:
    case TPM_HT.PERSISTENT:
      return objectAt(tpm, handle).hierarchy;
    case TPM_HT.NV_INDEX:
      return (nvAt(tpm, handle).attributes & TPMA_NV.PLATFORMCREATE) !== 0 ? TPM_RH.PLATFORM : TPM_RH.OWNER;
    default:
      return TPM_RH.OWNER;
  }
}
