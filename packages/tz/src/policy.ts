/** What a device asks of its clients: who may open sessions and change services, and whose services are accepted; TrustZone API 3.0, section 3.6. */
import {
  type PalImage,
  PalLinkerError,
  type PalSignature,
  parsePalImage,
  parsePalSignature,
  verifyPalSignature,
} from '@casemate/pal-linker';
import { nodeVerifier } from '@casemate/pal-linker/node';
import { TzError } from './error.js';
import { type Caller, type Credentials, credentialsOf, type Login } from './login.js';
import type { Uuid } from './uuid.js';

/** An image whose signature, if it has one, is authentic. */
export interface DownloadedImage {
  /** The name in the image. */
  readonly name: string;
  /** The version in the image. */
  readonly version: string;
  /** Who signed it, `undefined` for an image without signature. */
  readonly signature: PalSignature | undefined;
}

/** The signers whose images are accepted. */
export interface AcceptedSigners {
  /** SHA-256 of each signer's SubjectPublicKeyInfo (`PalSignature.signer`), 32 bytes. */
  readonly signers: readonly Uint8Array[];
  /** The least security version; 0 unless given. */
  readonly minimumSecurityVersion?: number;
}

/** Rules of a device. Without them everybody may do everything, with images that are unsigned or whose signature is authentic. */
export interface DevicePolicy {
  /**
   * Finds out who the client is. Unless given, the client is this process. A process that serves others says here which one it
   * is; one that passes on what a PAL asks of another gives the measurement of the first as the digest.
   */
  readonly caller?: (login: Login) => Caller | Promise<Caller>;
  /** Decides before a service is asked whether a client may open a session with it. */
  readonly admit?: (service: Uuid, credentials: Credentials) => boolean | Promise<boolean>;
  /** Decides whether a client may log in to the service manager (asked unless it is PUBLIC), download a service, or remove one. */
  readonly manage?: (action: 'login' | 'download' | 'remove', credentials: Credentials) => boolean | Promise<boolean>;
  /** Decides which images are accepted: the signers, or a function, which may validate a certificate for the signer's key. */
  readonly accept?: AcceptedSigners | ((image: DownloadedImage) => boolean | Promise<boolean>);
}

/** The credentials of a client whom the policy lets open a session; throws TzError `TZ_ERROR_ACCESS_DENIED`. */
export async function admitClient(policy: DevicePolicy, service: Uuid, login: Login): Promise<Credentials> {
  const credentials = await credentialsOf(login, policy.caller);
  if (!policy.admit || (await policy.admit(service, credentials)) === true) return credentials;
  throw denied(`open a session with ${service}: expected a client that is admitted, got ${describe(credentials)}`);
}

/** The credentials of a client of the service manager; throws TzError `TZ_ERROR_ACCESS_DENIED`. */
export async function admitManager(policy: DevicePolicy, login: Login): Promise<Credentials> {
  const credentials = await credentialsOf(login, policy.caller);
  if (credentials.flags !== 0) await assertMayManage(policy, 'login', credentials);
  return credentials;
}

/** Throws TzError `TZ_ERROR_ACCESS_DENIED` where the policy lets this client not do `action`. */
export async function assertMayManage(
  policy: DevicePolicy,
  action: 'login' | 'download' | 'remove',
  credentials: Credentials,
): Promise<void> {
  if (!policy.manage || (await policy.manage(action, credentials)) === true) return;
  throw denied(`${action} at the service manager: expected a client that may, got ${describe(credentials)}`);
}

/**
 * Parses an image that a client sent, verifies its signature, and asks the policy. Throws TzError `TZ_ERROR_ACCESS_DENIED` for what is no
 * image, for a signature that is not authentic, or one that is not accepted.
 */
export async function checkImage(
  policy: DevicePolicy,
  image: Uint8Array,
): Promise<{ readonly pal: PalImage; readonly signature: PalSignature | undefined }> {
  const pal = await orDenied(() => parsePalImage(image));
  const isSigned = await orDenied(() => parsePalSignature(image) !== undefined);
  const signature = isSigned ? await orDenied(() => verifyPalSignature(image, nodeVerifier)) : undefined;
  if (await isAccepted(policy.accept, { name: pal.name, version: pal.version, signature })) return { pal, signature };
  const got = signature ? `one by ${hex(signature.signer)}, security version ${signature.securityVersion}` : 'none';
  throw denied(`download service ${pal.name} ${pal.version}: expected a signature that is accepted, got ${got}`);
}

async function isAccepted(accept: DevicePolicy['accept'], image: DownloadedImage): Promise<boolean> {
  if (accept === undefined) return true;
  if (typeof accept === 'function') return (await accept(image)) === true;
  const { signature } = image;
  if (!signature || signature.securityVersion < (accept.minimumSecurityVersion ?? 0)) return false;
  return accept.signers.some((signer) => hex(signer) === hex(signature.signer));
}

async function orDenied<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (!(cause instanceof PalLinkerError)) throw cause;
    throw new TzError('TZ_ERROR_ACCESS_DENIED', 'device', `download a service: ${cause.message}`, { cause });
  }
}

function describe({ flags, user, group, name, digest }: Credentials): string {
  const known = { flags, user, group, name, digest: digest && hex(digest) };
  const parts = Object.entries(known).filter(([, value]) => value !== undefined);
  return parts.map(([key, value]) => `${key} ${value}`).join(', ');
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function denied(problem: string): TzError {
  return new TzError('TZ_ERROR_ACCESS_DENIED', 'device', problem);
}
