/** What passes between the launcher server and us: requests in, events out (native/server.c and native/watch.c have the other half). */
import { decode, encode, oneOf, rest, sizedBytes, struct, u32le, WireError } from '@casemate/wire';
import { cText, type Operation, PlanBytes, planPieces } from './operations.js';

/** The kinds of events. */
export const EVENT = { failed: 2, running: 3, exited: 4, probe: 5, gone: 6, streams: 7, call: 9, done: 10 } as const;

/** Commands about a running sandbox. */
const COMMAND = {
  signal: 1,
  'streams-taken': 2,
  resize: 3,
  answer: 16,
  'read-memory': 17,
  'write-memory': 18,
  'add-file': 19,
  'add-descriptor': 20,
} as const;

/** The name of a command. */
export type CommandName = keyof typeof COMMAND;

/** Where a standard stream of a command goes; `number` of the launcher's own streams is meant by its place. */
const STREAM = { ignore: 0, inherit: 1, pipe: 2, terminal: 3 } as const;

/** The name of a target of a stream. */
export type StreamName = keyof typeof STREAM;

/** What the server is asked or told. */
export type Request =
  | { readonly verb: 'probe' }
  | {
      readonly verb: 'start';
      /** The number of the request that made the sandbox which it is about, or 0. */
      readonly target?: number;
      readonly streams: readonly StreamName[];
      readonly operations: readonly Operation[];
    }
  /** Whether the namespaces of the next sandbox are to be made before it is asked for. */
  | { readonly verb: 'spare'; readonly isWanted: boolean }
  | { readonly verb: 'devices'; readonly path: string; readonly program: Uint8Array }
  | { readonly verb: 'pressure'; readonly path: string; readonly trigger: string }
  | { readonly verb: 'command'; readonly command: CommandName; readonly argument: number; readonly body?: Uint8Array };

const EventBody = struct('Event', {
  id: u32le,
  type: oneOf('type', u32le, Object.values(EVENT)),
  a: u32le,
  b: u32le,
  text: rest('text', 8192),
});

/** One event; what `a` and `b` mean depends on its type. */
export interface LauncherEvent {
  /** The number of the request. */
  readonly id: number;
  /** One of {@link EVENT}. */
  readonly type: (typeof EVENT)[keyof typeof EVENT];
  /** running: process id; failed: index of the operation; exited and gone: 1 for a signal; probe: error number. */
  readonly a: number;
  /** failed: error number; exited and gone: code or signal number; probe: the answer. */
  readonly b: number;
  /** failed: what the operation was about; probe: the question; streams: what to open for each, or a hyphen. */
  readonly text: string;
  /** The same as bytes. call: a system call that waits, as native/notify.c packs it; done: memory that was read. */
  readonly data: Uint8Array;
}

/** The bytes of a request: their length, the verb, the number of the sandbox, what the verb needs. Throws `WireError`. */
export function encodeRequest(id: number, request: Request): Uint8Array {
  switch (request.verb) {
    case 'probe':
      return frame(1, id, []);
    case 'start':
      return frame(2, id, [
        encode(u32le, request.target ?? 0),
        ...request.streams.map((name) => encode(u32le, STREAM[name])),
        ...planPieces(request.operations),
      ]);
    case 'spare':
      return frame(6, id, [Uint8Array.of(request.isWanted ? 1 : 0)]);
    case 'devices':
      return frame(4, id, [encode(DeviceProgram, request)]);
    case 'pressure':
      return frame(5, id, [encode(PressureTrigger, request)]);
    case 'command':
      return frame(3, id, [
        encode(Command, { command: COMMAND[request.command], argument: request.argument }),
        request.body ?? new Uint8Array(),
      ]);
  }
}

const DeviceProgram = struct('DeviceProgram', {
  path: cText,
  program: sizedBytes('program', u32le, { max: 1 << 17 }),
});
const PressureTrigger = struct('PressureTrigger', { path: cText, trigger: cText });
const Command = struct('Command', { command: u32le, argument: u32le });

/** The bytes of a plan; for tests and diagnosis. */
export function encodePlan(operations: readonly Operation[]): Uint8Array {
  return encode(PlanBytes, operations);
}

/** The operations in the bytes of {@link encodePlan}; for tests and diagnosis. Throws `WireError`. */
export function decodePlan(bytes: Uint8Array): readonly Operation[] {
  return decode(PlanBytes, bytes);
}

/** Cuts a byte stream into events. The launcher is trusted; the bounds are against a broken one. */
export class EventReader {
  #pending: Uint8Array = new Uint8Array();

  /** The events that are complete with `chunk`. Throws `WireError` for bytes that are none. */
  push(chunk: Uint8Array): readonly LauncherEvent[] {
    this.#pending = this.#pending.length === 0 ? chunk : concat(this.#pending, chunk);
    const events: LauncherEvent[] = [];
    for (let size = this.#nextSize(); size !== undefined; size = this.#nextSize()) {
      const { text, ...event } = decode(EventBody, this.#pending.subarray(4, 4 + size));
      events.push({ ...event, data: text, text: text.length === 0 ? '' : decoder.decode(text) });
      this.#pending = this.#pending.subarray(4 + size);
    }
    return events;
  }

  #nextSize(): number | undefined {
    if (this.#pending.length < 4) return undefined;
    const [a = 0, b = 0, c = 0, d = 0] = this.#pending;
    const size = (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
    return this.#pending.length >= 4 + size ? size : undefined;
  }
}

const decoder = new TextDecoder();
const MAX_REQUEST = 4 << 20; // MAX_PLAN of native/launcher.h: the server ends, with every sandbox, at a larger one

function frame(verb: number, id: number, parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  if (size > MAX_REQUEST) {
    throw new WireError('bad-input', 'encode request', `expected at most ${MAX_REQUEST} bytes, got ${size}`, 0);
  }
  const bytes = new Uint8Array(12 + size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 8 + size, true);
  view.setUint32(4, verb, true);
  view.setUint32(8, id, true);
  let at = 12;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
