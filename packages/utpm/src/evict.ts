/** Persistent objects: Part 1, clause 37.3. They are stored as their marshalled areas and loaded when they are used. */
import { TpmtPublicOrNull, TpmtSensitive } from '@casemate/tpm';
import { decode, encode } from '@casemate/wire';
import { nameOfPublic, type TpmObject } from './object.js';
import type { PersistentObject } from './permanent.js';
import { markDirty, type Tpm } from './tpm.js';

const PRIMARY = 1;

/** The persistent object of a handle in its loaded form, or undefined. */
export function loadPersistent(tpm: Tpm, handle: number): TpmObject | undefined {
  const cached = tpm.volatile.evictCache.get(handle);
  if (cached !== undefined) return cached;
  const stored = tpm.permanent.objects.get(handle);
  if (stored === undefined) return undefined;
  const object = fromPersistent(tpm, stored);
  tpm.volatile.evictCache.set(handle, object);
  return object;
}

function fromPersistent(tpm: Tpm, stored: PersistentObject): TpmObject {
  const area = decode(TpmtPublicOrNull, stored.publicArea);
  return {
    handle: stored.handle,
    public: area,
    sensitive: decode(TpmtSensitive, stored.sensitiveArea),
    name: nameOfPublic(tpm.crypto, area),
    qualifiedName: stored.qualifiedName,
    hierarchy: stored.hierarchy,
    isPrimary: (stored.attributes & PRIMARY) !== 0,
    isExternal: false,
    isStClear: false,
  };
}

/** Makes a copy of `object` persistent under `handle`. */
export function storePersistent(tpm: Tpm, handle: number, object: TpmObject, sensitive: TpmtSensitive): void {
  tpm.permanent.objects.set(handle, {
    handle,
    hierarchy: object.hierarchy,
    attributes: object.isPrimary ? PRIMARY : 0,
    publicArea: encode(TpmtPublicOrNull, object.public),
    sensitiveArea: encode(TpmtSensitive, sensitive),
    qualifiedName: object.qualifiedName,
  });
  markDirty(tpm);
}

/** Removes a persistent object and wipes what was stored of it. */
export function removePersistent(tpm: Tpm, handle: number): void {
  tpm.permanent.objects.get(handle)?.sensitiveArea.fill(0);
  tpm.permanent.objects.delete(handle);
  tpm.volatile.evictCache.delete(handle);
  markDirty(tpm);
}

/** Removes all persistent objects of a hierarchy. */
export function removePersistentOf(tpm: Tpm, hierarchy: number): void {
  for (const { handle } of [...tpm.permanent.objects.values()].filter((object) => object.hierarchy === hierarchy)) {
    removePersistent(tpm, handle);
  }
}
