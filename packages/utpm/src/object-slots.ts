/** The slots of transient objects: Part 1, clause 30.4. */
import { TPM_HC, TPM_RC, TPMA_OBJECT } from '@casemate/tpm';
import type { NewObject, Origin } from './creation.js';
import { IMPLEMENTATION } from './implementation.js';
import { handleName, has, qualifiedNameOf, type TpmObject } from './object.js';
import { refuse } from './refusal.js';
import type { Tpm } from './tpm.js';

/** An object to load; without sensitive area it is a public key alone. */
export type Loadable = Omit<NewObject, 'sensitive'> & Partial<Pick<NewObject, 'sensitive'>>;

/** Refuses with TPM_RC_OBJECT_MEMORY where no slot is free; called before work that would be lost. */
export function assertRoom(tpm: Tpm): void {
  if (tpm.volatile.objects.size >= IMPLEMENTATION.MAX_LOADED_OBJECTS) refuse(TPM_RC.OBJECT_MEMORY);
}

/** Loads an object that was made or wrapped under `origin`; returns its handle. */
export function addObject(tpm: Tpm, made: Loadable, origin: Origin): number {
  const isPrimary = origin.kind === 'primary';
  const ancestors = isPrimary ? handleName(origin.hierarchy) : origin.parent.qualifiedName;
  return addLoaded(tpm, {
    public: made.public,
    sensitive: made.sensitive,
    name: made.name,
    qualifiedName: qualifiedNameOf(tpm.crypto, ancestors, made.public, made.name),
    hierarchy: origin.hierarchy,
    isPrimary,
    isExternal: false,
    isStClear: has(made.public, TPMA_OBJECT.stClear) || (!isPrimary && origin.parent.isStClear),
  });
}

/** Loads an object of a parent outside of this TPM (TPM2_LoadExternal); returns its handle. */
export function addExternal(tpm: Tpm, made: Loadable, hierarchy: number): number {
  return addLoaded(tpm, {
    public: made.public,
    sensitive: made.sensitive,
    name: made.name,
    // Without ancestors here, the Name is all there is.
    qualifiedName: made.name,
    hierarchy,
    isPrimary: false,
    isExternal: true,
    isStClear: has(made.public, TPMA_OBJECT.stClear),
  });
}

/** Puts an object into the first free slot; returns its handle. */
export function addLoaded(tpm: Tpm, object: Omit<TpmObject, 'handle'>): number {
  const { objects } = tpm.volatile;
  assertRoom(tpm);
  let handle: number = TPM_HC.TRANSIENT_FIRST;
  while (objects.has(handle)) handle++;
  objects.set(handle, withHandle(handle, object));
  return handle;
}

// Member by member: what is spread beside another member is put together by the runtime, for some microseconds.
function withHandle(handle: number, object: Omit<TpmObject, 'handle'>): TpmObject {
  const { sequence } = object;
  const loaded = {
    handle,
    public: object.public,
    sensitive: object.sensitive,
    name: object.name,
    qualifiedName: object.qualifiedName,
    hierarchy: object.hierarchy,
    isPrimary: object.isPrimary,
    isExternal: object.isExternal,
    isStClear: object.isStClear,
  };
  return sequence === undefined ? loaded : { ...loaded, sequence };
}

/** Removes a transient object; what is secret in it stays only as long as the collector leaves it. */
export function flushObject(tpm: Tpm, handle: number): void {
  const object = tpm.volatile.objects.get(handle);
  tpm.volatile.objects.delete(handle);
  object?.sensitive?.sensitive.fill(0);
  object?.sensitive?.seedValue.fill(0);
}

/** Removes the transient objects of a hierarchy. */
export function flushHierarchy(tpm: Tpm, hierarchy: number): void {
  for (const { handle } of [...tpm.volatile.objects.values()].filter((object) => object.hierarchy === hierarchy)) {
    flushObject(tpm, handle);
  }
}
