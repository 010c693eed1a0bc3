/** Objects in the TPM: creating, loading, reading, making persistent (Part 1, sections 23 to 27; Part 3, chapters 12, 24 and 28). */
import { encode } from '@casemate/wire';
import { type Authorization, authBytes, type Entity, type HandleInput, toEntity } from './authorization.js';
import { EvictControl, FlushContext } from './commands/context.js';
import { CreatePrimary } from './commands/hierarchy.js';
import { Create, Load, LoadExternal, ObjectChangeAuth, ReadPublic } from './commands/object.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_RH } from './constants/handles.js';
import { defaultHashes } from './default-crypto.js';
import { dispose } from './disposal.js';
import { assertName, nameOf } from './name.js';
import { type PcrIndexes, pcrSelection } from './pcr.js';
import { TpmError } from './response-code.js';
import type { SoftwareObject } from './software-object.js';
import { TpmsCreationData } from './structures/creation.js';
import type { TpmtPublic, TpmtPublicOrNull } from './structures/public.js';
import type { TpmtTkCreation } from './structures/tickets.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** A hierarchy of the TPM. */
export type Hierarchy = 'owner' | 'endorsement' | 'platform' | 'null';

/** The permanent handle of each hierarchy. */
export const HIERARCHIES = {
  owner: TPM_RH.OWNER,
  endorsement: TPM_RH.ENDORSEMENT,
  platform: TPM_RH.PLATFORM,
  null: TPM_RH.NULL,
} as const;

/** An object in the TPM, usable as a handle argument. `{ ...object, auth: session }` authorises it otherwise. */
export interface TpmObject extends Entity {
  /** Its Name, computed from `public` and compared with the TPM's. */
  readonly name: Uint8Array;
  /** Its public area. */
  readonly public: TpmtPublic;
  /** Frees its place in the TPM; does nothing for a persistent object, and nothing the second time. */
  flush(): Promise<void>;
  /** `flush` for `await using`; where the TPM fails to, the error that ended the block stays the one to see. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Under which circumstances an object was made; {@link certifyCreation} has the TPM confirm them. */
export interface Creation {
  /** The encoded TPMS_CREATION_DATA. */
  readonly data: Uint8Array;
  /** Its digest by the object's name algorithm. */
  readonly hash: Uint8Array;
  /** What the TPM takes as proof that it made the object. */
  readonly ticket: TpmtTkCreation;
}

/** What a new object is to be. */
export interface CreateOptions extends ExecuteOptions {
  /** Its public area, with `unique` as entropy of the caller's. */
  readonly template: TpmtPublic;
  /** Its authorization value; a string stands for its UTF-8 bytes. Default empty. */
  readonly auth?: Uint8Array | string;
  /** Data to seal in it (1 to 128 bytes) or the key to put in, for a keyed-hash or symmetric template. */
  readonly sealed?: Uint8Array;
  /** Data of the caller's that go into the creation data, such as a nonce; at most 66 bytes. */
  readonly outsideInfo?: Uint8Array;
  /** The PCRs whose values go into the creation data. */
  readonly creationPcrs?: PcrIndexes;
}

/** What a new primary object is to be. */
export interface CreatePrimaryOptions extends CreateOptions {
  /** Where its seed comes from. Default `owner`. */
  readonly hierarchy?: Hierarchy;
  /** How the hierarchy authorises. Default: the empty password. */
  readonly hierarchyAuth?: Authorization;
}

/** An object as its TPM stores it outside itself: useless without its parent. */
export interface WrappedKey {
  /** The contents of a TPM2B_PRIVATE, encrypted by the parent. */
  readonly private: Uint8Array;
  /** The public area. */
  readonly public: TpmtPublic;
}

/** A new object as its TPM stores it outside itself, with the circumstances of its creation. */
export interface CreatedKey extends WrappedKey {
  /** The circumstances of its creation. */
  readonly creation: Creation;
}

/** Derives a primary object from a hierarchy's seed: the same template gives the same key until the seed changes. */
export async function createPrimary(
  tpm: Tpm,
  options: CreatePrimaryOptions,
): Promise<TpmObject & { readonly creation: Creation }> {
  const { template, hierarchy = 'owner', hierarchyAuth } = options;
  const primaryHandle = { handle: HIERARCHIES[hierarchy], auth: hierarchyAuth };
  const authValue = authBytes(options.auth);
  const request = { primaryHandle, ...creationRequest(template, authValue, options) };
  const response = await tpm.execute(CreatePrimary, request, options);
  const { objectHandle, outPublic, name } = response;
  const object = transient(tpm, 'create primary', objectHandle, outPublic, name, authValue);
  return { ...object, creation: creationOf(response) };
}

/** Creates an object under a parent and gives it wrapped; {@link loadKey} brings it back. */
export async function createKey(tpm: Tpm, parent: HandleInput, options: CreateOptions): Promise<CreatedKey> {
  const request = creationRequest(options.template, authBytes(options.auth), options);
  const response = await tpm.execute(Create, { parentHandle: parent, ...request }, options);
  return { private: response.outPrivate, public: response.outPublic, creation: creationOf(response) };
}

/** Loads a wrapped object under the parent that wrapped it. `auth` is its own authorization value, for its later use. */
export async function loadKey(
  tpm: Tpm,
  parent: HandleInput,
  key: WrappedKey,
  options: ExecuteOptions & { readonly auth?: Uint8Array | string } = {},
): Promise<TpmObject> {
  const request = { parentHandle: parent, inPrivate: key.private, inPublic: key.public };
  const { objectHandle, name } = await tpm.execute(Load, request, options);
  return transient(tpm, 'load key', objectHandle, key.public, name, authBytes(options.auth));
}

/** Loads a public key alone, to check signatures or to encrypt with it. */
export async function loadPublic(
  tpm: Tpm,
  publicArea: TpmtPublic,
  options: ExecuteOptions & { readonly hierarchy?: Hierarchy } = {},
): Promise<TpmObject> {
  const request = { inPrivate: undefined, inPublic: publicArea, hierarchy: HIERARCHIES[options.hierarchy ?? 'null'] };
  const { objectHandle, name } = await tpm.execute(LoadExternal, request, options);
  return transient(tpm, 'load public key', objectHandle, publicArea, name, authBytes());
}

/**
 * Loads an object whose sensitive area is in the clear, such as a key of software: it goes over the bus in the clear
 * unless a session of `sessions` encrypts it. It belongs to no hierarchy, so it cannot be made persistent.
 */
export async function loadSoftware(tpm: Tpm, object: SoftwareObject, options: ExecuteOptions = {}): Promise<TpmObject> {
  const request = { inPrivate: object.sensitive, inPublic: object.public, hierarchy: TPM_RH.NULL };
  const { objectHandle, name } = await tpm.execute(LoadExternal, request, options);
  return transient(tpm, 'load software key', objectHandle, object.public, name, object.sensitive.authValue);
}

/** Gives a loaded object another authorization value and its new wrapped form; the loaded one keeps the old value. */
export async function changeAuth(
  tpm: Tpm,
  object: TpmObject,
  parent: HandleInput,
  auth: Uint8Array | string,
  options: ExecuteOptions = {},
): Promise<WrappedKey> {
  const request = { objectHandle: object, parentHandle: parent, newAuth: authBytes(auth) };
  const { outPrivate } = await tpm.execute(ObjectChangeAuth, request, options);
  return { private: outPrivate, public: object.public };
}

/** Reads the public area of an object that is there already, such as a persistent one; its Name is computed from it. */
export async function openObject(
  tpm: Tpm,
  handle: number,
  options: ExecuteOptions & { readonly auth?: Uint8Array | string } = {},
): Promise<TpmObject> {
  const { outPublic, name } = await tpm.execute(ReadPublic, { objectHandle: handle }, options);
  const publicArea = assertNamed(outPublic);
  return tracked(tpm, 'open object', handle, publicArea, name, authBytes(options.auth), async () => undefined);
}

/** A transient object that has come into the TPM by other means; the TPM's public area of it must be this one. */
export async function openTransient(
  tpm: Tpm,
  subject: string,
  handle: number,
  publicArea: TpmtPublic,
  options: ExecuteOptions & { readonly auth?: Uint8Array | string } = {},
): Promise<TpmObject> {
  try {
    const { name } = await tpm.execute(ReadPublic, { objectHandle: handle }, options);
    return transient(tpm, subject, handle, publicArea, name, authBytes(options.auth));
  } catch (error) {
    // It takes one of the TPM's few places; the first error is the one that matters.
    await tpm.execute(FlushContext, { flushHandle: handle }).catch(() => undefined);
    throw error;
  }
}

/** Copies a transient object to a persistent handle (0x81000000 up; 0x81800000 up is the platform's). */
export async function persist(
  tpm: Tpm,
  object: TpmObject,
  persistentHandle: number,
  options: ExecuteOptions & { readonly hierarchyAuth?: Authorization } = {},
): Promise<TpmObject> {
  const auth = provisioner(persistentHandle, options.hierarchyAuth);
  await tpm.execute(EvictControl, { auth, objectHandle: object, persistentHandle }, options);
  const authValue = object.authValue ?? authBytes();
  const nothing = async (): Promise<void> => undefined;
  return tracked(tpm, 'persist object', persistentHandle, object.public, object.name, authValue, nothing);
}

/** Deletes a persistent object. */
export async function unpersist(
  tpm: Tpm,
  object: HandleInput,
  options: ExecuteOptions & { readonly hierarchyAuth?: Authorization } = {},
): Promise<void> {
  const { handle } = toEntity(object);
  const auth = provisioner(handle, options.hierarchyAuth);
  await tpm.execute(EvictControl, { auth, objectHandle: object, persistentHandle: handle }, options);
}

function creationRequest(inPublic: TpmtPublic, userAuth: Uint8Array, options: CreateOptions) {
  const { sealed: data = new Uint8Array(0), outsideInfo = new Uint8Array(0), creationPcrs = {} } = options;
  return { inSensitive: { userAuth, data }, inPublic, outsideInfo, creationPCR: pcrSelection(creationPcrs) };
}

function creationOf(response: {
  readonly creationData: TpmsCreationData;
  readonly creationHash: Uint8Array;
  readonly creationTicket: TpmtTkCreation;
}): Creation {
  const { creationData, creationHash: hash, creationTicket: ticket } = response;
  return { data: encode(TpmsCreationData, creationData), hash, ticket };
}

function provisioner(persistentHandle: number, auth: Authorization | undefined): Entity {
  return { handle: persistentHandle >= PLATFORM_PERSISTENT ? TPM_RH.PLATFORM : TPM_RH.OWNER, auth };
}

function transient(
  tpm: Tpm,
  subject: string,
  handle: number,
  publicArea: TpmtPublic,
  name: Uint8Array,
  authValue: Uint8Array,
): TpmObject {
  let flushed = false;
  const flush = async (): Promise<void> => {
    if (flushed) return;
    flushed = true;
    await tpm.execute(FlushContext, { flushHandle: handle });
  };
  return tracked(tpm, subject, handle, publicArea, name, authValue, flush);
}

function tracked(
  tpm: Tpm,
  subject: string,
  handle: number,
  publicArea: TpmtPublic,
  name: Uint8Array,
  authValue: Uint8Array,
  flush: () => Promise<void>,
): TpmObject {
  const expected = nameOf(publicArea, tpm.crypto ?? defaultHashes);
  assertName(subject, expected, name);
  const disposal = { [Symbol.asyncDispose]: () => dispose(flush) };
  return { handle, name: expected, public: publicArea, authValue, flush, ...disposal };
}

function assertNamed(publicArea: TpmtPublicOrNull): TpmtPublic {
  if (publicArea.nameAlg === TPM_ALG.NULL) throw new TpmError('usage', 'open object: it has no Name');
  return publicArea as TpmtPublic; // TPMT_PUBLIC+ without the null name algorithm
}

const PLATFORM_PERSISTENT = 0x81800000;
