/**
 * Commands and responses as whole buffers: header, handles, authorisations and parameters. TPM 2.0 Part 1, clause 18;
 * Part 3, clause 5.
 */
import { type Codec, type Infer, Reader, repeated, sized, struct, u32, WireError, Writer } from '@casemate/wire';
import { u32At } from './bytes.js';
import { TPM_RC } from './constants/responses.js';
import { TPM_ST } from './constants/sessions.js';
import { TpmError, type TpmErrorDetails } from './response-code.js';
import { LIMITS } from './structures/limits.js';
import { TpmsAuthCommand, TpmsAuthResponse } from './structures/sessions.js';

/** Tag, size and code: what both a command and a response start with. */
const HEADER_SIZE = 10;

/** A command whose parameters are not decoded. */
export interface CommandFrame {
  /** The command code. */
  readonly code: number;
  /** The handles in wire order, unchecked. */
  readonly handles: readonly number[];
  /** The authorisations; with none the tag is TPM_ST_NO_SESSIONS. */
  readonly auths: readonly TpmsAuthCommand[];
  /** The encoded parameters, perhaps with the first one encrypted. */
  readonly parameters: Uint8Array;
}

/** A response whose parameters are not decoded. */
export interface ResponseFrame {
  /** All 32 bits; anything but 0 leaves the rest empty. */
  readonly responseCode: number;
  /** The handles in wire order, unchecked. */
  readonly handles: readonly number[];
  /** The encoded parameters, perhaps with the first one encrypted. */
  readonly parameters: Uint8Array;
  /** One answer for each authorisation of the command. */
  readonly auths: readonly TpmsAuthResponse[];
}

/** How long a command or response may be. */
export interface FrameLimits {
  /** In bytes with the header; 4096 unless told otherwise. */
  readonly maxSize?: number;
}

/**
 * How many handles a command of this code has; `undefined` for a code that is not implemented. `commandByCode.get` fits
 * after a wrap.
 */
export type CommandLookup = (code: number) => { readonly handles: { readonly length: number } } | undefined;

/** What {@link encodeRequest} must know of the command. */
export interface RequestShape {
  /** The command code. */
  readonly code: number;
  /** The parameters of the request. */
  readonly parameters: Codec<unknown>;
}

/** What {@link decodeResponse} must know of the command that was sent: how many handles come back. */
export interface ResponseShape {
  /** The name for messages. */
  readonly name: string;
  /** The handles of a successful response. */
  readonly responseHandles: { readonly length: number };
}

/**
 * Encodes a command. Throws `WireError` where a value does not fit, and `TpmError` (`usage`) where the command becomes
 * too long. The result may share its `ArrayBuffer` with other frames: mind `byteOffset`, and do not transfer it.
 */
export function encodeCommand(frame: CommandFrame, limits: FrameLimits = {}): Uint8Array {
  const w = beginFrame();
  writeCommandHead(w, frame.code, frame.handles, frame.auths);
  w.put(frame.parameters, 'parameters');
  return endFrame(w, 'command', limits);
}

/** {@link encodeCommand} for parameters that are not encoded yet, in one go; members that are no parameters are ignored. */
export function encodeRequest<C extends RequestShape>(
  command: C,
  request: Omit<CommandFrame, 'code' | 'parameters'> & { readonly parameters: Infer<C['parameters']> },
  limits: FrameLimits = {},
): Uint8Array {
  const w = beginFrame();
  writeCommandHead(w, command.code, request.handles, request.auths);
  command.parameters.write(w, request.parameters);
  return endFrame(w, 'command', limits);
}

/**
 * Decodes a command as far as its parameters. Whoever sent it controls every byte.
 * Throws `TpmError` (`decode`) whose `response` is what a TPM answers: TPM_RC_COMMAND_SIZE, TPM_RC_BAD_TAG, TPM_RC_COMMAND_CODE,
 * TPM_RC_INSUFFICIENT for a missing handle, TPM_RC_AUTHSIZE or the code for a malformed session.
 */
export function decodeCommand(bytes: Uint8Array, lookup: CommandLookup, limits: FrameLimits = {}): CommandFrame {
  assertCommandSize(bytes, limits);
  const r = new Reader(bytes);
  const tag = r.u16('tag');
  if (tag !== TPM_ST.NO_SESSIONS && tag !== TPM_ST.SESSIONS) {
    throw malformed(`expected tag 0x8001 or 0x8002, got 0x${tag.toString(16)}`, TPM_RC.BAD_TAG);
  }
  const size = r.u32('commandSize');
  if (size !== bytes.length) {
    throw malformed(`expected ${size} bytes as the header says, got ${bytes.length}`, TPM_RC.COMMAND_SIZE);
  }
  const code = r.u32('commandCode');
  const command = lookup(code);
  if (command === undefined) throw malformed(`command code 0x${code.toString(16)} is unknown`, TPM_RC.COMMAND_CODE);
  const handles = readCommandHandles(r, command.handles.length);
  const auths = tag === TPM_ST.SESSIONS ? readCommandAuths(r) : [];
  return { code, handles, auths, parameters: r.take(r.remaining, 'parameters') };
}

/** Encodes a response; one with another code than 0 is its header alone. Throws and shares as {@link encodeCommand} does. */
export function encodeResponse(frame: ResponseFrame, limits: FrameLimits = {}): Uint8Array {
  const { responseCode, handles, parameters, auths } = frame;
  const hasAuths = responseCode === TPM_RC.SUCCESS && auths.length > 0;
  const w = beginFrame();
  w.u16(tagOf(responseCode, hasAuths), 'tag');
  w.u32(0, 'responseSize');
  w.u32(responseCode, 'responseCode');
  if (responseCode !== TPM_RC.SUCCESS) return endFrame(w, 'response', limits);
  for (const handle of handles) w.u32(handle, 'handle');
  if (hasAuths) w.u32(parameters.length, 'parameterSize');
  w.put(parameters, 'parameters');
  if (hasAuths) ResponseAuthArea.write(w, { auths });
  return endFrame(w, 'response', limits);
}

/**
 * Decodes the response to `command` as far as its parameters. The TPM, and whoever stands between, controls every byte.
 * A response code other than success is a result here, not an error. `parameters` is a view of `bytes`, which the
 * caller must not change any more. Throws `TpmError` (`decode`).
 */
export function decodeResponse(command: ResponseShape, bytes: Uint8Array, limits?: FrameLimits): ResponseFrame {
  const { responseCode, handles, parameters, auths } = decodeWith(command, bytes, limits, takeRest);
  return { responseCode, handles, parameters: parameters ?? new Uint8Array(), auths };
}

/** What {@link decodeAnswer} must know of the command that was sent. */
export interface AnswerShape extends ResponseShape {
  /** The parameters of the response. */
  readonly response: Codec<unknown>;
}

/** How {@link decodeAnswer} decodes. */
export interface AnswerOptions extends FrameLimits {
  /** Give out copies of byte strings, so that the response may change or be dropped. Default false: views of it. */
  readonly copy?: boolean;
}

/** A response whose parameters are decoded; without success, `parameters` is `undefined`. */
export type AnswerFrame<C extends AnswerShape> = Omit<ResponseFrame, 'parameters'> & {
  /** The decoded parameters; byte strings in them are views of the response unless copies were asked for. */
  readonly parameters: Infer<C['response']> | undefined;
};

/** {@link decodeResponse} and the parameters in one go, for responses in which no session encrypted the first one. */
export function decodeAnswer<C extends AnswerShape>(
  command: C,
  bytes: Uint8Array,
  options?: AnswerOptions,
): AnswerFrame<C> {
  // The command's codec reads what Infer says it reads.
  return decodeWith(command, bytes, options, readParameters) as AnswerFrame<C>;
}

function takeRest(r: Reader): Uint8Array {
  return r.take(r.remaining, 'parameters');
}

function readParameters(r: Reader, command: AnswerShape): unknown {
  return command.response.read(r);
}

const SHARED = { shared: true } as const;
const NONE: readonly never[] = [];

const CommandAuths = repeated('authorizations', TpmsAuthCommand, { max: LIMITS.MAX_SESSION_NUM });
// Structures and not bare lists, so that they are compiled with what they hold.
const CommandAuthArea = struct('authorization area', { auths: sized('authorizationSize', u32, CommandAuths) });
const ResponseAuthArea = struct('authorization area', {
  auths: repeated('authorizations', TpmsAuthResponse, { max: LIMITS.MAX_SESSION_NUM }),
});

type Decoded<P> = Omit<ResponseFrame, 'parameters'> & { readonly parameters: P | undefined };

function decodeWith<C extends ResponseShape, P>(
  command: C,
  bytes: Uint8Array,
  options: AnswerOptions | undefined,
  readBody: (r: Reader, command: C) => P,
): Decoded<P> {
  const maxSize = options?.maxSize ?? LIMITS.MAX_COMMAND_SIZE;
  if (bytes.length > maxSize)
    throw malformedResponse(command, `expected at most ${maxSize} bytes, got ${bytes.length}`, at('', maxSize));
  try {
    const reader = options?.copy === true ? new Reader(bytes) : new Reader(bytes, SHARED);
    return readResponse(reader, command, readBody);
  } catch (error) {
    throw error instanceof WireError ? malformedResponse(command, error.message, { cause: error }) : error;
  }
}

function readResponse<C extends ResponseShape, P>(
  r: Reader,
  command: C,
  readBody: (r: Reader, command: C) => P,
): Decoded<P> {
  const { tag, size, responseCode } = readHeader(r);
  if (size !== r.bytes.length) {
    throw malformedResponse(command, `expected ${size} bytes as the header says, got ${r.bytes.length}`, SIZE);
  }
  if (responseCode !== TPM_RC.SUCCESS) {
    // The second is how a TPM 1.2 answers, and a TPM that cannot tell which family spoke to it.
    if (tag !== TPM_ST.NO_SESSIONS && tag !== TPM_ST.RSP_COMMAND) {
      throw malformedResponse(command, `expected tag 0x8001 or 0x00c4 without success, got 0x${tag.toString(16)}`, TAG);
    }
    r.finish('a response without success');
    return { responseCode, handles: NONE, parameters: undefined, auths: NONE };
  }
  if (tag !== TPM_ST.NO_SESSIONS && tag !== TPM_ST.SESSIONS) {
    throw malformedResponse(command, `expected tag 0x8001 or 0x8002, got 0x${tag.toString(16)}`, TAG);
  }
  const handles = readHandles(r, command.responseHandles.length);
  const length = tag === TPM_ST.SESSIONS ? r.u32('parameterSize') : r.remaining;
  const end = r.enter(length, 'parameters');
  const parameters = readBody(r, command);
  r.leave(end, 'parameters');
  const auths = tag === TPM_ST.SESSIONS ? readResponseAuths(r, command) : NONE;
  return { responseCode, handles, parameters, auths };
}

function readHeader(r: Reader): { readonly tag: number; readonly size: number; readonly responseCode: number } {
  r.need(HEADER_SIZE, 'header');
  const { bytes } = r;
  r.move(HEADER_SIZE, bytes.length);
  return { tag: u32At(bytes, 0) >>> 16, size: u32At(bytes, 2), responseCode: u32At(bytes, 6) };
}

function readResponseAuths(r: Reader, command: ResponseShape): readonly TpmsAuthResponse[] {
  const { auths } = ResponseAuthArea.read(r);
  r.finish('authorizations');
  if (auths.length === 0) {
    throw malformedResponse(command, 'expected authorisations as tag 0x8002 says, got none', at('auths', r.offset));
  }
  return auths;
}

function readHandles(r: Reader, count: number): readonly number[] {
  if (count === 0) return NONE;
  const handles: number[] = [];
  while (handles.length < count) handles.push(r.u32('handle'));
  return handles;
}

function readCommandHandles(r: Reader, count: number): readonly number[] {
  const there = Math.floor(r.remaining / 4);
  if (there < count) {
    const rc = TPM_RC.INSUFFICIENT | ((there + 1) << 8);
    throw malformed(`expected ${count} handles, got ${r.remaining} bytes for them`, rc);
  }
  return readHandles(r, count);
}

function readCommandAuths(r: Reader): readonly TpmsAuthCommand[] {
  if (r.remaining < 4) throw malformed('expected the size of the authorisations', TPM_RC.INSUFFICIENT);
  const size = r.u32('authorizationSize');
  // The smallest session is nine bytes long: a handle, two empty buffers and one octet of attributes.
  if (size < 9 || size > r.remaining) {
    throw malformed(`expected 9 to ${r.remaining} bytes of authorisations, got ${size}`, TPM_RC.AUTHSIZE);
  }
  try {
    return r.bounded(size, 'authorizations', () => CommandAuths.read(r));
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw malformed(error.message, authFailure(error), error);
  }
}

/** The first step of the path of `error` is the number of the session at fault. */
function authFailure(error: WireError): number {
  if (error.code === 'too-long' && error.path === '') return TPM_RC.AUTHSIZE;
  const session = (Number.parseInt(error.path, 10) + 9) << 8;
  if (error.code === 'truncated') return TPM_RC.INSUFFICIENT | session;
  if (error.code === 'reserved-bits') return TPM_RC.RESERVED_BITS | session;
  return (error.code === 'too-long' ? TPM_RC.SIZE : TPM_RC.VALUE) | session;
}

function assertCommandSize(bytes: Uint8Array, limits: FrameLimits): void {
  const { maxSize = LIMITS.MAX_COMMAND_SIZE } = limits;
  if (bytes.length >= HEADER_SIZE && bytes.length <= maxSize) return;
  throw malformed(`expected ${HEADER_SIZE} to ${maxSize} bytes, got ${bytes.length}`, TPM_RC.COMMAND_SIZE);
}

function malformedResponse(command: ResponseShape, problem: string, details: TpmErrorDetails): TpmError {
  return new TpmError('decode', `decode response to ${command.name}: ${problem}`, details);
}

function at(path: string, offset: number): TpmErrorDetails {
  return { at: { path, offset } };
}

const TAG = at('tag', 0);
const SIZE = at('responseSize', 2);

function malformed(problem: string, responseCode: number, cause?: unknown): TpmError {
  return new TpmError(
    'decode',
    `decode command: ${problem}`,
    cause === undefined ? { responseCode } : { responseCode, cause },
  );
}

/** Frames are short-lived and many, so they are cut from larger buffers, no part of which is used twice. */
let idle: Writer | undefined;

/** A writer that stands at the start of a frame. It is not idle until the frame has an end: a codec may itself encode one. */
function beginFrame(): Writer {
  const w = idle ?? new Writer(16 * LIMITS.MAX_COMMAND_SIZE);
  idle = undefined;
  return w;
}

/** Puts the size into the header. A frame that fails before takes its writer with it. */
function endFrame(w: Writer, what: string, limits: FrameLimits): Uint8Array {
  const { maxSize = LIMITS.MAX_COMMAND_SIZE } = limits;
  const size = w.offset;
  if (size > maxSize) throw new TpmError('usage', `encode ${what}: expected at most ${maxSize} bytes, got ${size}`);
  w.patchU32(2, size);
  idle = w;
  return w.cut();
}

function writeCommandHead(
  w: Writer,
  code: number,
  handles: readonly number[],
  auths: readonly TpmsAuthCommand[],
): void {
  w.u16(auths.length > 0 ? TPM_ST.SESSIONS : TPM_ST.NO_SESSIONS, 'tag');
  w.u32(0, 'commandSize');
  w.u32(code, 'commandCode');
  for (const handle of handles) w.u32(handle, 'handle');
  if (auths.length > 0) CommandAuthArea.write(w, { auths });
}

function tagOf(responseCode: number, hasAuths: boolean): number {
  // A TPM that cannot tell which family spoke to it answers as a TPM 1.2 does. TPM 2.0 Part 3, clause 5.2.
  if (responseCode === TPM_RC.BAD_TAG) return TPM_ST.RSP_COMMAND;
  return hasAuths ? TPM_ST.SESSIONS : TPM_ST.NO_SESSIONS;
}
