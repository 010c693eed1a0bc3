/** How a command becomes a response: Part 3, clause 5, and Part 1, clause 18. */
import { TPM_CC, TPM_HT, TPM_RC, TPM_ST, TPMA_SESSION } from '@casemate/tpm';
import { type Codec, Reader, WireError, Writer } from '@casemate/wire';
import {
  type Authorization,
  checkAuthorizations,
  cpHash,
  cryptParameter,
  type Incoming,
  isSet,
  parseAuthorizations,
  receivedParameters,
  responseHmac,
} from './authorization.js';
import { codeBytes, EMPTY, readU32, u32Bytes } from './bytes.js';
import { timeOf } from './clock.js';
import { auditCommand } from './command-audit.js';
import { isKnownTag, responseCodeOf } from './decoding.js';
import { selfHeal } from './dictionary-attack.js';
import { assertPresent } from './entity.js';
import type { Handler } from './handler.js';
import { IMPLEMENTATION, zeroDigest } from './implementation.js';
import { flushObject } from './object-slots.js';
import { type ParameterDecoder, parameterDecoder } from './parameters.js';
import { PCR_COUNT } from './pcr-bank.js';
import { ORDERLY } from './permanent.js';
import { atHandle, Refusal, refuse } from './refusal.js';
import { emptyPolicy, type Session, wipeSession } from './session.js';
import { markDirty, type Tpm } from './tpm.js';

const HEADER = 10;
/** A handle, an empty nonce, attributes and an empty HMAC. */
const SMALLEST_AREA = 9;

/** A command with what can be told about it before it is sent. */
interface Entry extends Handler {
  readonly keepsNothing: boolean;
  readonly decode: ParameterDecoder;
  /** The handles of the request, in order. */
  readonly handles: readonly HandleEntry[];
  /** How many handles need an authorization; those come first. */
  readonly authorized: number;
  /** The name of the handle that the response begins with. */
  readonly responseHandle: string | undefined;
  /** Does it leave an orderly TPM orderly? */
  readonly isHarmless: boolean;
}

/** A handle that a command takes. */
interface HandleEntry {
  readonly name: string;
  readonly codec: Codec<number>;
  /** The value that was accepted last: it need not be looked at again, and clients mostly send the same ones. */
  accepted: number;
}

/** The commands that a TPM has, by command code. */
export type Handlers = ReadonlyMap<number, Entry>;

/** Makes the table that `execute` takes. */
export function tableOf(handlers: readonly Handler[]): Handlers {
  return new Map(handlers.map((handler) => [handler.command.code, entryOf(handler)]));
}

function entryOf(handler: Handler): Entry {
  const { command, run, keepsNothing } = handler;
  const { handles, responseHandles, code } = command;
  // All of them with the same members in the same order.
  return {
    command,
    run,
    keepsNothing: keepsNothing === true,
    decode: parameterDecoder(command),
    handles: handles.map(({ name, codec }) => ({ name, codec, accepted: -1 })),
    authorized: handles.filter(({ auth }) => auth !== 'none').length,
    // No command answers with more than one handle.
    responseHandle: responseHandles[0]?.name,
    isHarmless: HARMLESS.has(code),
  };
}

// Commands that leave an orderly TPM orderly: they change nothing that a shutdown keeps.
const HARMLESS: ReadonlySet<number> = new Set([
  TPM_CC.Startup,
  TPM_CC.Shutdown,
  TPM_CC.GetCapability,
  TPM_CC.GetRandom,
  TPM_CC.GetTestResult,
  TPM_CC.SelfTest,
  TPM_CC.IncrementalSelfTest,
  TPM_CC.Hash,
  TPM_CC.PCR_Read,
  TPM_CC.ReadPublic,
  TPM_CC.NV_ReadPublic,
  TPM_CC.ReadClock,
  TPM_CC.TestParms,
]);

/** In failure mode (Part 1, 12.4) a TPM answers these two. */
const IN_FAILURE: ReadonlySet<number> = new Set([TPM_CC.GetTestResult, TPM_CC.GetCapability]);

/** Runs one command; whoever sent it controls every byte. Never throws: what cannot be run is answered with a response code. */
export function execute(tpm: Tpm, handlers: Handlers, command: Uint8Array, locality: number): Uint8Array {
  try {
    return run(tpm, handlers, command, locality);
  } catch (error) {
    if (error instanceof Refusal) return failure(error.responseCode);
    if (error instanceof WireError) return failure(responseCodeOf(error));
    // A defect, not a refusal: what it left behind cannot be trusted.
    tpm.volatile.hasFailed = true;
    return failure(TPM_RC.FAILURE);
  }
}

function failure(code: number): Uint8Array {
  const tag = code === TPM_RC.BAD_TAG ? TPM_ST.RSP_COMMAND : TPM_ST.NO_SESSIONS;
  return Uint8Array.of(tag >>> 8, tag & 0xff, 0, 0, 0, HEADER, ...u32Bytes(code));
}

function run(tpm: Tpm, handlers: Handlers, bytes: Uint8Array, locality: number): Uint8Array {
  const code = commandCode(bytes);
  if (tpm.volatile.hasFailed && !IN_FAILURE.has(code)) refuse(TPM_RC.FAILURE);
  const entry = handlers.get(code) ?? refuse(TPM_RC.COMMAND_CODE);
  if (tpm.volatile.isStarted === (code === TPM_CC.Startup)) refuse(TPM_RC.INITIALIZE);
  if (tpm.volatile.isStarted) selfHeal(tpm);
  const { command, authorized } = entry;
  const reader = readerOf(entry, bytes);
  const handles = readHandles(tpm, entry, reader);
  const sessions = hasSessions(bytes)
    ? parseAuthorizations(tpm, command, handles, authorized, readAreaSize(entry, reader), reader)
    : undefined;
  const incoming: Incoming = { command, handles, authorized, locality, bytes, parametersAt: reader.offset };
  checkAuthorizations(tpm, incoming, sessions ?? NO_AUTHORIZATIONS);
  if (!entry.isHarmless) noteActivity(tpm);
  const decrypting = sessions?.find(isDecrypting);
  const request = entry.decode(decrypting ? new Reader(decryptFirst(tpm, incoming, decrypting)) : reader);
  const response = respond(tpm, entry, incoming, request, sessions);
  if (tpm.volatile.spentSequence !== undefined) flushSpent(tpm, tpm.volatile.spentSequence);
  return response;
}

const NO_AUTHORIZATIONS: readonly Authorization[] = [];

/** A reader of what stands behind the header. */
function readerOf({ keepsNothing }: Entry, bytes: Uint8Array): Reader {
  // Short copies are cheap. Memory that is shared with another thread could change between two looks at it.
  const isBorrowed = keepsNothing && bytes.length > 64 && bytes.buffer instanceof ArrayBuffer;
  const reader = isBorrowed ? new Reader(bytes, BORROWED) : new Reader(bytes);
  reader.move(HEADER, bytes.length);
  return reader;
}

const BORROWED = { shared: true } as const;

function flushSpent(tpm: Tpm, sequence: number): void {
  flushObject(tpm, sequence);
  tpm.volatile.spentSequence = undefined;
}

/** The command code; refuses a header that does not fit the command. */
function commandCode(bytes: Uint8Array): number {
  const { length } = bytes;
  if (length < HEADER) refuse(length < 2 ? TPM_RC.INSUFFICIENT : TPM_RC.COMMAND_SIZE);
  const tag = readU32(bytes, 0) >>> 16;
  if (tag !== TPM_ST.NO_SESSIONS && tag !== TPM_ST.SESSIONS) refuse(isKnownTag(tag) ? TPM_RC.BAD_TAG : TPM_RC.VALUE);
  const size = readU32(bytes, 2);
  if (size !== length || size > IMPLEMENTATION.MAX_COMMAND_SIZE) refuse(TPM_RC.COMMAND_SIZE);
  return readU32(bytes, 6);
}

/** Is there an authorization area in a command whose header is in order? */
function hasSessions(bytes: Uint8Array): boolean {
  return bytes[1] === (TPM_ST.SESSIONS & 0xff);
}

function readHandles(tpm: Tpm, entry: Entry, reader: Reader): number[] {
  const handles: number[] = [];
  let at = 0;
  try {
    for (const field of entry.handles) {
      handles.push(readHandle(field, reader));
      at++;
    }
    for (at = 0; at < handles.length; at++) assertPresent(tpm, handles[at] ?? 0, at);
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(atHandle(error.responseCode, at + 1));
    if (error instanceof WireError) throw new Refusal(atHandle(responseCodeOf(error), at + 1));
    throw error;
  }
  return handles;
}

function readHandle(field: HandleEntry, reader: Reader): number {
  const { bytes, offset, remaining } = reader;
  if (remaining >= 4 && readU32(bytes, offset) === field.accepted) return reader.u32(field.name);
  field.accepted = assertInRange(field.codec.read(reader));
  return field.accepted;
}

// The types allow as many PCRs, sessions and objects as any TPM has; this one has fewer.
function assertInRange(handle: number): number {
  const limit = HANDLE_LIMITS[handle >>> 24];
  return limit !== undefined && (handle & 0xffffff) >= limit ? refuse(TPM_RC.VALUE) : handle;
}

const HANDLE_LIMITS: Readonly<Record<number, number>> = {
  [TPM_HT.PCR]: PCR_COUNT,
  [TPM_HT.HMAC_SESSION]: IMPLEMENTATION.MAX_ACTIVE_SESSIONS,
  [TPM_HT.POLICY_SESSION]: IMPLEMENTATION.MAX_ACTIVE_SESSIONS,
  [TPM_HT.TRANSIENT]: IMPLEMENTATION.MAX_LOADED_OBJECTS,
};

function readAreaSize({ command }: Entry, reader: Reader): number {
  const size = reader.u32('authorizationSize');
  if (size < SMALLEST_AREA || size > reader.remaining) refuse(TPM_RC.SIZE);
  if (command.sessions === 'never') refuse(TPM_RC.AUTH_CONTEXT);
  return size;
}

// From here on the TPM is no longer as its last shutdown left it.
function noteActivity(tpm: Tpm): void {
  const { orderly } = tpm.permanent;
  if (orderly !== ORDERLY.CLEAR && orderly !== ORDERLY.STATE) return;
  tpm.permanent.orderly = ORDERLY.NONE;
  markDirty(tpm);
}

/**
 * Where responses are made. They are cut off one behind the other, like Node's small Buffers: memory for more than 64 bytes costs more to
 * allocate than all the rest of a short command.
 */
const answer = new Writer(8 * IMPLEMENTATION.MAX_COMMAND_SIZE);

function respond(
  tpm: Tpm,
  entry: Entry,
  incoming: Incoming,
  request: Record<string, unknown>,
  sessions: readonly Authorization[] | undefined,
): Uint8Array {
  const authorizations = sessions ?? NO_AUTHORIZATIONS;
  let at = 0;
  for (const { name } of entry.handles) request[name] = incoming.handles[at++];
  const digest = (alg: number): Uint8Array => cpHash(tpm, incoming, alg);
  // cpHash of audited commands needs the names as they were before the command ran.
  const audited = authorizations.find(isAuditing);
  const auditCpHash = audited?.session === undefined ? undefined : digest(audited.session.authHash);
  const { code } = incoming.command;
  const { alg, commands } = tpm.permanent.audit;
  const auditedCommand = commands.has(code) ? { alg, cpHash: digest(alg) } : undefined;
  const { locality } = incoming;
  const result = entry.run(tpm, request, { locality, authorizations, cpHash: digest });
  try {
    const size = encodeResponse(entry, result, sessions !== undefined);
    const start = answer.offset - size;
    const encoded = (): Uint8Array => answered(start, size);
    const hasOnlyPasswords = authorizations.every(isPassword);
    // What is audited is what is sent: parameters that a session encrypts count in their encrypted form.
    if (!hasOnlyPasswords) encryptFirst(tpm, authorizations, encoded);
    updateAudit(tpm, entry, audited, auditCpHash, encoded);
    if (auditedCommand) auditCommand(tpm, auditedCommand, (hash) => rpHash(tpm, hash, code, encoded()));
    if (hasOnlyPasswords) acknowledgePasswords(authorizations.length);
    else addAuthorizations(tpm, code, authorizations, encoded);
    answer.patchU32(2, answer.offset);
    return answer.cut();
  } catch (error) {
    dropAnswer();
    throw error;
  }
}

/** Bytes of the response that is being made. */
function answered(start: number, size: number): Uint8Array {
  const at = answer.position - answer.offset + start;
  return answer.lend().subarray(at, at + size);
}

// Those that were cut off before are somebody else's.
function dropAnswer(): void {
  const start = answer.position - answer.offset;
  answer.lend().fill(0, start, answer.position);
  answer.move(start);
}

const isAuditing = (entry: Authorization): boolean => isSet(entry, TPMA_SESSION.audit);
const isDecrypting = (entry: Authorization): boolean => isSet(entry, TPMA_SESSION.decrypt);
const isEncrypting = (entry: Authorization): boolean => isSet(entry, TPMA_SESSION.encrypt);

function decryptFirst(tpm: Tpm, incoming: Incoming, entry: Authorization): Uint8Array {
  const parameters = new Uint8Array(receivedParameters(incoming));
  if (parameters.length < 2) refuse(TPM_RC.INSUFFICIENT);
  const size = ((parameters[0] ?? 0) << 8) | (parameters[1] ?? 0);
  if (size > parameters.length - 2) refuse(TPM_RC.SIZE);
  cryptParameter(tpm, entry, 'command', parameters.subarray(2, 2 + size));
  return parameters;
}

/** Writes the response up to its parameters, whose size it returns. */
function encodeResponse(entry: Entry, result: Readonly<Record<string, unknown>>, hasSessions: boolean): number {
  answer.u16(hasSessions ? TPM_ST.SESSIONS : TPM_ST.NO_SESSIONS, 'tag');
  answer.u32(0, 'responseSize');
  answer.u32(TPM_RC.SUCCESS, 'responseCode');
  // The handler answers with what its command's codecs describe.
  if (entry.responseHandle !== undefined) answer.u32(result[entry.responseHandle] as number, entry.responseHandle);
  if (hasSessions) answer.u32(0, 'parameterSize');
  const start = answer.offset;
  entry.command.response.write(answer, result);
  const size = answer.offset - start;
  if (hasSessions) answer.patchU32(start - 4, size);
  return size;
}

function addAuthorizations(
  tpm: Tpm,
  code: number,
  authorizations: readonly Authorization[],
  encoded: () => Uint8Array,
): void {
  for (const entry of authorizations) writeAuthorization(tpm, code, entry, encoded);
  for (const { session, attributes } of authorizations) {
    if (session) rollSession(tpm, session, (attributes & TPMA_SESSION.continueSession) !== 0);
  }
}

const isPassword = ({ session }: Authorization): boolean => session === undefined;

// No nonce, the one attribute, no HMAC.
function acknowledgePasswords(count: number): void {
  for (let i = 0; i < count; i++) {
    answer.u16(0, 'size');
    answer.u8(TPMA_SESSION.continueSession, 'sessionAttributes');
    answer.u16(0, 'size');
  }
}

// With the nonces that the response tells.
function encryptFirst(tpm: Tpm, authorizations: readonly Authorization[], encoded: () => Uint8Array): void {
  for (const { session } of authorizations) {
    if (session) session.nonceTpm = tpm.crypto.random(session.nonceTpm.length);
  }
  const entry = authorizations.find(isEncrypting);
  if (entry === undefined) return;
  const parameters = encoded();
  const size = ((parameters[0] ?? 0) << 8) | (parameters[1] ?? 0);
  cryptParameter(tpm, entry, 'response', parameters.subarray(2, 2 + size));
}

function writeAuthorization(tpm: Tpm, code: number, entry: Authorization, encoded: () => Uint8Array): void {
  const { session } = entry;
  const attributes = responseAttributes(tpm, entry);
  const nonce = session?.nonceTpm ?? EMPTY;
  const hmac =
    session === undefined
      ? EMPTY
      : responseHmac(tpm, entry, () => rpHash(tpm, session.authHash, code, encoded()), attributes);
  answer.u16(nonce.length, 'size');
  if (nonce.length > 0) answer.put(nonce, 'nonce');
  answer.u8(attributes, 'sessionAttributes');
  answer.u16(hmac.length, 'size');
  if (hmac.length > 0) answer.put(hmac, 'hmac');
}

function responseAttributes(tpm: Tpm, entry: Authorization): number {
  if (entry.session === undefined) return TPMA_SESSION.continueSession;
  if (!isSet(entry, TPMA_SESSION.audit)) return entry.attributes;
  const isExclusive = tpm.volatile.exclusiveAudit === entry.session.handle;
  const plain = entry.attributes & ~(TPMA_SESSION.auditExclusive | TPMA_SESSION.auditReset);
  return isExclusive ? plain | TPMA_SESSION.auditExclusive : plain;
}

/** rpHash (Part 1, 16.8): response code, command code, parameters as they are sent. */
function rpHash(tpm: Tpm, alg: number, code: number, parameters: Uint8Array): Uint8Array {
  return tpm.crypto.hash(alg, codeBytes(TPM_RC.SUCCESS), codeBytes(code), parameters);
}

// Part 1, 17.8: what a session audits, and which session is the exclusive one.
function updateAudit(
  tpm: Tpm,
  handler: Handler,
  entry: Authorization | undefined,
  auditCpHash: Uint8Array | undefined,
  encoded: () => Uint8Array,
): void {
  const { session } = entry ?? {};
  if (entry === undefined || session === undefined || auditCpHash === undefined) {
    // A command that cannot carry a session says nothing about one.
    if (handler.command.sessions !== 'never') tpm.volatile.exclusiveAudit = 0;
    return;
  }
  const isFresh = session.auditDigest === undefined || isSet(entry, TPMA_SESSION.auditReset);
  const before = isFresh ? zeroDigest(session.authHash) : session.auditDigest;
  const after = rpHash(tpm, session.authHash, handler.command.code, encoded());
  session.auditDigest = tpm.crypto.hash(session.authHash, before ?? EMPTY, auditCpHash, after);
  if (isFresh) tpm.volatile.exclusiveAudit = session.handle;
  else if (tpm.volatile.exclusiveAudit !== session.handle) tpm.volatile.exclusiveAudit = 0;
}

// A used nonce starts a policy anew; a session that is not to continue ends.
function rollSession(tpm: Tpm, session: Session, continues: boolean): void {
  if (!continues) {
    tpm.volatile.sessions.delete(session.handle);
    if (tpm.volatile.exclusiveAudit === session.handle) tpm.volatile.exclusiveAudit = 0;
    wipeSession(session);
    return;
  }
  if (session.type === 'hmac') return;
  session.policy = emptyPolicy(session.authHash);
  session.startTime = timeOf(tpm);
  session.epoch = tpm.volatile.timeEpoch;
}
