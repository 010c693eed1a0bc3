/** Commands and responses as whole buffers: header, handles, parameters, authorisations. TPM 1.2 Main Part 3, clause 2. */
import { type Codec, Reader, WireError, Writer } from '@casemate/wire';
import { TpmError } from '../response-code.js';
import type { AnyCommand12 } from './command.js';
import { TPM_TAG_FRAME } from './constants.js';
import { parseResult, TPM_RESULT } from './result.js';
import { AuthCommand12, AuthResponse12 } from './structures/authorization.js';

/** A command whose parameters are not decoded. */
export interface CommandFrame12 {
  /** The ordinal. */
  readonly ordinal: number;
  /** The handles in wire order. */
  readonly handles: readonly number[];
  /** The encoded parameters. */
  readonly parameters: Uint8Array;
  /** None, one or two authorisations; their number is the tag. */
  readonly auths: readonly AuthCommand12[];
}

/** A response whose parameters are not decoded. */
export interface ResponseFrame12 {
  /** All 32 bits; anything but 0 leaves the rest empty. */
  readonly returnCode: number;
  /** The handles in wire order. */
  readonly handles: readonly number[];
  /** The encoded parameters. */
  readonly parameters: Uint8Array;
  /** One answer for each authorisation of the command. */
  readonly auths: readonly AuthResponse12[];
}

/** The longest command or response; TPMs of this family have buffers of 768 to 4096 bytes. */
const MAX_FRAME_12 = 4096;

/** Encodes a command. Throws `WireError` where a value does not fit, `TpmError` (`usage`) where the command becomes too long. */
export function encodeCommand12(frame: CommandFrame12): Uint8Array {
  const tag = COMMAND_TAGS[frame.auths.length];
  return encodeFrame('command', tag, frame.ordinal, frame.handles, frame.parameters, AuthCommand12, frame.auths);
}

/** Encodes a response; one with another code than 0 is its header alone. Throws as {@link encodeCommand12} does. */
export function encodeResponse12(frame: ResponseFrame12): Uint8Array {
  const { returnCode, handles, parameters, auths } = frame;
  if (returnCode !== TPM_RESULT.SUCCESS) {
    return encodeFrame('response', RESPONSE_TAGS[0], returnCode, [], new Uint8Array(0), AuthResponse12, []);
  }
  return encodeFrame('response', RESPONSE_TAGS[auths.length], returnCode, handles, parameters, AuthResponse12, auths);
}

/**
 * Decodes a command as far as its parameters; `lookup` says how many handles a command of an ordinal has. Whoever sent it
 * controls every byte. Throws `TpmError` (`decode`) whose `response` is what a TPM answers.
 */
export function decodeCommand12(
  bytes: Uint8Array,
  lookup: (ordinal: number) => { readonly handles: { readonly length: number } } | undefined,
): CommandFrame12 {
  try {
    const r = openFrame(bytes);
    const auths = COMMAND_TAGS.indexOf(r.u16('tag'));
    if (auths < 0) throw malformedCommand('expected tag 0xc1 to 0xc3', TPM_RESULT.BADTAG);
    assertSize(r, bytes);
    const ordinal = r.u32('ordinal');
    const command = lookup(ordinal);
    if (command === undefined) {
      throw malformedCommand(`ordinal 0x${ordinal.toString(16)} is unknown`, TPM_RESULT.BAD_ORDINAL);
    }
    return { ordinal, ...readBody(r, command.handles.length, auths, AuthCommand12, 45) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw malformedCommand(error.message, TPM_RESULT.BAD_PARAM_SIZE, error);
  }
}

/**
 * Decodes the response to a command that carried `auths` authorisations, as far as its parameters. The TPM, and whoever
 * stands between, controls every byte. A return code other than success is a result here, not an error. Throws
 * `TpmError` (`decode`).
 */
export function decodeResponse12(
  command: Pick<AnyCommand12, 'name' | 'responseHandles'>,
  auths: number,
  bytes: Uint8Array,
): ResponseFrame12 {
  try {
    const r = openFrame(bytes);
    const tag = r.u16('tag');
    assertSize(r, bytes);
    const returnCode = r.u32('returnCode');
    if (returnCode !== TPM_RESULT.SUCCESS) {
      r.finish('a response without success');
      return { returnCode, handles: [], parameters: new Uint8Array(0), auths: [] };
    }
    if (tag !== RESPONSE_TAGS[auths]) {
      throw malformedResponse(command.name, `expected the tag of ${auths} authorisations, got 0x${tag.toString(16)}`);
    }
    return { returnCode, ...readBody(r, command.responseHandles.length, auths, AuthResponse12, 41) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw malformedResponse(command.name, error.message, error);
  }
}

const COMMAND_TAGS: readonly number[] = [
  TPM_TAG_FRAME.RQU_COMMAND,
  TPM_TAG_FRAME.RQU_AUTH1_COMMAND,
  TPM_TAG_FRAME.RQU_AUTH2_COMMAND,
];
const RESPONSE_TAGS: readonly number[] = [
  TPM_TAG_FRAME.RSP_COMMAND,
  TPM_TAG_FRAME.RSP_AUTH1_COMMAND,
  TPM_TAG_FRAME.RSP_AUTH2_COMMAND,
];

function encodeFrame<A>(
  what: string,
  tag: number | undefined,
  code: number,
  handles: readonly number[],
  parameters: Uint8Array,
  authCodec: Codec<A>,
  auths: readonly A[],
): Uint8Array {
  if (tag === undefined) {
    throw new TpmError('usage', `encode ${what}: expected at most 2 authorisations, got ${auths.length}`);
  }
  const w = new Writer();
  w.u16(tag, 'tag');
  w.u32(0, 'paramSize');
  w.u32(code, 'code');
  for (const handle of handles) w.u32(handle, 'handle');
  w.put(parameters, 'parameters');
  for (const auth of auths) authCodec.write(w, auth);
  const size = w.offset;
  if (size > MAX_FRAME_12) {
    throw new TpmError('usage', `encode ${what}: expected at most ${MAX_FRAME_12} bytes, got ${size}`);
  }
  w.patch(2, () => w.u32(size, 'paramSize'));
  return w.finish();
}

function openFrame(bytes: Uint8Array): Reader {
  if (bytes.length <= MAX_FRAME_12) return new Reader(bytes);
  const problem = `expected at most ${MAX_FRAME_12} bytes, got ${bytes.length}`;
  throw new WireError('too-long', 'decode frame', problem, 0);
}

function assertSize(r: Reader, bytes: Uint8Array): void {
  const size = r.u32('paramSize');
  if (size === bytes.length) return;
  const problem = `expected ${size} bytes as the header says, got ${bytes.length}`;
  throw new WireError('bad-value', 'decode frame', problem, 2);
}

function readBody<A>(r: Reader, handleCount: number, authCount: number, authCodec: Codec<A>, authSize: number) {
  const handles: number[] = [];
  while (handles.length < handleCount) handles.push(r.u32('handle'));
  // Nothing says where the parameters end but the authorisations behind them, whose size is fixed.
  r.need(authCount * authSize, 'authorizations');
  const parameters = r.take(r.remaining - authCount * authSize, 'parameters');
  const auths: A[] = [];
  while (auths.length < authCount) auths.push(authCodec.read(r));
  return { handles, parameters, auths };
}

function malformedCommand(problem: string, result: number, cause?: unknown): TpmError {
  const response = parseResult(result);
  return new TpmError('decode', `decode command: ${problem}`, cause === undefined ? { response } : { response, cause });
}

function malformedResponse(name: string, problem: string, cause?: unknown): TpmError {
  return new TpmError('decode', `decode response to ${name}: ${problem}`, cause === undefined ? {} : { cause });
}
