/** What happened in a recording, exchange by exchange, in the words of the specification (TPM 2.0 Part 1, clause 18). */
import { decode, WireError } from '@casemate/wire';
import type { AnyCommand } from '../command.js';
import { StartAuthSession } from '../commands/session.js';
import { commandByCode } from '../commands/table.js';
import { TPMA_SESSION } from '../constants/attributes.js';
import { TPM_CC } from '../constants/commands.js';
import { TPM_HT, TPM_RS } from '../constants/handles.js';
import { TPM_RC } from '../constants/responses.js';
import { TPM_SE } from '../constants/sessions.js';
import { type CommandFrame, decodeCommand, decodeResponse, type ResponseFrame } from '../framing.js';
import { parseResponseCode, type ResponseCode, TpmError } from '../response-code.js';
import type { TpmsAuthCommand, TpmsAuthResponse } from '../structures/sessions.js';
import { type Exchange, exchangesIn } from './exchange.js';
import { flagNames, handleName } from './names.js';
import { MAX_FRAME, type RecordedCommand, type RecordedResponse, type Recording } from './recording.js';
import { secretRequestFields, secretResponseFields } from './secret.js';
import { type SpellOptions, spellParameters } from './spell.js';
import { hexNumber, type Spelled } from './spelled.js';

/** How a recording is explained. */
export interface ExplainOptions {
  /** Shows authorization values, sealed data, random numbers and other secrets, which are left out otherwise. */
  readonly unsafeShowSecrets?: boolean;
}

/** A field with its spelled value. */
export type NamedValue = readonly [name: string, value: Spelled];

/** A session of a command, or the answer to it in the response. */
export interface ExplainedSession {
  /** The session, or the password; none in a response, which answers in the order of the command. */
  readonly handle: Spelled | undefined;
  /** Names of the bits of `TPMA_SESSION`. */
  readonly attributes: readonly string[];
  /** The nonce of whoever sent this. */
  readonly nonce: Spelled;
  /** The HMAC, or the password. */
  readonly hmac: Spelled;
}

/** A command, explained. */
export interface ExplainedCommand {
  /** Its name in the specification; for others the code in hexadecimal. */
  readonly name: string;
  /** Its code. */
  readonly code: number;
  /** Bytes with the header. */
  readonly size: number;
  /** The locality it was sent from, where that is known. */
  readonly locality: number | undefined;
  /** The handles by name. */
  readonly handles: readonly NamedValue[];
  /** The authorisations. */
  readonly sessions: readonly ExplainedSession[];
  /** The parameters by name. */
  readonly parameters: readonly NamedValue[];
  /** Why it could not be decoded in full. */
  readonly problem: string | undefined;
}

/** A response, explained. */
export interface ExplainedResponse {
  /** The response code taken apart. */
  readonly code: ResponseCode;
  /** The handle, session or parameter that it blames, with its name in the command. */
  readonly blames: string | undefined;
  /** Bytes with the header. */
  readonly size: number;
  /** The handles by name. */
  readonly handles: readonly NamedValue[];
  /** The answers to the authorisations. */
  readonly sessions: readonly ExplainedSession[];
  /** The parameters by name. */
  readonly parameters: readonly NamedValue[];
  /** Why it could not be decoded in full. */
  readonly problem: string | undefined;
}

/** A command with what came of it, or something beside commands. */
export interface ExplainedExchange {
  /** Counted from 1. */
  readonly number: number;
  /** Which connection, counted from 0. */
  readonly connection: number;
  /** Microseconds since 1970 when it began, where that is known. */
  readonly time: number | undefined;
  /** Microseconds until the response, where that is known. */
  readonly duration: number | undefined;
  /** The command; none where the recording began after it. */
  readonly command: ExplainedCommand | undefined;
  /** The response; none where there was none. */
  readonly response: ExplainedResponse | undefined;
  /** Why there was no response. */
  readonly error: { readonly code: string; readonly message: string } | undefined;
  /** Something beside commands. */
  readonly control: { readonly action: string; readonly argument: number | undefined } | undefined;
}

/**
 * Explains every exchange of a recording. Bytes that do not decode are told in `problem`, never thrown: whoever made the recording
 * controls them all. Secrets that passed in the clear are left out unless `unsafeShowSecrets`.
 */
export function explainRecording(recording: Recording, options: ExplainOptions = {}): readonly ExplainedExchange[] {
  const contexts = new Map<number, Context>();
  return exchangesIn(recording.events).map((exchange, i) => {
    const { connection, time } = eventOf(exchange);
    const context = contexts.get(connection) ?? newContext();
    contexts.set(connection, context);
    return explain(exchange, { number: i + 1, connection, time }, context, options);
  });
}

/** What earlier commands of a connection tell about later ones. */
interface Context {
  /** Policy sessions that are known not to carry a password where an HMAC is expected. */
  readonly hmacPolicies: Set<number>;
  /** Which exchange made an object or session. */
  readonly origins: Map<number, string>;
}

function newContext(): Context {
  return { hmacPolicies: new Set(), origins: new Map() };
}

function eventOf(exchange: Exchange): { readonly connection: number; readonly time: number | undefined } {
  const event = exchange.command ?? exchange.response ?? exchange.error ?? exchange.control;
  return event ?? { connection: 0, time: undefined };
}

function explain(
  exchange: Exchange,
  place: Pick<ExplainedExchange, 'number' | 'connection' | 'time'>,
  context: Context,
  options: ExplainOptions,
): ExplainedExchange {
  const { response, error, control } = exchange;
  const spelling = { ...options, nameHandle: (handle: number) => nameHandle(handle, context) };
  const read = exchange.command && readCommand(exchange.command);
  const command = exchange.command && read && explainCommand(exchange.command, read, context, spelling);
  const answer = response && readResponse(response, read);
  if (read && answer?.frame) noteEffects(place.number, read, answer.frame, context);
  const end = response?.time ?? error?.time;
  return {
    ...place,
    duration: place.time === undefined || end === undefined ? undefined : Math.max(0, end - place.time),
    command,
    response: response && answer && explainResponse(response, answer, read, spelling),
    error: error && { code: error.code, message: error.message },
    control: control && { action: control.action, argument: control.argument },
  };
}

/** A command as far as it could be taken apart. */
interface ReadCommand {
  readonly code: number;
  readonly command: AnyCommand | undefined;
  readonly frame: CommandFrame | undefined;
  readonly problem: string | undefined;
}

function readCommand({ bytes }: RecordedCommand): ReadCommand {
  const code = codeAt(bytes);
  if ((bytes[0] ?? 0) === 0)
    return { code, command: undefined, frame: undefined, problem: 'it is a command of TPM 1.2' };
  const command = commandByCode.get(code);
  if (!command) return { code, command, frame: undefined, problem: 'the specification has no command with this code' };
  try {
    const frame = decodeCommand(bytes, (wanted) => commandByCode.get(wanted), { maxSize: MAX_FRAME });
    return { code, command, frame, problem: undefined };
  } catch (error) {
    return { code, command, frame: undefined, problem: problemOf(error) };
  }
}

function explainCommand(
  event: RecordedCommand,
  { code, command, frame, problem }: ReadCommand,
  context: Context,
  options: SpellOptions,
): ExplainedCommand {
  const handles = (frame?.handles ?? []).map(
    (handle, i): NamedValue => [command?.handles[i]?.name ?? 'handle', spellHandle(handle, options)],
  );
  const sessions = (frame?.auths ?? []).map((auth) => explainAuth(auth, context, options));
  const encrypted = (frame?.auths ?? []).some((auth) => isSession(auth) && has(auth, TPMA_SESSION.decrypt));
  const secretFields = secretRequestFields(code, frame?.handles ?? []);
  const body =
    command && frame
      ? spellParameters(command.parameters, frame.parameters, { ...options, secretFields, encrypted })
      : { parameters: [], problem };
  const name = command?.name ?? hexNumber(code, 8);
  return { name, code, size: event.bytes.length, locality: event.locality, handles, sessions, ...body };
}

/** A response as far as it could be taken apart. */
interface ReadResponse {
  readonly code: number;
  readonly frame: ResponseFrame | undefined;
  readonly problem: string | undefined;
}

function readResponse({ bytes }: RecordedResponse, read: ReadCommand | undefined): ReadResponse {
  const code = codeAt(bytes);
  if (!read?.command) {
    const problem = code === TPM_RC.SUCCESS ? 'what it answers is not known' : undefined;
    return { code, frame: undefined, problem };
  }
  try {
    return { code, frame: decodeResponse(read.command, bytes, { maxSize: MAX_FRAME }), problem: undefined };
  } catch (error) {
    return { code, frame: undefined, problem: problemOf(error) };
  }
}

function explainResponse(
  event: RecordedResponse,
  { code: bits, frame, problem }: ReadResponse,
  read: ReadCommand | undefined,
  options: SpellOptions,
): ExplainedResponse {
  const code = parseResponseCode(bits);
  const { command } = read ?? {};
  const size = event.bytes.length;
  const blames = blamed(code, command, read?.frame);
  if (!command || !frame || bits !== TPM_RC.SUCCESS) {
    return { code, blames, size, handles: [], sessions: [], parameters: [], problem };
  }
  const handles = frame.handles.map(
    (handle, i): NamedValue => [command.responseHandles[i]?.name ?? 'handle', spellHandle(handle, options)],
  );
  const encrypted = frame.auths.some((auth, i) => {
    const asked = read?.frame?.auths[i];
    return asked !== undefined && isSession(asked) && has(auth, TPMA_SESSION.encrypt);
  });
  const secretFields = secretResponseFields(command.code, read?.frame?.handles ?? []);
  const body = spellParameters(command.response, frame.parameters, { ...options, secretFields, encrypted });
  const sessions = frame.auths.map((auth) => explainAnswer(auth));
  return { code, blames, size, handles, sessions, ...body };
}

function explainAuth(auth: TpmsAuthCommand, context: Context, options: SpellOptions): ExplainedSession {
  const isSecret = auth.hmac.length > 0 && !options.unsafeShowSecrets && isPassword(auth, context);
  return {
    handle: spellHandle(auth.sessionHandle, options),
    attributes: flagNames('TPMA_SESSION', auth.sessionAttributes) ?? [],
    nonce: { kind: 'bytes', bytes: auth.nonce },
    hmac: isSecret ? { kind: 'redacted', length: undefined } : { kind: 'bytes', bytes: auth.hmac },
  };
}

function explainAnswer(auth: TpmsAuthResponse): ExplainedSession {
  return {
    handle: undefined,
    attributes: flagNames('TPMA_SESSION', auth.sessionAttributes) ?? [],
    nonce: { kind: 'bytes', bytes: auth.nonce },
    hmac: { kind: 'bytes', bytes: auth.hmac },
  };
}

/** After TPM2_PolicyPassword a policy session carries the plain password where its HMAC would be. */
function isPassword({ sessionHandle }: TpmsAuthCommand, context: Context): boolean {
  if (sessionHandle === TPM_RS.PW) return true;
  return sessionHandle >>> 24 === TPM_HT.POLICY_SESSION && !context.hmacPolicies.has(sessionHandle);
}

function noteEffects(number: number, read: ReadCommand, answer: ResponseFrame, context: Context): void {
  const { command, frame } = read;
  if (!command || !frame || answer.responseCode !== TPM_RC.SUCCESS) return;
  const [made] = answer.handles;
  if (made !== undefined) context.origins.set(made, `of #${number}`);
  if (read.code === TPM_CC.FlushContext) context.origins.delete(flushedHandle(frame));
  noteSession(read.code, frame, made, context);
}

function noteSession(code: number, frame: CommandFrame, made: number | undefined, { hmacPolicies }: Context): void {
  // Of a session that was started before the recording nothing is known, so it is never in the set.
  if (code === TPM_CC.StartAuthSession && made !== undefined && startsPolicy(frame)) hmacPolicies.add(made);
  const [session] = frame.handles;
  if (code === TPM_CC.PolicyPassword && session !== undefined) hmacPolicies.delete(session);
}

function startsPolicy({ parameters }: CommandFrame): boolean {
  try {
    return decode(StartAuthSession.parameters, parameters).sessionType === TPM_SE.POLICY;
  } catch {
    return false; // told as the problem of that command already
  }
}

/** TPM2_FlushContext names what it flushes as a parameter. */
function flushedHandle({ parameters }: CommandFrame): number {
  return ((u16At(parameters, 0) << 16) | u16At(parameters, 2)) >>> 0;
}

function blamed(
  code: ResponseCode,
  command: AnyCommand | undefined,
  frame: CommandFrame | undefined,
): string | undefined {
  if (!code.origin) return undefined;
  const { kind, index } = code.origin;
  const label = `${kind} ${index}`;
  if (!command) return label;
  if (kind === 'handle') return named(label, command.handles[index - 1]?.name);
  if (kind === 'parameter') return named(label, Object.keys(command.parameters.fields)[index - 1]);
  const session = frame?.auths[index - 1]?.sessionHandle;
  return named(label, session === undefined ? undefined : `${hexNumber(session, 8)}`);
}

function named(label: string, name: string | undefined): string {
  return name === undefined ? label : `${label} (${name})`;
}

function nameHandle(handle: number, context: Context): string {
  const origin = context.origins.get(handle);
  return origin === undefined ? handleName(handle) : `${handleName(handle)} ${origin}`;
}

function spellHandle(handle: number, options: SpellOptions): Spelled {
  return { kind: 'handle', value: handle, name: (options.nameHandle ?? handleName)(handle) };
}

function isSession(auth: TpmsAuthCommand): boolean {
  return auth.sessionHandle !== TPM_RS.PW;
}

function has(auth: { readonly sessionAttributes: number }, bit: number): boolean {
  return (auth.sessionAttributes & bit) !== 0;
}

function codeAt(bytes: Uint8Array): number {
  return bytes.length < 10 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(6);
}

function u16At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function problemOf(error: unknown): string {
  if (error instanceof TpmError || error instanceof WireError) return error.message;
  throw error;
}
