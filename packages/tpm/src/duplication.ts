/** Moving objects between parents: duplicate, import, rewrap, and the same without a TPM (Part 1, section 23.3; Part 3, chapter 13). */
import { decode, encode } from '@casemate/wire';
import type { Entity, HandleInput } from './authorization.js';
import { equalBytes } from './bytes.js';
import { Duplicate, Import, Rewrap } from './commands/duplication.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_RH } from './constants/handles.js';
import type { TpmCrypto } from './crypto.js';
import { defaultCrypto, defaultHashes } from './default-crypto.js';
import { hashSize } from './hashes.js';
import { nameOf } from './name.js';
import type { TpmObject, WrappedKey } from './object.js';
import { joinDigest, splitDigest, unwrapOuter, wrapOuter } from './outer-wrap.js';
import { TpmError } from './response-code.js';
import { recoverSecret, type SecretRecovery, shareSecret } from './secret.js';
import { privateKeyOf, type SoftwareObject } from './software-object.js';
import { Tpm2bDigest } from './structures/digests.js';
import { Tpm2bSensitive, type TpmtSensitive } from './structures/private.js';
import type { TpmtPublic } from './structures/public.js';
import type { TpmtSymDefObjectOrNull } from './structures/symmetric.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** An object on its way from one parent to another. */
export interface DuplicateObject {
  /** The public area. */
  readonly public: TpmtPublic;
  /** The contents of a TPM2B_PRIVATE: the sensitive area under no, one or two layers. */
  readonly duplicate: Uint8Array;
  /** The contents of a TPM2B_ENCRYPTED_SECRET: the seed of the outer layer for the new parent; empty where there is none. */
  readonly encryptedSeed: Uint8Array;
  /** The AES key of the inner layer, where there is one: a secret that travels another way. */
  readonly innerKey?: Uint8Array | undefined;
}

/** The inner layer of a duplicate: an AES key of the caller's, or a fresh one of this many bits. */
export type InnerWrap = { readonly key: Uint8Array } | { readonly keyBits: 128 | 192 | 256 };

/** How to duplicate. */
export interface DuplicateOptions extends ExecuteOptions {
  /** Who is to import it; without one there is no outer layer, so that whoever has the bytes can. */
  readonly newParent?: Pick<TpmObject, 'handle' | 'name'>;
  /** The inner layer. Objects with `encryptedDuplication` need both. */
  readonly inner?: InnerWrap;
}

/**
 * Has the TPM wrap a loaded object for another parent. The object must not be `fixedParent`, and its `auth` must be a
 * policy session whose policy names TPM2_Duplicate, by `command-code` or `duplication-select`.
 * Throws what {@link Tpm.execute} throws.
 */
export async function duplicate(
  tpm: Tpm,
  object: Entity & { readonly public: TpmtPublic },
  options: DuplicateOptions = {},
): Promise<DuplicateObject> {
  const { newParent, inner } = options;
  const encryptionKeyIn = inner && 'key' in inner ? inner.key : EMPTY;
  const symmetricAlg = inner ? aesOf('key' in inner ? inner.key.length * 8 : inner.keyBits) : NO_CIPHER;
  const handles = { objectHandle: object, newParentHandle: newParent ?? NO_PARENT };
  const response = await tpm.execute(Duplicate, { ...handles, encryptionKeyIn, symmetricAlg }, options);
  const innerKey = inner && (encryptionKeyIn.length > 0 ? encryptionKeyIn : response.encryptionKeyOut);
  return { public: object.public, duplicate: response.duplicate, encryptedSeed: response.outSymSeed, innerKey };
}

/** Has a parent take an object over, so that it can be loaded under it. Throws what {@link Tpm.execute} throws. */
export async function importObject(
  tpm: Tpm,
  parent: HandleInput,
  object: DuplicateObject,
  options: ExecuteOptions = {},
): Promise<WrappedKey> {
  const { innerKey } = object;
  const request = {
    encryptionKey: innerKey ?? EMPTY,
    objectPublic: object.public,
    duplicate: object.duplicate,
    inSymSeed: object.encryptedSeed,
    symmetricAlg: innerKey ? aesOf(innerKey.length * 8) : NO_CIPHER,
  };
  const { outPrivate } = await tpm.execute(Import, { parentHandle: parent, ...request }, options);
  return { private: outPrivate, public: object.public };
}

/**
 * Passes a duplicate on from the parent that it was made for to another, without loading it; its inner layer stays.
 * Throws what {@link Tpm.execute} throws.
 */
export async function rewrap(
  tpm: Tpm,
  object: DuplicateObject,
  options: ExecuteOptions & {
    /** Whom it was made for; without one it must have no outer layer. */
    readonly oldParent?: HandleInput;
    /** Who is to import it; without one the outer layer comes off. */
    readonly newParent?: HandleInput;
  },
): Promise<DuplicateObject> {
  const handles = { oldParent: options.oldParent ?? NO_PARENT, newParent: options.newParent ?? NO_PARENT };
  const name = nameOf(object.public, tpm.crypto ?? defaultHashes);
  const request = { inDuplicate: object.duplicate, name, inSymSeed: object.encryptedSeed };
  const { outDuplicate, outSymSeed } = await tpm.execute(Rewrap, { ...handles, ...request }, options);
  return { ...object, duplicate: outDuplicate, encryptedSeed: outSymSeed };
}

/** How to wrap in software. */
export interface WrapOptions {
  /** The inner layer. Default: none. */
  readonly inner?: InnerWrap;
  /** Default {@link defaultCrypto}. */
  readonly crypto?: TpmCrypto;
}

/**
 * Wraps an object without a TPM, so that only the TPM with `parent` can import it; `parent` undefined leaves the outer
 * layer out. Throws `TpmError` `usage` for a parent that is no AES storage key.
 */
export function wrapForImport(
  parent: TpmtPublic | undefined,
  object: SoftwareObject,
  options: WrapOptions = {},
): DuplicateObject {
  const crypto = options.crypto ?? defaultCrypto;
  const name = nameOf(object.public, crypto);
  const innerKey = options.inner && innerKeyOf(options.inner, crypto);
  const inner = wrapInner(object, name, innerKey, crypto);
  if (!parent) return { public: object.public, duplicate: inner, encryptedSeed: EMPTY, innerKey };
  const { secret: seed, encrypted: encryptedSeed } = shareSecret(parent, 'DUPLICATE', crypto);
  const { integrity, encrypted } = wrapOuter({ parent, seed, name }, inner, crypto);
  for (const used of [seed, inner]) used.fill(0);
  return { public: object.public, duplicate: joinDigest(integrity, encrypted), encryptedSeed, innerKey };
}

/** How to unwrap in software. */
export interface UnwrapOptions {
  /** The parent that it was made for, with its private key; needed where there is an outer layer. */
  readonly parent?: SoftwareObject;
  /** Operations with the parent's private key: `nodeRecovery` of `@casemate/tpm/node-crypto`. */
  readonly recovery?: SecretRecovery;
  /** Default {@link defaultCrypto}. */
  readonly crypto?: TpmCrypto;
}

/**
 * Opens a duplicate that was made for a parent whose private key is in software, or for none. Throws `TpmError`
 * `integrity` where a layer is not intact, `usage` where parent or inner key is missing.
 */
export function unwrapDuplicate(object: DuplicateObject, options: UnwrapOptions = {}): SoftwareObject {
  const crypto = options.crypto ?? defaultCrypto;
  const name = nameOf(object.public, crypto);
  const inner = openOuter(object, name, options, crypto);
  const sensitive = openInner(object, inner, name, crypto);
  if (sensitive.sensitiveType !== object.public.type) {
    throw new TpmError('integrity', 'unwrap duplicate: the sensitive area belongs to another type of object');
  }
  return { public: object.public, sensitive };
}

function openOuter(object: DuplicateObject, name: Uint8Array, options: UnwrapOptions, crypto: TpmCrypto): Uint8Array {
  if (object.encryptedSeed.length === 0) return object.duplicate;
  const { parent, recovery } = options;
  if (!parent || !recovery) {
    throw new TpmError(
      'usage',
      'unwrap duplicate: expected the parent and operations with its key for the outer layer',
    );
  }
  const key = { ...privateKeyOf(parent), nameAlg: parent.public.nameAlg };
  const seed = recoverSecret(key, 'DUPLICATE', object.encryptedSeed, recovery);
  const { digest, rest } = splitDigest(object.duplicate);
  const opened = unwrapOuter({ parent: parent.public, seed, name }, digest, rest, crypto);
  seed.fill(0);
  return opened;
}

/** Whoever made the duplicate controls the bytes inside its layers. */
function openInner(object: DuplicateObject, inner: Uint8Array, name: Uint8Array, crypto: TpmCrypto): TpmtSensitive {
  const { innerKey, public: area } = object;
  const bytes = innerKey ? decryptInner(innerKey, inner, name, area, crypto) : inner;
  const sensitive = decode(Tpm2bSensitive, bytes);
  if (sensitive) return sensitive;
  throw new TpmError('decode', 'unwrap duplicate: expected a sensitive area, got none');
}

function decryptInner(key: Uint8Array, inner: Uint8Array, name: Uint8Array, area: TpmtPublic, crypto: TpmCrypto) {
  const plain = crypto.aesCfbDecrypt(key, new Uint8Array(16), inner);
  // Another key gives random bytes, so the size is compared before it is used.
  const size = hashSize(area.nameAlg);
  const [integrity, sensitive] = [plain.subarray(0, 2 + size), plain.slice(2 + size)];
  const digest = crypto.hash(area.nameAlg, sensitive, name);
  if (equalBytes(integrity, encode(Tpm2bDigest, digest))) return sensitive;
  throw new TpmError('integrity', 'unwrap duplicate: the inner integrity value is not that of this key and object');
}

function wrapInner(
  object: SoftwareObject,
  name: Uint8Array,
  key: Uint8Array | undefined,
  crypto: TpmCrypto,
): Uint8Array {
  const sensitive = encode(Tpm2bSensitive, object.sensitive);
  if (!key) return sensitive;
  const plain = joinDigest(crypto.hash(object.public.nameAlg, sensitive, name), sensitive);
  const encrypted = crypto.aesCfbEncrypt(key, new Uint8Array(16), plain);
  for (const used of [sensitive, plain]) used.fill(0);
  return encrypted;
}

function innerKeyOf(inner: InnerWrap, crypto: TpmCrypto): Uint8Array {
  if (!('key' in inner)) return crypto.random(inner.keyBits / 8);
  aesOf(inner.key.length * 8);
  return inner.key;
}

function aesOf(keyBits: number): TpmtSymDefObjectOrNull {
  if (keyBits === 128 || keyBits === 192 || keyBits === 256) {
    return { algorithm: TPM_ALG.AES, keyBits, mode: TPM_ALG.CFB };
  }
  throw new TpmError('usage', `wrap object: expected an AES key of 128, 192 or 256 bits, got ${keyBits}`);
}

const NO_PARENT = TPM_RH.NULL;
const NO_CIPHER = { algorithm: TPM_ALG.NULL } as const;
const EMPTY = new Uint8Array(0);
