/** Who may run a command: passwords, HMAC sessions, policies, parameter encryption and lockout (Part 1, clauses 18, 19 and 21). */
import { concat, EMPTY, isEqual, trimAuth, u32Bytes } from '../bytes.js';
import { TPM_CC, TPM_HT, TPM_RC, TPM_RH, TPMA_OBJECT, TPMA_SESSION } from './constants.js';
import { hmac, kdfA, sha256 } from './crypto.js';
import {
  entityAuth,
  entityName,
  entityPolicy,
  isProtected,
  mayUseAuth,
  mayUsePolicy,
  objectAt,
  typeOf,
} from './entity.js';
import { type Input, Refusal, refuse, refuseSession, sized } from './octets.js';
import { has } from './public-area.js';
import { type Micro, markDirty, NO_POLICY, type Session, timeOf } from './state.js';

/** A command as far as its authorization goes. */
export interface Incoming {
  readonly code: number;
  readonly handles: readonly number[];
  /** The roles of the handles that need an authorization; those come first. */
  readonly roles: readonly ('user' | 'admin')[];
  /** Is the first parameter of the command, or of the response, one that can be encrypted? */
  readonly canDecrypt: boolean;
  readonly canEncrypt: boolean;
  /** The parameters as they were received. */
  readonly parameters: Uint8Array;
}

/** One entry of the authorization area. */
export interface Entry {
  /** Its place, from 1. */
  readonly position: number;
  /** Undefined for a password. */
  readonly session: Session | undefined;
  /** What it authorises; undefined for a session that only encrypts. */
  readonly target: number | undefined;
  readonly attributes: number;
  readonly nonceCaller: Uint8Array;
  readonly hmac: Uint8Array;
  /** Is the entity's authorization value part of the HMAC key? */
  readonly isAuthIncluded: boolean;
}

/** Failed authorizations before there is a lockout, and milliseconds until one is forgiven. */
const LOCKOUT = { tries: 3, recovery: 1_000_000 } as const;

const sets = (entry: Entry, bit: number): boolean => (entry.attributes & bit) !== 0;

/** Reads the entries of an area that fills `input`. */
export function readEntries(tpm: Micro, incoming: Incoming, input: Input): readonly Entry[] {
  const entries: Entry[] = [];
  while (input.remaining > 0) {
    const position = entries.length + 1;
    if (position > 3) refuseSession(TPM_RC.SIZE, position);
    try {
      entries.push(readEntry(tpm, incoming, entries, input));
    } catch (error) {
      if (error instanceof Refusal) refuseSession(error.code, position);
      throw error;
    }
  }
  return entries;
}

function readEntry(tpm: Micro, incoming: Incoming, earlier: readonly Entry[], input: Input): Entry {
  const position = earlier.length + 1;
  const target = position > incoming.roles.length ? undefined : incoming.handles[position - 1];
  const handle = input.u32();
  const nonceCaller = input.sized(64);
  const attributes = input.u8();
  const given = input.sized(64);
  if (handle === TPM_RH.PW) {
    if ((attributes & ~TPMA_SESSION.continueSession) !== 0) refuse(TPM_RC.ATTRIBUTES);
    if (nonceCaller.length > 0) refuse(TPM_RC.NONCE);
    return { position, session: undefined, target, attributes, nonceCaller, hmac: given, isAuthIncluded: false };
  }
  if (typeOf(handle) !== TPM_HT.HMAC_SESSION && typeOf(handle) !== TPM_HT.POLICY_SESSION) refuse(TPM_RC.VALUE);
  const session = tpm.sessions.get(handle) ?? refuse(TPM_RC.REFERENCE_S0 + position - 1);
  if (earlier.some((other) => other.session === session)) refuse(TPM_RC.HANDLE);
  assertAttributes(incoming, session, attributes, earlier);
  const isAuthIncluded = target !== undefined && includesAuth(tpm, session, target);
  return { position, session, target, attributes, nonceCaller, hmac: given, isAuthIncluded };
}

// There is no audit, and each way of the encryption has one session at most.
function assertAttributes(incoming: Incoming, session: Session, attributes: number, earlier: readonly Entry[]): void {
  const { continueSession, decrypt, encrypt } = TPMA_SESSION;
  if ((attributes & ~(continueSession | decrypt | encrypt)) !== 0) refuse(TPM_RC.ATTRIBUTES);
  for (const [bit, isPossible] of [
    [decrypt, incoming.canDecrypt],
    [encrypt, incoming.canEncrypt],
  ] as const) {
    if ((attributes & bit) === 0) continue;
    if (!isPossible || earlier.some((other) => sets(other, bit))) refuse(TPM_RC.ATTRIBUTES);
    if (!session.hasCipher) refuse(TPM_RC.SYMMETRIC);
  }
}

function includesAuth(tpm: Micro, session: Session, target: number): boolean {
  if (session.type !== 'hmac') return session.policy.needsAuth;
  return session.bound === undefined || !isEqual(session.bound, bindingTo(tpm, target));
}

/** What a session is bound to: Name and authorization value. */
export function bindingTo(tpm: Micro, handle: number): Uint8Array {
  return concat(sized(entityName(tpm, handle)), entityAuth(tpm, handle));
}

/** Refuses a command that its entries do not authorise. */
export function assertAuthorized(tpm: Micro, incoming: Incoming, entries: readonly Entry[]): void {
  if (entries.length < incoming.roles.length) refuse(TPM_RC.AUTH_MISSING);
  for (const entry of entries) {
    try {
      assertUsable(tpm, entry);
      if (entry.target !== undefined) assertAllowed(tpm, incoming, entry, entry.target);
      if (!isAuthentic(tpm, incoming, entry, entries)) fail(tpm, entry);
    } catch (error) {
      if (error instanceof Refusal) refuseSession(error.code, entry.position);
      throw error;
    }
  }
}

function assertUsable(tpm: Micro, { session, target, attributes }: Entry): void {
  if (session === undefined) {
    if (target === undefined) refuse(TPM_RC.HANDLE);
    return;
  }
  if (session.type === 'trial') refuse(TPM_RC.ATTRIBUTES);
  if (session.isBoundProtected) assertNotLockedOut(tpm);
  if (target === undefined && (attributes & (TPMA_SESSION.decrypt | TPMA_SESSION.encrypt)) === 0) {
    refuse(TPM_RC.ATTRIBUTES);
  }
}

function assertAllowed(tpm: Micro, incoming: Incoming, entry: Entry, target: number): void {
  const isAdmin = incoming.roles[entry.position - 1] === 'admin';
  const { session } = entry;
  const isPolicy = session?.type === 'policy';
  if ((!isPolicy || session.policy.needsAuth) && isProtected(tpm, target)) assertNotLockedOut(tpm);
  if (!isPolicy) {
    if (isAdmin && has(objectAt(tpm, target).area, TPMA_OBJECT.adminWithPolicy)) refuse(TPM_RC.AUTH_TYPE);
    if (!mayUseAuth(tpm, target, incoming.code, isAdmin)) refuse(TPM_RC.AUTH_UNAVAILABLE);
    return;
  }
  if (!mayUsePolicy(tpm, target, incoming.code)) refuse(TPM_RC.AUTH_UNAVAILABLE);
  const { digest, commandCode, pcrCounter, needsAuth } = session.policy;
  if (incoming.code === TPM_CC.PolicySecret && !needsAuth) refuse(TPM_RC.MODE);
  if (pcrCounter !== undefined && pcrCounter !== tpm.pcrCounter) refuse(TPM_RC.PCR_CHANGED);
  if (!isEqual(digest, entityPolicy(tpm, target))) refuse(TPM_RC.POLICY_FAIL);
  if (commandCode !== 0 && commandCode !== incoming.code) refuse(TPM_RC.POLICY_CC);
  if (commandCode === 0 && isAdmin) refuse(TPM_RC.POLICY_FAIL);
}

function isAuthentic(tpm: Micro, incoming: Incoming, entry: Entry, all: readonly Entry[]): boolean {
  if (entry.session === undefined) return isEqual(trimAuth(entry.hmac), entityAuth(tpm, entry.target ?? TPM_RH.NULL));
  return isEqual(entry.hmac, commandHmac(tpm, incoming, entry, entry.session, all));
}

// Part 1, 19.6.5. The first session also vouches for the nonces of the sessions that encrypt, so that they cannot be taken away.
function commandHmac(
  tpm: Micro,
  incoming: Incoming,
  entry: Entry,
  session: Session,
  all: readonly Entry[],
): Uint8Array {
  const key = hmacKey(tpm, entry, session);
  if (isKeyless(key, entry, session)) return EMPTY;
  const decrypting = all.find((other) => sets(other, TPMA_SESSION.decrypt));
  const encrypting = all.find((other) => sets(other, TPMA_SESSION.encrypt));
  const isFirst = entry.position === 1 && entry.target !== undefined;
  const others = [decrypting, encrypting === decrypting ? undefined : encrypting]
    .filter((other) => isFirst && other !== entry)
    .map((other) => other?.session?.nonceTpm ?? EMPTY);
  const names = incoming.handles.map((handle) => entityName(tpm, handle));
  const cpHash = sha256(tpm.crypto, u32Bytes(incoming.code), ...names, incoming.parameters);
  const { nonceCaller, attributes } = entry;
  return hmac(tpm.crypto, key, cpHash, nonceCaller, session.nonceTpm, ...others, Uint8Array.of(attributes));
}

// A policy without a key may go without HMACs: the TPM does as the caller did.
function isKeyless(key: Uint8Array, entry: Entry, session: Session): boolean {
  return key.length === 0 && session.type !== 'hmac' && entry.hmac.length === 0;
}

function hmacKey(tpm: Micro, entry: Entry, session: Session): Uint8Array {
  if (!entry.isAuthIncluded || entry.target === undefined) return session.key;
  return concat(session.key, entityAuth(tpm, entry.target));
}

function fail(tpm: Micro, { session, target }: Entry): never {
  const isCounted = (target !== undefined && isProtected(tpm, target)) || session?.isBoundProtected === true;
  if (!isCounted) refuse(TPM_RC.BAD_AUTH);
  if (tpm.permanent.failedTries === 0) tpm.healedAt = timeOf(tpm);
  tpm.permanent.failedTries++;
  markDirty(tpm);
  return refuse(TPM_RC.AUTH_FAIL);
}

/** Refuses where too many authorizations have failed; otherwise notes that a protected one is about to be checked. */
function assertNotLockedOut(tpm: Micro): void {
  if (tpm.permanent.failedTries >= LOCKOUT.tries) refuse(TPM_RC.LOCKOUT);
  // An attacker who cuts the power before a failure is stored would try for free: this mark makes the next start count it.
  if (tpm.permanent.isTried) return;
  tpm.permanent.isTried = true;
  markDirty(tpm);
}

/** Forgives one failed authorization for each recovery time that has passed. */
export function heal(tpm: Micro): void {
  const { permanent } = tpm;
  const steps = permanent.failedTries === 0 ? 0 : Math.floor((timeOf(tpm) - tpm.healedAt) / LOCKOUT.recovery);
  if (steps <= 0) return;
  tpm.healedAt += steps * LOCKOUT.recovery;
  permanent.failedTries = Math.max(0, permanent.failedTries - steps);
  markDirty(tpm);
}

/** The parameters of a command in the clear. */
export function decryptParameters(tpm: Micro, parameters: Uint8Array, entries: readonly Entry[]): Uint8Array {
  const entry = entries.find((other) => sets(other, TPMA_SESSION.decrypt));
  if (entry?.session === undefined) return parameters;
  const { nonceCaller } = entry;
  return crypt(tpm, entry, parameters, [nonceCaller, entry.session.nonceTpm], 'aesCfbDecrypt');
}

// The first parameter behind its size: Part 1, 21.3.
function crypt(
  tpm: Micro,
  entry: Entry,
  parameters: Uint8Array,
  nonces: readonly [Uint8Array, Uint8Array],
  run: 'aesCfbEncrypt' | 'aesCfbDecrypt',
): Uint8Array {
  const size = ((parameters[0] ?? 0) << 8) | (parameters[1] ?? 0);
  if (parameters.length < 2) refuse(TPM_RC.INSUFFICIENT);
  if (size > parameters.length - 2) refuse(TPM_RC.SIZE);
  const auth = entry.target === undefined ? EMPTY : entityAuth(tpm, entry.target);
  const key = concat(entry.session?.key ?? EMPTY, auth);
  const made = kdfA(tpm.crypto, key, 'CFB', nonces, 32);
  const first = tpm.crypto[run](made.slice(0, 16), made.slice(16), parameters.slice(2, 2 + size));
  key.fill(0);
  made.fill(0);
  return concat(parameters.subarray(0, 2), first, parameters.subarray(2 + size));
}

/** The parameters of a response as they are sent, and the entries of its authorization area; sessions get their next nonce. */
export function closeEntries(
  tpm: Micro,
  code: number,
  entries: readonly Entry[],
  plain: Uint8Array,
): { readonly parameters: Uint8Array; readonly area: Uint8Array } {
  // Passwords prove nothing of a response.
  const isProven = entries.some(({ session }) => session !== undefined);
  if (!isProven) return { parameters: plain, area: concat(...entries.map(() => PASSWORD)) };
  for (const { session } of entries) if (session) session.nonceTpm = tpm.crypto.random(session.nonceTpm.length);
  const encrypting = entries.find((entry) => sets(entry, TPMA_SESSION.encrypt));
  const nonces = [encrypting?.session?.nonceTpm ?? EMPTY, encrypting?.nonceCaller ?? EMPTY] as const;
  const parameters = encrypting ? crypt(tpm, encrypting, plain, nonces, 'aesCfbEncrypt') : plain;
  const rpHash = sha256(tpm.crypto, u32Bytes(TPM_RC.SUCCESS), u32Bytes(code), parameters);
  const area = concat(...entries.map((entry) => closeEntry(tpm, entry, rpHash)));
  for (const { session, attributes } of entries) {
    if (session === undefined) continue;
    session.policy = NO_POLICY;
    if ((attributes & TPMA_SESSION.continueSession) === 0) endSession(tpm, session);
  }
  return { parameters, area };
}

// The empty nonce, the attributes, the empty HMAC.
const PASSWORD = Uint8Array.of(0, 0, TPMA_SESSION.continueSession, 0, 0);

function closeEntry(tpm: Micro, entry: Entry, rpHash: Uint8Array): Uint8Array {
  const { session, attributes, nonceCaller } = entry;
  if (session === undefined) return PASSWORD;
  const key = hmacKey(tpm, entry, session);
  const flags = Uint8Array.of(attributes);
  const proof = isKeyless(key, entry, session)
    ? EMPTY
    : hmac(tpm.crypto, key, rpHash, session.nonceTpm, nonceCaller, flags);
  return concat(sized(session.nonceTpm), flags, sized(proof));
}

/** Removes a session and wipes its key. */
export function endSession(tpm: Micro, session: Session): void {
  session.key.fill(0);
  session.bound?.fill(0);
  tpm.sessions.delete(session.handle);
}
