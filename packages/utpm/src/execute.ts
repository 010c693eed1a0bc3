/** How a command becomes a response: Part 3, clause 5, and Part 1, clause 18. */
import { TPM_CC, TPM_HT, TPM_RC, TPM_ST, TPMA_SESSION } from '@casemate/tpm';
import { Reader, WireError, Writer } from '@casemate/wire';
import {
  type Authorization,
  authorizedHandles,
  checkAuthorizations,
  cpHash,
  cryptParameter,
  type Incoming,
  isSet,
  parseAuthorizations,
  responseHmac,
} from './authorization.js';
import { EMPTY, u32Bytes } from './bytes.js';
import { timeOf } from './clock.js';
import { auditCommand } from './command-audit.js';
import { isKnownTag, readOrRefuse, responseCodeOf } from './decoding.js';
import { selfHeal } from './dictionary-attack.js';
import { assertPresent } from './entity.js';
import type { Handler } from './handler.js';
import { IMPLEMENTATION, zeroDigest } from './implementation.js';
import { flushObject } from './object-slots.js';
import { decodeParameters } from './parameters.js';
import { PCR_COUNT } from './pcr-bank.js';
import { ORDERLY } from './permanent.js';
import { atHandle, Refusal, refuse } from './refusal.js';
import { emptyPolicy, type Session, wipeSession } from './session.js';
import { markDirty, type Tpm } from './tpm.js';

const HEADER = 10;
/** A handle, an empty nonce, attributes and an empty HMAC. */
const SMALLEST_AREA = 9;

/** The commands that a TPM has, by command code. */
export type Handlers = ReadonlyMap<number, Handler>;

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
  const reader = new Reader(bytes);
  const { hasSessions, code } = readHeader(reader, bytes.length);
  if (tpm.volatile.hasFailed && !IN_FAILURE.has(code)) refuse(TPM_RC.FAILURE);
  const handler = handlers.get(code) ?? refuse(TPM_RC.COMMAND_CODE);
  if (tpm.volatile.isStarted === (code === TPM_CC.Startup)) refuse(TPM_RC.INITIALIZE);
  if (tpm.volatile.isStarted) selfHeal(tpm);
  const handles = readHandles(tpm, handler, reader);
  const { area, parameters } = readBody(handler, hasSessions, reader);
  const incoming: Incoming = { command: handler.command, handles, locality, parameters };
  const authorizations = area === undefined ? [] : parseAuthorizations(tpm, incoming, area);
  if (area === undefined && authorizedHandles(incoming).length > 0) refuse(TPM_RC.AUTH_MISSING);
  checkAuthorizations(tpm, incoming, authorizations);
  noteActivity(tpm, code);
  const response = invoke(tpm, handler, incoming, authorizations);
  const answer = area === undefined ? frame(response) : frameWithSessions(tpm, handler, authorizations, response);
  flushSpent(tpm);
  return answer;
}

function flushSpent(tpm: Tpm): void {
  const { spentSequence } = tpm.volatile;
  if (spentSequence !== undefined) flushObject(tpm, spentSequence);
  tpm.volatile.spentSequence = undefined;
}

function readHeader(reader: Reader, length: number): { readonly hasSessions: boolean; readonly code: number } {
  if (length < HEADER) refuse(length < 2 ? TPM_RC.INSUFFICIENT : TPM_RC.COMMAND_SIZE);
  const tag = reader.u16('tag');
  if (tag !== TPM_ST.NO_SESSIONS && tag !== TPM_ST.SESSIONS) refuse(isKnownTag(tag) ? TPM_RC.BAD_TAG : TPM_RC.VALUE);
  const size = reader.u32('commandSize');
  if (size !== length || size > IMPLEMENTATION.MAX_COMMAND_SIZE) refuse(TPM_RC.COMMAND_SIZE);
  return { hasSessions: tag === TPM_ST.SESSIONS, code: reader.u32('commandCode') };
}

function readHandles(tpm: Tpm, handler: Handler, reader: Reader): number[] {
  const handles = handler.command.handles.map((field, i) =>
    at(i + 1, () => assertInRange(readOrRefuse(field.codec, reader))),
  );
  handles.forEach((handle, i) => {
    at(i + 1, () => assertPresent(tpm, handle, i));
  });
  return handles;
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

function at<T>(index: number, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(atHandle(error.responseCode, index));
    throw error;
  }
}

interface Body {
  readonly area: Uint8Array | undefined;
  readonly parameters: Uint8Array;
}

function readBody(handler: Handler, hasSessions: boolean, reader: Reader): Body {
  if (!hasSessions) return { area: undefined, parameters: reader.take(reader.remaining, 'parameters') };
  const size = readOrRefuse(
    { name: 'authorizationSize', read: (r) => r.u32('authorizationSize'), write: () => {} },
    reader,
  );
  if (size < SMALLEST_AREA || size > reader.remaining) refuse(TPM_RC.SIZE);
  if (handler.command.sessions === 'never') refuse(TPM_RC.AUTH_CONTEXT);
  const area = reader.take(size, 'authorization area');
  return { area, parameters: reader.take(reader.remaining, 'parameters') };
}

// From here on the TPM is no longer as its last shutdown left it.
function noteActivity(tpm: Tpm, code: number): void {
  const { orderly } = tpm.permanent;
  if (HARMLESS.has(code) || (orderly !== ORDERLY.CLEAR && orderly !== ORDERLY.STATE)) return;
  tpm.permanent.orderly = ORDERLY.NONE;
  markDirty(tpm);
}

interface Response {
  readonly handles: Uint8Array;
  readonly parameters: Uint8Array;
}

function invoke(tpm: Tpm, handler: Handler, incoming: Incoming, authorizations: readonly Authorization[]): Response {
  const parameters = decryptFirst(tpm, incoming, authorizations);
  const request = { ...byName(handler, incoming.handles), ...decodeParameters(handler.command, parameters) };
  const digest = (alg: number): Uint8Array => cpHash(tpm, incoming, alg);
  // cpHash of audited commands needs the names as they were before the command ran.
  const audited = authorizations.find((entry) => isSet(entry, TPMA_SESSION.audit));
  const auditCpHash = audited?.session === undefined ? undefined : digest(audited.session.authHash);
  const { code } = incoming.command;
  const { alg, commands } = tpm.permanent.audit;
  const auditedCommand = commands.has(code) ? { alg, cpHash: digest(alg) } : undefined;
  const { locality } = incoming;
  const result = handler.run(tpm, request, { locality, authorizations, parameters, cpHash: digest });
  const response = encodeResponse(handler, result);
  updateAudit(tpm, handler, audited, auditCpHash, response);
  if (auditedCommand) auditCommand(tpm, auditedCommand, (hash) => rpHash(tpm, hash, code, response.parameters));
  return response;
}

function byName(handler: Handler, handles: readonly number[]): Record<string, number> {
  const named: Record<string, number> = {};
  handler.command.handles.forEach((field, i) => {
    named[field.name] = handles[i] ?? 0;
  });
  return named;
}

function decryptFirst(tpm: Tpm, incoming: Incoming, authorizations: readonly Authorization[]): Uint8Array {
  const entry = authorizations.find((other) => isSet(other, TPMA_SESSION.decrypt));
  if (entry === undefined) return incoming.parameters;
  const parameters = incoming.parameters.slice();
  if (parameters.length < 2) refuse(TPM_RC.INSUFFICIENT);
  const size = new DataView(parameters.buffer).getUint16(0);
  if (size > parameters.length - 2) refuse(TPM_RC.SIZE);
  cryptParameter(tpm, entry, 'command', parameters.subarray(2, 2 + size));
  return parameters;
}

function encodeResponse(handler: Handler, result: Readonly<Record<string, unknown>>): Response {
  const { responseHandles, response } = handler.command;
  // The handler answers with what its command's codecs describe, and no command answers with more than one handle.
  const [handle] = responseHandles.map((field) => u32Bytes(result[field.name] as number));
  if (Object.keys(response.fields).length === 0) return { handles: handle ?? EMPTY, parameters: EMPTY };
  const parameters = new Writer(SMALL_RESPONSE);
  response.write(parameters, result);
  return { handles: handle ?? EMPTY, parameters: parameters.finish() };
}

// Most responses fit, and a larger first buffer costs more than all the rest of a short command.
const SMALL_RESPONSE = 96;

function frame(response: Response): Uint8Array {
  return join(TPM_ST.NO_SESSIONS, [response.handles, response.parameters]);
}

function frameWithSessions(
  tpm: Tpm,
  handler: Handler,
  authorizations: readonly Authorization[],
  response: Response,
): Uint8Array {
  for (const { session } of authorizations) {
    if (session) session.nonceTpm = tpm.crypto.random(session.nonceTpm.length);
  }
  encryptFirst(tpm, authorizations, response.parameters);
  const area = new Writer(SMALL_RESPONSE);
  for (const entry of authorizations) writeAuthorization(tpm, handler.command.code, entry, response.parameters, area);
  for (const { session, attributes } of authorizations) {
    if (session) rollSession(tpm, session, (attributes & TPMA_SESSION.continueSession) !== 0);
  }
  const size = u32Bytes(response.parameters.length);
  return join(TPM_ST.SESSIONS, [response.handles, size, response.parameters, area.finish()]);
}

function encryptFirst(tpm: Tpm, authorizations: readonly Authorization[], parameters: Uint8Array): void {
  const entry = authorizations.find((other) => isSet(other, TPMA_SESSION.encrypt));
  if (entry === undefined) return;
  const size = new DataView(parameters.buffer, parameters.byteOffset).getUint16(0);
  cryptParameter(tpm, entry, 'response', parameters.subarray(2, 2 + size));
}

function writeAuthorization(tpm: Tpm, code: number, entry: Authorization, parameters: Uint8Array, area: Writer): void {
  const { session } = entry;
  const attributes = responseAttributes(tpm, entry);
  const hmac =
    session === undefined
      ? EMPTY
      : responseHmac(tpm, entry, rpHash(tpm, session.authHash, code, parameters), attributes);
  for (const field of [session?.nonceTpm ?? EMPTY, undefined, hmac]) {
    if (field === undefined) area.u8(attributes, 'sessionAttributes');
    else {
      area.u16(field.length, 'size');
      area.put(field, 'buffer');
    }
  }
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
  return tpm.crypto.hash(alg, u32Bytes(TPM_RC.SUCCESS), u32Bytes(code), parameters);
}

// Part 1, 17.8: what a session audits, and which session is the exclusive one.
function updateAudit(
  tpm: Tpm,
  handler: Handler,
  entry: Authorization | undefined,
  auditCpHash: Uint8Array | undefined,
  response: Response,
): void {
  const { session } = entry ?? {};
  if (entry === undefined || session === undefined || auditCpHash === undefined) {
    // A command that cannot carry a session says nothing about one.
    if (handler.command.sessions !== 'never') tpm.volatile.exclusiveAudit = 0;
    return;
  }
  const isFresh = session.auditDigest === undefined || isSet(entry, TPMA_SESSION.auditReset);
  const before = isFresh ? zeroDigest(session.authHash) : session.auditDigest;
  const after = rpHash(tpm, session.authHash, handler.command.code, response.parameters);
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
}

function join(tag: number, parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, HEADER);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, tag);
  view.setUint32(2, size);
  view.setUint32(6, TPM_RC.SUCCESS);
  let offset = HEADER;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
