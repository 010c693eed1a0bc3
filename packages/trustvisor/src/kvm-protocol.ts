/**
 * What passes between the isolate and the monitor of one PAL's virtual machine, on two sockets: one for calls, one for the services that
 * the PAL calls. native/pal-monitor.c has the other ends.
 */
import { array, decode, encode, type Infer, rest, sizedBytes, struct, u8, u32le, u64le } from '@casemate/wire';
import { TrustvisorError } from './error.js';
import { decodeCall, encodeReplyInto, replyLength } from './service-codec.js';
import type { ServiceCall, ServiceReply } from './service-plan.js';

/** The largest frame either way, in bytes. */
export const MAX_MONITOR_FRAME = 40 * 1024 * 1024;

/** Access bits of a section. */
export const ACCESS = { READ: 1, WRITE: 2, EXECUTE: 4 } as const;

const Section = struct('section', {
  address: u64le,
  size: u32le,
  access: u32le,
  content: sizedBytes('content', u32le, { max: MAX_MONITOR_FRAME }),
});

/** The machine: where everything lies. */
export const LoadRequest = struct('load', {
  entry: u64le,
  stackStart: u64le,
  stackEnd: u64le,
  parameters: u64le,
  parameterSize: u32le,
  isMarshalled: u32le,
  inputOffset: u32le,
  inputSize: u32le,
  outputOffset: u32le,
  outputSize: u32le,
  hasArena: u32le,
  hasLane: u32le,
  sections: array('sections', u32le, Section, { max: 16 }),
});
/** The value of the codec of the same name. */
export type LoadRequest = Infer<typeof LoadRequest>;

const Bytes = sizedBytes('bytes', u32le, { max: MAX_MONITOR_FRAME });

const Lent = struct('lent', {
  access: u32le,
  at: u64le,
  length: u64le,
  content: array('contents', u32le, Bytes, { max: 1 }),
});

/**
 * One run. Where the entry takes buffers, `content` is the input behind its header; where it takes parameters of its own, they are
 * `arguments`, and `content` are the bytes at the beginning of the section PARAM.
 */
export const RunRequest = struct('run', {
  timeLimit: u32le,
  isFresh: u32le,
  command: u32le,
  arguments: array('arguments', u32le, u64le, { max: 10 }),
  lent: array('lent', u32le, Lent, { max: 16 }),
  content: rest('content', MAX_MONITOR_FRAME),
});
/** The value of the codec of the same name. */
export type RunRequest = Infer<typeof RunRequest>;

const Failed = struct('failed', { errno: u32le, step: rest('step', 200) });
const Returned = struct('returned', {
  result: u64le,
  written: array('written', u32le, Bytes, { max: 16 }),
  content: rest('content', MAX_MONITOR_FRAME),
});
/** What a run gave: rax, the lent bytes that it could write, and return code and output buffer or the parameters. */
type MonitorReturn = Infer<typeof Returned>;
const Fault = struct('fault', {
  kind: u8,
  address: u64le,
  registers: struct('registers', {
    ...{ rax: u64le, rbx: u64le, rcx: u64le, rdx: u64le, rsi: u64le, rdi: u64le, rsp: u64le, rbp: u64le },
    ...{ r8: u64le, r9: u64le, r10: u64le, r11: u64le, r12: u64le, r13: u64le, r14: u64le, r15: u64le },
    ...{ rip: u64le, rflags: u64le },
  }),
});
/** How a PAL broke off: an address where it touched one, and the processor's registers. */
export type MonitorFault = Infer<typeof Fault>;

/** Kinds of {@link MonitorFault}, by their number. */
export const FAULT_KINDS = [
  'none',
  'page',
  'stack',
  'illegal',
  'divide',
  'privileged',
  'time',
  'port',
  'machine',
  'service',
  'output',
] as const;

/** What the monitor says. */
export type MonitorAnswer =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly errno: number; readonly step: string }
  | ({ readonly type: 'returned' } & MonitorReturn)
  | { readonly type: 'fault'; readonly fault: MonitorFault }
  | { readonly type: 'lane-fault'; readonly fault: MonitorFault };

const REQUEST = { LOAD: 1, RUN: 2, REPLY: 3, WAKE: 4 } as const;
const ANSWER = { READY: 1, FAILED: 2, SERVICE: 3, RETURNED: 4, FAULT: 5, LANE_FAULT: 6, WAKE: 7 } as const;

/** A frame that loads the machine. */
export function encodeLoad(request: LoadRequest): Uint8Array {
  return frame(REQUEST.LOAD, encode(LoadRequest, request));
}

/** A frame that runs the entry. */
export function encodeRun(request: RunRequest): Uint8Array {
  return frame(REQUEST.RUN, encode(RunRequest, request));
}

/** A frame that has the monitor wake who performs the services, as soon as no call runs. */
export function encodeWake(): Uint8Array {
  return frame(REQUEST.WAKE, new Uint8Array(0));
}

/** A frame with the failure for the caller by the lane. */
export function encodeLaneEnd(failure: Uint8Array): Uint8Array {
  return frame(REQUEST.REPLY, failure);
}

/** A frame that answers a service call. */
export function encodeReply(reply: ServiceReply): Uint8Array {
  const bytes = new Uint8Array(5 + replyLength(reply));
  new DataView(bytes.buffer).setUint32(0, bytes.length - 4, true);
  bytes[4] = REQUEST.REPLY;
  encodeReplyInto(reply, bytes.subarray(5));
  return bytes;
}

function frame(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + body.length);
  new DataView(bytes.buffer).setUint32(0, 1 + body.length, true);
  bytes[4] = type;
  bytes.set(body, 5);
  return bytes;
}

/** What a frame's body says. Throws {@link TrustvisorError} with code `protocol`, or a `WireError`. */
export function decodeAnswer(body: Uint8Array): MonitorAnswer {
  const content = body.subarray(1);
  switch (body[0]) {
    case ANSWER.READY:
      return { type: 'ready' };
    case ANSWER.FAILED: {
      const { errno, step } = decode(Failed, content);
      return { type: 'failed', errno, step: new TextDecoder().decode(step) };
    }
    case ANSWER.RETURNED:
      return { type: 'returned', ...decode(Returned, content) };
    case ANSWER.FAULT:
      return { type: 'fault', fault: decode(Fault, content) };
    case ANSWER.LANE_FAULT:
      return { type: 'lane-fault', fault: decode(Fault, content) };
    default:
      throw new TrustvisorError(
        'protocol',
        `read the monitor: expected an answer of type 1, 2, 4, 5 or 6, got ${body[0]}`,
      );
  }
}

/** What a frame on the socket for services says: a call, or nothing but to wake up. Throws as {@link decodeCall}. */
export function decodeServiceFrame(body: Uint8Array): ServiceCall | undefined {
  if (body[0] === ANSWER.WAKE && body.length === 1) return undefined;
  if (body[0] === ANSWER.SERVICE) return decodeCall(body.subarray(1));
  throw new TrustvisorError('protocol', `read the monitor: expected a service call, got a frame of type ${body[0]}`);
}

/** Cuts what a monitor sends into the bodies of frames. */
export class MonitorFrames {
  #received: Uint8Array = new Uint8Array(0);

  /** Gives each body; throws {@link TrustvisorError} with code `protocol` where one is too long. */
  push(chunk: Uint8Array, frame: (body: Uint8Array) => void): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 4) {
      const length = new DataView(this.#received.buffer, this.#received.byteOffset).getUint32(0, true);
      if (length === 0 || length > MAX_MONITOR_FRAME)
        throw new TrustvisorError('protocol', `read the monitor: expected a frame, got a length of ${length}`);
      if (this.#received.length < 4 + length) return;
      const body = this.#received.subarray(4, 4 + length);
      this.#received = this.#received.subarray(4 + length);
      frame(body);
    }
  }
}
