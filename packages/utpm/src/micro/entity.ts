/** What a handle stands for: its Name, its authorization value, its policy (Part 1, clauses 15, 16 and 19). */
import { concat, EMPTY, u16Bytes, u32Bytes } from '../bytes.js';
import { PCR_COUNT } from '../pcr-bank.js';
import { TPM_ALG, TPM_CC, TPM_HT, TPM_RC, TPM_RH, TPMA_NV, TPMA_OBJECT } from './constants.js';
import { sha256 } from './crypto.js';
import { refuse, sized } from './octets.js';
import { has } from './public-area.js';
import type { Micro, MicroObject, NvIndex, Session } from './state.js';

/** Slots of transient objects. */
export const MAX_OBJECTS = 3;
/** Sessions at one time. */
export const MAX_SESSIONS = 3;

/** The first octet of a handle. */
export function typeOf(handle: number): number {
  return handle >>> 24;
}

/** The object of a transient handle; refuses where it is none. */
export function objectAt(tpm: Micro, handle: number): MicroObject {
  return tpm.objects.get(handle) ?? refuse(TPM_RC.HANDLE);
}

/** The NV index of a handle; refuses where it is not defined. */
export function nvAt(tpm: Micro, handle: number): NvIndex {
  return tpm.permanent.nv.get(handle) ?? refuse(TPM_RC.HANDLE);
}

/** The session of a handle; refuses where it is not there. */
export function sessionAt(tpm: Micro, handle: number): Session {
  return tpm.sessions.get(handle) ?? refuse(TPM_RC.VALUE);
}

/** Refuses a handle that stands for nothing. `kinds` are the types of handles that are allowed, `position` counts from 0. */
export function assertPresent(tpm: Micro, handle: number, kinds: readonly number[], position: number): void {
  const type = typeOf(handle);
  if (!kinds.includes(type)) refuse(TPM_RC.VALUE);
  const number = handle & 0xffffff;
  switch (type) {
    case TPM_HT.PERMANENT:
      if (![TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.NULL].some((known) => known === handle)) {
        refuse(TPM_RC.VALUE);
      }
      return;
    case TPM_HT.PCR:
      if (number >= PCR_COUNT) refuse(TPM_RC.VALUE);
      return;
    case TPM_HT.NV_INDEX:
      nvAt(tpm, handle);
      return;
    case TPM_HT.TRANSIENT:
      if (number >= MAX_OBJECTS) refuse(TPM_RC.VALUE);
      if (!tpm.objects.has(handle)) refuse(TPM_RC.REFERENCE_H0 + position);
      return;
    default:
      if (number >= MAX_SESSIONS) refuse(TPM_RC.VALUE);
      if (!tpm.sessions.has(handle)) refuse(TPM_RC.REFERENCE_H0 + position);
  }
}

/** TPMS_NV_PUBLIC. */
export function encodeNvPublic({ handle, attributes, authPolicy, data }: NvIndex): Uint8Array {
  const head = [u32Bytes(handle), u16Bytes(TPM_ALG.SHA256), u32Bytes(attributes)];
  return concat(...head, sized(authPolicy), u16Bytes(data.length));
}

/** The Name of what a handle stands for. */
export function entityName(tpm: Micro, handle: number): Uint8Array {
  if (typeOf(handle) === TPM_HT.TRANSIENT) return objectAt(tpm, handle).name;
  if (typeOf(handle) !== TPM_HT.NV_INDEX) return u32Bytes(handle);
  return concat(u16Bytes(TPM_ALG.SHA256), sha256(tpm.crypto, encodeNvPublic(nvAt(tpm, handle))));
}

/** The authorization value; that of hierarchies and PCRs is empty, and that of what has gone since. */
export function entityAuth(tpm: Micro, handle: number): Uint8Array {
  if (typeOf(handle) === TPM_HT.TRANSIENT) return tpm.objects.get(handle)?.auth ?? EMPTY;
  return tpm.permanent.nv.get(handle)?.auth ?? EMPTY;
}

/** The policy; empty where there is none. */
export function entityPolicy(tpm: Micro, handle: number): Uint8Array {
  if (typeOf(handle) === TPM_HT.TRANSIENT) return objectAt(tpm, handle).area.authPolicy;
  return tpm.permanent.nv.get(handle)?.authPolicy ?? EMPTY;
}

/** May the authorization value authorise this (Part 1, 19.2)? */
export function mayUseAuth(tpm: Micro, handle: number, code: number, isAdmin: boolean): boolean {
  if (typeOf(handle) === TPM_HT.TRANSIENT) {
    const { area } = objectAt(tpm, handle);
    return has(area, TPMA_OBJECT.userWithAuth) || (isAdmin && !has(area, TPMA_OBJECT.adminWithPolicy));
  }
  if (typeOf(handle) !== TPM_HT.NV_INDEX) return true;
  return (nvAt(tpm, handle).attributes & (isNvWrite(code) ? TPMA_NV.AUTHWRITE : TPMA_NV.AUTHREAD)) !== 0;
}

/** May the policy authorise this? */
export function mayUsePolicy(tpm: Micro, handle: number, code: number): boolean {
  if (typeOf(handle) === TPM_HT.TRANSIENT) return true;
  if (typeOf(handle) !== TPM_HT.NV_INDEX) return false;
  const { attributes, authPolicy } = nvAt(tpm, handle);
  if (authPolicy.length === 0) return false;
  if (isNvWrite(code)) return (attributes & TPMA_NV.POLICYWRITE) !== 0;
  return code !== TPM_CC.NV_Read || (attributes & TPMA_NV.POLICYREAD) !== 0;
}

function isNvWrite(code: number): boolean {
  return code === TPM_CC.NV_Write || code === TPM_CC.NV_Increment;
}

/** Is guessing its authorization value counted (Part 1, 19.8.2)? */
export function isProtected(tpm: Micro, handle: number): boolean {
  if (typeOf(handle) === TPM_HT.TRANSIENT) return !has(objectAt(tpm, handle).area, TPMA_OBJECT.noDA);
  return typeOf(handle) === TPM_HT.NV_INDEX && (nvAt(tpm, handle).attributes & TPMA_NV.NO_DA) === 0;
}
