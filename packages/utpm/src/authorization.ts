/** The authorization area of a command: its sessions, what each authorises, and whether it may (Part 1, clauses 18 and 19; Part 3, 5.4 to 5.6). */
import {
  type AnyCommand,
  isFirstParameterSized,
  kdfA,
  TPM_ALG,
  TPM_CC,
  TPM_HT,
  TPM_RC,
  TPM_RH,
  TPM_RS,
  TPMA_NV,
  TPMA_OBJECT,
  TPMA_SESSION,
  TpmsAuthCommand,
} from '@casemate/tpm';
import { type Reader, WireError } from '@casemate/wire';
import { blockSize, cfb } from './block-cipher.js';
import { codeBytes, concat, EMPTY, isEqual, readU32, trimAuth } from './bytes.js';
import { timeOf } from './clock.js';
import { responseCodeOf } from './decoding.js';
import { assertNotLockedOut, registerFailure } from './dictionary-attack.js';
import {
  entityAuth,
  entityName,
  entityPolicy,
  findObject,
  handleType,
  isAuthValueAvailable,
  isDaExempt,
  isOtherSession,
  isPinIndex,
  isPolicyAvailable,
  isSessionHandle,
  nvAt,
} from './entity.js';
import { IMPLEMENTATION } from './implementation.js';
import { has } from './object.js';
import { isPinSpent, notePinUse } from './pin.js';
import { Refusal, refuse, refuseSession } from './refusal.js';
import { bindingOf, type Session } from './session.js';
import type { Tpm } from './tpm.js';

const MAX_SESSIONS = 3;

/** One entry of the authorization area. */
export interface Authorization {
  /** Its place in the area, from 1. */
  readonly position: number;
  /** The session, or undefined for a password. */
  readonly session: Session | undefined;
  /** The handle whose use it authorises, or undefined for a session that only encrypts, decrypts or audits. */
  readonly target: number | undefined;
  /** TPMA_SESSION bits. */
  readonly attributes: number;
  /** nonceCaller. */
  readonly nonceCaller: Uint8Array;
  /** The HMAC or the password. */
  readonly hmac: Uint8Array;
  /** Is the entity's authorization value part of the HMAC key? */
  readonly isAuthIncluded: boolean;
}

/** A command with its handles, before its parameters are decoded. */
export interface Incoming {
  readonly command: AnyCommand;
  readonly handles: readonly number[];
  /** How many of the handles need an authorization; those come first. */
  readonly authorized: number;
  readonly locality: number;
  /** The whole command. */
  readonly bytes: Uint8Array;
  /** Where its parameters begin. */
  readonly parametersAt: number;
}

/** The parameters as they were received: still encrypted where a session encrypts them. */
export function receivedParameters({ bytes, parametersAt }: Incoming): Uint8Array {
  return bytes.subarray(parametersAt);
}

/** Is the attribute (a TPMA_SESSION bit) set? */
export function isSet(authorization: Authorization, bit: number): boolean {
  return (authorization.attributes & bit) !== 0;
}

/** Parses the `size` bytes of the authorization area and ties its entries to the first `authorized` handles, which need one. */
export function parseAuthorizations(
  tpm: Tpm,
  command: AnyCommand,
  handles: readonly number[],
  authorized: number,
  size: number,
  reader: Reader,
): readonly Authorization[] {
  const found: Authorization[] = [];
  const end = reader.enter(size, 'authorization area');
  while (reader.remaining > 0) {
    const position = found.length + 1;
    if (position > MAX_SESSIONS) refuseSession(TPM_RC.SIZE, position);
    found.push(parseOne(tpm, command, reader, found, position > authorized ? undefined : handles[position - 1]));
  }
  reader.leave(end, 'authorization area');
  return found;
}

function parseOne(
  tpm: Tpm,
  command: AnyCommand,
  reader: Reader,
  earlier: readonly Authorization[],
  target?: number,
): Authorization {
  const position = earlier.length + 1;
  if (isEmptyPassword(reader)) return takeEmptyPassword(reader, position, target);
  const entry = readEntry(reader, position);
  const { sessionHandle, nonce, sessionAttributes: attributes, hmac } = entry;
  if (sessionHandle === TPM_RS.PW) {
    if ((attributes & ~TPMA_SESSION.continueSession) !== 0) refuseSession(TPM_RC.ATTRIBUTES, position);
    if (nonce.length > 0) refuseSession(TPM_RC.NONCE, position);
    return { position, session: undefined, target, attributes, nonceCaller: nonce, hmac, isAuthIncluded: false };
  }
  if (isOtherSession(tpm, sessionHandle)) refuseSession(TPM_RC.HANDLE, position);
  const session = tpm.volatile.sessions.get(sessionHandle) ?? refuse(TPM_RC.REFERENCE_S0 + position - 1);
  if (earlier.some((other) => other.session === session)) refuseSession(TPM_RC.HANDLE, position);
  assertAttributes(command, session, attributes, earlier);
  assertExclusive(tpm, session, attributes);
  const isAuthIncluded = target !== undefined && includesAuth(tpm, session, target);
  return { position, session, target, attributes, nonceCaller: nonce, hmac, isAuthIncluded };
}

const EMPTY_PASSWORD_SIZE = 9;

// Most authorizations are this one: the handle of passwords, no nonce, attributes of which one bit may be set, and nothing for a password.
function isEmptyPassword({ bytes, offset, remaining }: Reader): boolean {
  if (remaining < EMPTY_PASSWORD_SIZE || readU32(bytes, offset) !== TPM_RS.PW) return false;
  return (readU32(bytes, offset + 4) & ~(TPMA_SESSION.continueSession << 8)) === 0 && bytes[offset + 8] === 0;
}

function takeEmptyPassword(reader: Reader, position: number, target: number | undefined): Authorization {
  const { bytes, offset, remaining } = reader;
  reader.move(offset + EMPTY_PASSWORD_SIZE, offset + remaining);
  const attributes = bytes[offset + 6] ?? 0;
  return { position, session: undefined, target, attributes, nonceCaller: EMPTY, hmac: EMPTY, isAuthIncluded: false };
}

function readEntry(reader: Reader, position: number): TpmsAuthCommand {
  try {
    assertSessionNumber(reader, position);
    return TpmsAuthCommand.read(reader);
  } catch (error) {
    if (error instanceof WireError) refuseSession(responseCodeOf(error), position);
    throw error;
  }
}

// There are more numbers of sessions than this TPM has sessions. The handle is refused before what follows it is looked at.
function assertSessionNumber(reader: Reader, position: number): void {
  const { bytes, offset, remaining } = reader;
  if (remaining < 4) return;
  const handle = readU32(bytes, offset);
  const isInRange = (handle & 0xffffff) < IMPLEMENTATION.MAX_ACTIVE_SESSIONS;
  if (isSessionHandle(handle) && !isInRange) refuseSession(TPM_RC.VALUE, position);
}

// Each purpose has one session at most, and the session and the command must be made for it.
function assertAttributes(
  command: AnyCommand,
  session: Session,
  attributes: number,
  earlier: readonly Authorization[],
): void {
  const { audit, auditExclusive, auditReset, decrypt, encrypt } = TPMA_SESSION;
  if ((attributes & (audit | auditExclusive | auditReset | decrypt | encrypt)) === 0) return;
  const position = earlier.length + 1;
  if ((attributes & audit) === 0 && (attributes & (auditExclusive | auditReset)) !== 0) {
    refuseSession(TPM_RC.ATTRIBUTES, position);
  }
  const isTaken = (bit: number): boolean => earlier.some((other) => isSet(other, bit));
  for (const [bit, structure] of [
    [decrypt, command.parameters],
    [encrypt, command.response],
  ] as const) {
    if ((attributes & bit) === 0) continue;
    if (!isFirstParameterSized(structure) || isTaken(bit)) refuseSession(TPM_RC.ATTRIBUTES, position);
    if (session.cipher.kind === 'none') refuseSession(TPM_RC.SYMMETRIC, position);
  }
  if ((attributes & audit) === 0) return;
  if (isTaken(audit) || session.type !== 'hmac') refuseSession(TPM_RC.ATTRIBUTES, position);
}

// An audit session that claims to be exclusive must be (Part 1, 17.8.3).
function assertExclusive(tpm: Tpm, session: Session, attributes: number): void {
  const { audit, auditExclusive, auditReset } = TPMA_SESSION;
  if ((attributes & (audit | auditExclusive | auditReset)) !== (audit | auditExclusive)) return;
  if (session.auditDigest === undefined) return;
  if (tpm.volatile.exclusiveAudit !== session.handle) refuse(TPM_RC.EXCLUSIVE);
}

function includesAuth(tpm: Tpm, session: Session, target: number): boolean {
  if (session.type !== 'hmac') return session.policy.needsAuthValue;
  if (session.boundTo === undefined) return true;
  return !isEqual(session.boundTo, bindingOf(entityName(tpm, target), entityAuth(tpm, target)));
}

/** Checks every entry; refuses with the session that is to blame. What a failure leaves behind (lockout) is noted in `tpm`. */
export function checkAuthorizations(tpm: Tpm, incoming: Incoming, found: readonly Authorization[]): void {
  if (found.length < incoming.authorized) refuse(TPM_RC.AUTH_MISSING);
  let position = 0;
  try {
    for (const entry of found) {
      position = entry.position;
      assertUsable(tpm, entry);
      if (entry.target !== undefined) assertMayAuthorize(tpm, incoming, entry, entry.target);
      assertAuthentic(tpm, incoming, entry, found);
    }
  } catch (error) {
    if (error instanceof Refusal) refuseSession(error.responseCode, position);
    throw error;
  }
}

// A session that authorises nothing must do something else, and what is bound to a protected entity is locked with it.
function assertUsable(tpm: Tpm, { session, target, attributes }: Authorization): void {
  if (session === undefined) {
    if (target === undefined) refuse(TPM_RC.HANDLE);
    return;
  }
  if (session.type === 'trial') refuse(TPM_RC.ATTRIBUTES);
  if (session.isDaBound) assertNotLockedOut(tpm, session.isLockoutBound ? TPM_RH.LOCKOUT : TPM_RH.NULL);
  const uses = TPMA_SESSION.audit | TPMA_SESSION.decrypt | TPMA_SESSION.encrypt;
  if (target === undefined && (attributes & uses) === 0) refuse(TPM_RC.ATTRIBUTES);
}

function assertMayAuthorize(tpm: Tpm, incoming: Incoming, entry: Authorization, target: number): void {
  const role = incoming.command.handles[entry.position - 1]?.auth;
  const { session } = entry;
  if (target === TPM_RH.PLATFORM && needsPresence(tpm, incoming.command.code)) refuse(TPM_RC.PP);
  const isPolicy = session !== undefined && session.type !== 'hmac';
  const needsValue = !isPolicy || session.policy.needsAuthValue || session.policy.needsPassword;
  if (needsValue && !isDaExempt(tpm, target)) assertNotLockedOut(tpm, target);
  if (role === 'dup' && !isPolicy) refuse(TPM_RC.AUTH_TYPE);
  if (role === 'admin' && !isPolicy && needsPolicyForAdmin(tpm, target)) refuse(TPM_RC.AUTH_TYPE);
  if (!isPolicy && handleType(target) === TPM_HT.PCR && entityPolicy(tpm, target).alg !== TPM_ALG.NULL) {
    refuse(TPM_RC.AUTH_TYPE);
  }
  if (needsValue && isSpentPin(tpm, target)) refuse(TPM_RC.AUTH_UNAVAILABLE);
  if (isPolicy) {
    if (!isPolicyAvailable(tpm, target, incoming.command.code)) refuse(TPM_RC.AUTH_UNAVAILABLE);
    assertPolicy(tpm, incoming, entry, session, target);
    return;
  }
  if (!isAuthValueAvailable(tpm, target, incoming.command.code, role === 'admin')) refuse(TPM_RC.AUTH_UNAVAILABLE);
}

function needsPresence(tpm: Tpm, code: number): boolean {
  if (tpm.volatile.isPresent === true) return false;
  return code === TPM_CC.PP_Commands || tpm.permanent.presenceCommands.has(code);
}

function isSpentPin(tpm: Tpm, target: number): boolean {
  if (handleType(target) !== TPM_HT.NV_INDEX) return false;
  const index = nvAt(tpm, target);
  return isPinIndex(index.attributes) && isPinSpent(index);
}

function needsPolicyForAdmin(tpm: Tpm, target: number): boolean {
  if (handleType(target) === TPM_HT.NV_INDEX) return true;
  const object = findObject(tpm, target);
  return object !== undefined && has(object.public, TPMA_OBJECT.adminWithPolicy);
}

// Part 1, 19.7: the policy digest, then each condition that the policy commands have left to be checked now.
function assertPolicy(tpm: Tpm, incoming: Incoming, entry: Authorization, session: Session, target: number): void {
  const { policy } = session;
  const { code } = incoming.command;
  if (code === TPM_CC.PolicySecret && !policy.needsPassword && !policy.needsAuthValue) refuse(TPM_RC.MODE);
  if (policy.pcrCounter !== undefined && policy.pcrCounter !== tpm.volatile.pcrCounter) refuse(TPM_RC.PCR_CHANGED);
  const expected = entityPolicy(tpm, target);
  if (!isEqual(policy.digest, expected.digest) || expected.alg !== session.authHash) refuse(TPM_RC.POLICY_FAIL);
  if (policy.timeout !== 0n && (policy.timeout < timeOf(tpm) || session.epoch !== tpm.volatile.timeEpoch))
    refuse(TPM_RC.EXPIRED);
  const role = incoming.command.handles[entry.position - 1]?.auth;
  if (policy.commandCode !== 0 && policy.commandCode !== code) refuse(TPM_RC.POLICY_CC);
  if (policy.commandCode === 0 && (role === 'admin' || role === 'dup')) refuse(TPM_RC.POLICY_FAIL);
  if (!isLocalityAllowed(policy.locality, incoming.locality)) refuse(TPM_RC.LOCALITY);
  if (policy.needsPresence && tpm.volatile.isPresent !== true) refuse(TPM_RC.PP);
  if (!isBoundTo(tpm, incoming, session)) refuse(TPM_RC.POLICY_FAIL);
  if (policy.nvWritten !== undefined) assertNvWritten(tpm, target, policy.nvWritten);
}

function isLocalityAllowed(allowed: number, locality: number): boolean {
  if (allowed === 0) return true;
  return allowed < 32 ? locality < 5 && ((allowed >> locality) & 1) === 1 : allowed === locality;
}

function isBoundTo(tpm: Tpm, incoming: Incoming, session: Session): boolean {
  const { bound } = session.policy;
  if (bound?.kind === 'cpHash') return isEqual(bound.digest, cpHash(tpm, incoming, session.authHash));
  if (bound?.kind === 'nameHash') return isEqual(bound.digest, nameHash(tpm, incoming, session.authHash));
  // The commands that have a template compare it themselves; no other one can satisfy such a policy.
  return bound?.kind !== 'template' || CREATING.has(incoming.command.code);
}

const CREATING: ReadonlySet<number> = new Set([TPM_CC.Create, TPM_CC.CreatePrimary, TPM_CC.CreateLoaded]);

function assertNvWritten(tpm: Tpm, target: number, isWritten: boolean): void {
  if (handleType(target) !== TPM_HT.NV_INDEX) refuse(TPM_RC.POLICY_FAIL);
  if (((nvAt(tpm, target).attributes & TPMA_NV.WRITTEN) !== 0) !== isWritten) refuse(TPM_RC.POLICY_FAIL);
}

function assertAuthentic(tpm: Tpm, incoming: Incoming, entry: Authorization, all: readonly Authorization[]): void {
  const { session, target } = entry;
  const isPassword = session === undefined || session.policy.needsPassword;
  const isRight = isPassword
    ? isEqual(trimAuth(entry.hmac), entityAuth(tpm, target ?? TPM_RH.NULL))
    : isEqual(entry.hmac, commandHmac(tpm, incoming, entry, all));
  const isValueUsed = isPassword || session.type === 'hmac' || session.policy.needsAuthValue;
  if (target !== undefined && isValueUsed) notePinUse(tpm, target, isRight);
  if (!isRight) failAuthorization(tpm, entry);
}

// A session that is bound to a protected entity gives that entity's value away if its HMAC may be guessed without limit.
function failAuthorization(tpm: Tpm, entry: Authorization): never {
  const { session, target } = entry;
  if (target !== undefined && !isDaExempt(tpm, target)) {
    registerFailure(tpm, target);
    refuse(TPM_RC.AUTH_FAIL);
  }
  if (session?.isDaBound === true) {
    registerFailure(tpm, session.isLockoutBound ? TPM_RH.LOCKOUT : TPM_RH.NULL);
    refuse(TPM_RC.AUTH_FAIL);
  }
  refuse(TPM_RC.BAD_AUTH);
}

/** cpHash (Part 1, 16.7): the command code, the names of the handles, the parameters as they were received. */
export function cpHash(tpm: Tpm, incoming: Incoming, alg: number): Uint8Array {
  const names = incoming.handles.map((handle) => entityName(tpm, handle));
  return tpm.crypto.hash(alg, codeBytes(incoming.command.code), ...names, receivedParameters(incoming));
}

/** nameHash (Part 1, 16.9): the names of the handles. */
function nameHash(tpm: Tpm, incoming: Incoming, alg: number): Uint8Array {
  return tpm.crypto.hash(alg, ...incoming.handles.map((handle) => entityName(tpm, handle)));
}

// Part 1, 19.6.5. The first session also vouches for the nonces of the sessions that encrypt, so that they cannot be taken away.
function commandHmac(tpm: Tpm, incoming: Incoming, entry: Authorization, all: readonly Authorization[]): Uint8Array {
  const session = entry.session ?? refuse(TPM_RC.FAILURE);
  const key = hmacKey(tpm, entry, session);
  if (key.length === 0 && session.type !== 'hmac' && entry.hmac.length === 0) return EMPTY;
  const decrypting = all.find((other) => isSet(other, TPMA_SESSION.decrypt));
  const encrypting = all.find((other) => isSet(other, TPMA_SESSION.encrypt));
  const isFirst = entry.position === 1 && entry.target !== undefined;
  const nonceDecrypt = isFirst && decrypting !== entry ? decrypting?.session?.nonceTpm : undefined;
  const nonceEncrypt =
    isFirst && encrypting !== entry && encrypting !== decrypting ? encrypting?.session?.nonceTpm : undefined;
  return tpm.crypto.hmac(
    session.authHash,
    key,
    cpHash(tpm, incoming, session.authHash),
    entry.nonceCaller,
    session.nonceTpm,
    nonceDecrypt ?? EMPTY,
    nonceEncrypt ?? EMPTY,
    Uint8Array.of(entry.attributes),
  );
}

function hmacKey(tpm: Tpm, entry: Authorization, session: Session): Uint8Array {
  if (!entry.isAuthIncluded || entry.target === undefined) return session.key;
  return concat(session.key, currentAuth(tpm, entry.target));
}

// After the command its entity may be gone, and then has no authorization value any more.
function currentAuth(tpm: Tpm, target: number): Uint8Array {
  const type = handleType(target);
  if (type === TPM_HT.NV_INDEX && !tpm.permanent.nv.has(target)) return EMPTY;
  if ((type === TPM_HT.TRANSIENT || type === TPM_HT.PERSISTENT) && !findObject(tpm, target)) return EMPTY;
  return entityAuth(tpm, target);
}

/** The HMAC of a response (Part 1, 19.6.5): over rpHash, with the nonces as they are after the command. */
export function responseHmac(tpm: Tpm, entry: Authorization, rpHash: () => Uint8Array, attributes: number): Uint8Array {
  const session = entry.session ?? refuse(TPM_RC.FAILURE);
  if (session.policy.needsPassword) return EMPTY;
  const key = hmacKey(tpm, entry, session);
  // A policy without a key may go without HMACs: the TPM does as the caller did.
  if (key.length === 0 && session.type !== 'hmac' && entry.hmac.length === 0) return EMPTY;
  return tpm.crypto.hmac(
    session.authHash,
    key,
    rpHash(),
    session.nonceTpm,
    entry.nonceCaller,
    Uint8Array.of(attributes),
  );
}

/** Encrypts or decrypts the first parameter in place: Part 1, clause 21. */
export function cryptParameter(
  tpm: Tpm,
  entry: Authorization,
  direction: 'command' | 'response',
  data: Uint8Array,
): void {
  const session = entry.session ?? refuse(TPM_RC.FAILURE);
  const auth = entry.target === undefined ? EMPTY : currentAuth(tpm, entry.target);
  const key = concat(session.key, auth);
  const isCommand = direction === 'command';
  const nonces = {
    contextU: isCommand ? entry.nonceCaller : session.nonceTpm,
    contextV: isCommand ? session.nonceTpm : entry.nonceCaller,
  };
  const { cipher, authHash: hash } = session;
  if (cipher.kind === 'xor') {
    // With the session's hash, not that of its symmetric definition, as the reference implementation does it.
    const mask = kdfA({ hash, key, label: 'XOR', ...nonces, bits: data.length * 8 }, tpm.crypto);
    for (let i = 0; i < data.length; i++) data[i] = (data[i] ?? 0) ^ (mask[i] ?? 0);
  } else if (cipher.kind === 'block') {
    const { algorithm, bits } = cipher;
    const derived = kdfA({ hash, key, label: 'CFB', ...nonces, bits: bits + 8 * blockSize(algorithm) }, tpm.crypto);
    const [cipherKey, iv] = [derived.slice(0, bits / 8), derived.slice(bits / 8)];
    data.set(cfb(tpm.crypto, isCommand ? 'decrypt' : 'encrypt', algorithm, cipherKey, iv, data));
    cipherKey.fill(0);
    derived.fill(0);
  }
  key.fill(0);
}
