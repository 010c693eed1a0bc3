/** Objects that commands use: where they come from, and how they are authorised. */
import { readInputFile, usage } from '@casemate/command-line';
import { type Authorization, type Entity, password } from '../../authorization.js';
import { type KeyFile, parseKeyFile } from '../../key-file.js';
import { loadKeyFile } from '../../key-file-load.js';
import { keyFilePolicy } from '../../key-file-policy.js';
import { openObject, type TpmObject } from '../../object.js';
import { PCR_BANKS } from '../../pcr.js';
import { satisfyPolicy } from '../../policy.js';
import { startSession } from '../../start-session.js';
import type { KeyKind } from '../../templates.js';
import type { Tpm } from '../../tpm.js';
import type { Context } from '../definition.js';
import { BANKS, parseHandle } from '../values.js';

/** How a hierarchy authorises: by the password that an option names, else by the empty one. */
export async function hierarchyAuth(
  context: Context,
  option: string,
): Promise<{ readonly hierarchyAuth?: Authorization }> {
  const value = await context.secret(option);
  return value === undefined ? {} : { hierarchyAuth: password(value) };
}

/** Reads a key file: PEM, or DER. */
export async function readKeyFile(path: string, context: Context): Promise<KeyFile> {
  const bytes = await readInputFile(path, context.surroundings);
  return parseKeyFile(bytes[0] === 0x30 ? bytes : new TextDecoder().decode(bytes));
}

/** Whether an argument is a handle and not a file. */
export function isHandle(text: string): boolean {
  return /^0x[0-9a-f]{8}$/i.test(text) || /^8[01][0-9a-f]{6}$/i.test(text);
}

/**
 * Opens the key that an argument names, a handle or a key file, works with it and frees it. A session authorises it, so that no password
 * passes in the clear, and satisfies the policy of the file where it has one.
 */
export async function withKey<T>(
  tpm: Tpm,
  name: string,
  context: Context,
  work: (key: TpmObject) => Promise<T>,
): Promise<T> {
  const auth = await context.secret('password');
  const given = auth === undefined ? {} : { auth };
  if (isHandle(name)) {
    const key = await openObject(tpm, parseHandle(name, 'KEY'), given);
    return await authorised(tpm, key, undefined, auth, work);
  }
  const file = await readKeyFile(name, context);
  if (file.type === 'sealed')
    throw usage(`${name} holds sealed data and no key`, `"casemate-tpm unseal ${name}" opens it.`);
  await using key = await loadKeyFile(tpm, file, { ...given, ...(await hierarchyAuth(context, 'owner-password')) });
  return await authorised(tpm, key, file, auth, work);
}

async function authorised<T>(
  tpm: Tpm,
  key: TpmObject,
  file: KeyFile | undefined,
  auth: Uint8Array | undefined,
  work: (key: TpmObject) => Promise<T>,
): Promise<T> {
  const policy = file && keyFilePolicy(file);
  // The empty value is no secret, so it may be sent as it is.
  if (!policy && auth === undefined) return await work(key);
  // The digest of a policy is made with the hash of the object's Name.
  const hash = BANKS.find((bank) => PCR_BANKS[bank] === key.public.nameAlg) ?? 'sha256';
  await using session = await startSession(tpm, { type: policy ? 'policy' : 'hmac', hash });
  if (policy) await satisfyPolicy(tpm, session, policy);
  return await work({ ...key, auth: session });
}

/** An entity whose authorization value, where there is one, is proved by a session. */
export async function proved<T>(
  tpm: Tpm,
  entity: Entity,
  value: Uint8Array | undefined,
  work: (entity: Entity) => Promise<T>,
): Promise<T> {
  if (value === undefined) return await work(entity);
  await using session = await startSession(tpm, { type: 'hmac' });
  return await work({ ...entity, authValue: value, auth: session });
}

/** The kinds of keys that can be made. */
export const KEY_KINDS: readonly KeyKind[] = ['ecc-p256', 'ecc-p384', 'ecc-p521', 'rsa-2048', 'rsa-3072', 'rsa-4096'];

/** The kind that an option names. */
export function keyKind(context: Context, option: string, fallback: KeyKind): KeyKind {
  const text = context.text(option) ?? fallback;
  const kind = KEY_KINDS.find((known) => known === text);
  if (kind) return kind;
  throw usage(`--${option}: expected one of ${KEY_KINDS.join(', ')}, got "${text}"`);
}
