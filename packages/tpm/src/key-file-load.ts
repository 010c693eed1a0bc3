/** Using TSS2 PRIVATE KEY files in a TPM (draft-bottomley-tpm2-keys-00, sections 3.1 and 5). */
import type { Authorization } from './authorization.js';
import { Unseal } from './commands/object.js';
import { TPM_RH } from './constants/handles.js';
import { importObject } from './duplication.js';
import { type KeyFile, parseKeyFile } from './key-file.js';
import { keyFilePolicy } from './key-file-policy.js';
import { createPrimary, type Hierarchy, loadKey, openObject, type TpmObject, type WrappedKey } from './object.js';
import { type SatisfyOptions, satisfyPolicy } from './policy.js';
import { TpmError } from './response-code.js';
import { saltOf } from './seal.js';
import { startSession } from './start-session.js';
import type { TpmtPublic } from './structures/public.js';
import { srkTemplate } from './templates.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** How to get at the parent of a key file's object, and at the object. */
export interface KeyFileOptions extends ExecuteOptions {
  /** The parent, where the caller has it loaded already; `file.parent` is not looked at then. */
  readonly parent?: TpmObject;
  /** How the hierarchy authorises the creation of the parent. Default: the empty password. */
  readonly hierarchyAuth?: Authorization;
  /** The parent's authorization value. Default empty. */
  readonly parentAuth?: Uint8Array | string;
  /** The object's own authorization value, for its later use. Default empty. */
  readonly auth?: Uint8Array | string;
}

/**
 * The template of the parent that a file means by a hierarchy: like the storage root key's, but with an empty `unique`,
 * so that the two are different keys.
 */
export function keyFileParentTemplate(kind: 'ecc-p256' | 'rsa-2048' = 'ecc-p256'): TpmtPublic {
  const template = srkTemplate(kind);
  const none = new Uint8Array(0);
  return 'x' in template.unique
    ? ({ ...template, unique: { x: none, y: none } } as TpmtPublic) // the same type of object, with an empty point
    : ({ ...template, unique: none } as TpmtPublic); // the same type of object, with an empty modulus
}

/**
 * Opens or creates the parent that a file names; its flush does nothing where it is persistent. Throws `TpmError` `usage`
 * for a parent that is neither a persistent handle nor a hierarchy, and what {@link Tpm.execute} throws.
 */
export async function keyFileParent(
  tpm: Tpm,
  file: Pick<KeyFile, 'parent' | 'rsaParent'>,
  options: Omit<KeyFileOptions, 'parent' | 'auth'> = {},
): Promise<TpmObject> {
  const { parentAuth: auth = '', hierarchyAuth } = options;
  const execute = executeOptions(options);
  if (file.parent >>> 24 === 0x81) return await openObject(tpm, file.parent, { ...execute, auth });
  const hierarchy = HIERARCHIES[file.parent];
  if (!hierarchy) {
    throw new TpmError('usage', `open parent: expected a hierarchy, got 0x${file.parent.toString(16)}`);
  }
  const template = keyFileParentTemplate(file.rsaParent ? 'rsa-2048' : 'ecc-p256');
  return await createPrimary(tpm, { ...execute, hierarchy, template, auth, ...(hierarchyAuth && { hierarchyAuth }) });
}

/**
 * Loads the key of a key file (PEM text, DER or parsed), importing it first where it must be. The parent is freed again.
 * A key under a policy needs a policy session at each use: see {@link keyFilePolicy}. Throws what {@link parseKeyFile},
 * {@link keyFileParent} and {@link Tpm.execute} throw.
 */
export async function loadKeyFile(
  tpm: Tpm,
  file: KeyFile | string | Uint8Array,
  options: KeyFileOptions = {},
): Promise<TpmObject> {
  const parsed = typeof file === 'string' || file instanceof Uint8Array ? parseKeyFile(file) : file;
  const parent = options.parent ?? (await keyFileParent(tpm, parsed, options));
  try {
    return await loadKey(tpm, parent, await wrappedIn(tpm, parent, parsed, options), options);
  } finally {
    if (!options.parent) await parent.flush();
  }
}

/**
 * Unseals the data of a key file of type `sealed`, replaying its policy; they come from the TPM encrypted to the parent.
 * Throws `TpmError` `usage` for a file of another type, and what {@link loadKeyFile} and {@link satisfyPolicy} throw.
 */
export async function unsealKeyFile(
  tpm: Tpm,
  file: KeyFile | string | Uint8Array,
  options: KeyFileOptions & SatisfyOptions = {},
): Promise<Uint8Array> {
  const parsed = typeof file === 'string' || file instanceof Uint8Array ? parseKeyFile(file) : file;
  if (parsed.type !== 'sealed')
    throw new TpmError('usage', `unseal key file: expected sealed data, got a ${parsed.type} key`);
  const parent = options.parent ?? (await keyFileParent(tpm, parsed, options));
  try {
    await using object = await loadKey(tpm, parent, parsed, options);
    const policy = keyFilePolicy(parsed);
    const type = policy ? 'policy' : 'hmac';
    await using session = await startSession(tpm, { type, ...saltOf(parent), encrypt: true });
    if (policy) await satisfyPolicy(tpm, session, policy, options);
    const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } }, options);
    return outData;
  } finally {
    if (!options.parent) await parent.flush();
  }
}

/** Without the authorization values, which belong to one of the two objects. */
function executeOptions({ sessions, signal }: ExecuteOptions): ExecuteOptions {
  return { ...(sessions && { sessions }), ...(signal && { signal }) };
}

async function wrappedIn(tpm: Tpm, parent: TpmObject, file: KeyFile, options: ExecuteOptions): Promise<WrappedKey> {
  if (file.type !== 'importable') return file;
  const duplicate = { public: file.public, duplicate: file.private, encryptedSeed: file.secret ?? new Uint8Array(0) };
  return await importObject(tpm, parent, duplicate, options);
}

const HIERARCHIES: Readonly<Record<number, Hierarchy>> = {
  [TPM_RH.OWNER]: 'owner',
  [TPM_RH.ENDORSEMENT]: 'endorsement',
  [TPM_RH.PLATFORM]: 'platform',
  [TPM_RH.NULL]: 'null',
};
