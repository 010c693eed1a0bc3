/**
 * The short way of a call: a stream between the application and where its PAL runs (a thread, or the monitor of its machine), so that
 * the isolate is not woken for it. Only the plain call goes there, a command and an input, and one at a time: frames of a
 * little-endian u32 length and
 *
 * - to the PAL: u32 time limit in milliseconds, u32 command, the input
 * - from it: u32 kind, u32 count of the texts that it printed, and with kind 0 u32 return code and the output, with kind 1 a failure
 *   (u8 code, u8 fault, UTF-8)
 *
 * The application may send anything: the other end bounds it, and may end. native/pal-monitor.c has that end for `kvm`.
 */
import { PAL_FAULTS, TRUSTVISOR_ERROR_CODES, TrustvisorError } from './error.js';
import { MAX_DATA } from './protocol.js';

/** The largest frame behind its length, in bytes. */
const MAX_LANE_FRAME = MAX_DATA + 64;

/** A call as the PAL's end reads it. */
export interface LaneCall {
  readonly timeLimit: number;
  readonly command: number;
  readonly input: Uint8Array;
}

/** How a call ended, and how many texts it printed, which come through the isolate. */
export type LaneReply = { readonly prints: number } & (
  | { readonly kind: 'returned'; readonly returnCode: number; readonly output: Uint8Array }
  | { readonly kind: 'failed'; readonly error: TrustvisorError }
);

/** A frame with a call. */
export function encodeLaneCall({ timeLimit, command, input }: LaneCall): Uint8Array {
  const { frame, view } = begin(8 + input.length);
  view.setUint32(4, timeLimit, true);
  view.setUint32(8, command, true);
  frame.set(input, 12);
  return frame;
}

/** The content of a frame with a call. Throws {@link TrustvisorError} with code `protocol`. */
export function decodeLaneCall(content: Uint8Array): LaneCall {
  const view = viewOf(content, 8);
  return { timeLimit: view.getUint32(0, true), command: view.getUint32(4, true), input: content.subarray(8) };
}

/** A frame with what a call gave. */
export function encodeLaneReturn(prints: number, returnCode: number, output: Uint8Array): Uint8Array {
  const { frame, view } = begin(12 + output.length);
  view.setUint32(8, prints, true);
  view.setUint32(12, returnCode, true);
  frame.set(output, 16);
  return frame;
}

/** A frame with a failure that {@link encodeLaneFailure} made. */
export function encodeLaneFailed(prints: number, failure: Uint8Array): Uint8Array {
  const { frame, view } = begin(8 + failure.length);
  view.setUint32(4, 1, true);
  view.setUint32(8, prints, true);
  frame.set(failure, 12);
  return frame;
}

/** A failure, without kind and count. */
export function encodeLaneFailure({ code, fault, message }: TrustvisorError): Uint8Array {
  const text = new TextEncoder().encode(message.slice(0, 4096));
  const bytes = new Uint8Array(2 + text.length);
  bytes[0] = TRUSTVISOR_ERROR_CODES.indexOf(code);
  bytes[1] = fault === undefined ? 0xff : PAL_FAULTS.indexOf(fault);
  bytes.set(text, 2);
  return bytes;
}

/** The content of a frame with a reply. Throws {@link TrustvisorError} with code `protocol`. */
export function decodeLaneReply(content: Uint8Array): LaneReply {
  const view = viewOf(content, 10);
  const prints = view.getUint32(4, true);
  if (view.getUint32(0, true) === 0) {
    if (content.length < 12) throw malformed(`expected at least 12 bytes, got ${content.length}`);
    return { kind: 'returned', prints, returnCode: view.getUint32(8, true), output: content.slice(12) };
  }
  const code = TRUSTVISOR_ERROR_CODES[content[8] ?? 0] ?? 'protocol';
  const message = new TextDecoder().decode(content.subarray(10));
  return {
    kind: 'failed',
    prints,
    error: new TrustvisorError(code, message, { fault: PAL_FAULTS[content[9] ?? 0xff] }),
  };
}

/** Cuts a stream of chunks into frames; a frame that comes whole in one chunk is not copied. */
export class LaneFrames {
  #left: Uint8Array = new Uint8Array(0);

  /** Gives each frame's content; throws {@link TrustvisorError} with code `protocol` where one is too long. */
  push(chunk: Uint8Array, frame: (content: Uint8Array) => void): void {
    // Not a Buffer: its slices are no copies.
    const fresh = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    let bytes = this.#left.length === 0 ? fresh : joined(this.#left, fresh);
    while (bytes.length >= 4) {
      const length = viewOf(bytes, 4).getUint32(0, true);
      if (length > MAX_LANE_FRAME) throw malformed(`expected at most ${MAX_LANE_FRAME} bytes, got ${length}`);
      if (bytes.length < 4 + length) break;
      frame(bytes.subarray(4, 4 + length));
      bytes = bytes.subarray(4 + length);
    }
    this.#left = bytes.length === 0 ? bytes : bytes.slice();
  }
}

function begin(length: number): { readonly frame: Uint8Array; readonly view: DataView } {
  const frame = new Uint8Array(4 + length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, length, true);
  return { frame, view };
}

function viewOf(bytes: Uint8Array, least: number): DataView {
  if (bytes.length < least) throw malformed(`expected at least ${least} bytes, got ${bytes.length}`);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

function malformed(problem: string): TrustvisorError {
  return new TrustvisorError('protocol', `read a lane's frame: ${problem}`);
}
