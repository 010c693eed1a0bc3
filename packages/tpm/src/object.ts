/** Objects in the TPM: creating, loading, reading, making persistent (Part 1, sections 23 to 27; Part 3, chapters 12, 24 and 28). */
import { type Authorization, authBytes, type Entity, type HandleInput, toEntity } from './authorization.js';
import { EvictControl, FlushContext } from './commands/context.js';
import { CreatePrimary } from './commands/hierarchy.js';
import { Create, Load, LoadExternal, ReadPublic } from './commands/object.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_RH } from './constants/handles.js';
import { nobleHashes } from './hashes.js';
import { assertName, nameOf } from './name.js';
import { TpmError } from './response-code.js';
import type { TpmtPublic, TpmtPublicOrNull } from './structures/public.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** A hierarchy of the TPM. */
export type Hierarchy = 'owner' | 'endorsement' | 'platform' | 'null';

/** The permanent handle of each hierarchy. */
const HIERARCHIES = {
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
  /** The same as `flush`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a new object is to be. */
export interface CreateOptions extends ExecuteOptions {
  /** Its public area, with `unique` as entropy of the caller's. */
  readonly template: TpmtPublic;
  /** Its authorization value; a string stands for its UTF-8 bytes. Default empty. */
  readonly auth?: Uint8Array | string;
  /** Data to seal in it (1 to 128 bytes), for a keyed-hash template. */
  readonly sealed?: Uint8Array;
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

/** Derives a primary object from a hierarchy's seed: the same template gives the same key until the seed changes. */
export async function createPrimary(tpm: Tpm, options: CreatePrimaryOptions): Promise<TpmObject> {
  const { template, hierarchy = 'owner', hierarchyAuth } = options;
  const primaryHandle = { handle: HIERARCHIES[hierarchy], auth: hierarchyAuth };
  const authValue = authBytes(options.auth);
  const request = { primaryHandle, ...creation(template, authValue, options.sealed) };
  const response = await tpm.execute(CreatePrimary, request, options);
  return transient(tpm, 'create primary', response.objectHandle, response.outPublic, response.name, authValue);
}

/** Creates an object under a parent and gives it wrapped; {@link loadKey} brings it back. */
export async function createKey(tpm: Tpm, parent: HandleInput, options: CreateOptions): Promise<WrappedKey> {
  const request = creation(options.template, authBytes(options.auth), options.sealed);
  const response = await tpm.execute(Create, { parentHandle: parent, ...request }, options);
  return { private: response.outPrivate, public: response.outPublic };
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

function creation(inPublic: TpmtPublic, userAuth: Uint8Array, data: Uint8Array = new Uint8Array(0)) {
  return { inSensitive: { userAuth, data }, inPublic, outsideInfo: new Uint8Array(0), creationPCR: [] };
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
  const expected = nameOf(publicArea, tpm.crypto ?? nobleHashes);
  assertName(subject, expected, name);
  return { handle, name: expected, public: publicArea, authValue, flush, [Symbol.asyncDispose]: flush };
}

function assertNamed(publicArea: TpmtPublicOrNull): TpmtPublic {
  if (publicArea.nameAlg === TPM_ALG.NULL) throw new TpmError('usage', 'open object: it has no Name');
  return publicArea as TpmtPublic; // TPMT_PUBLIC+ without the null name algorithm
}

const PLATFORM_PERSISTENT = 0x81800000;
