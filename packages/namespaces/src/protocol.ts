/** What passes over the launcher's descriptor 3: a plan or a question in, events out (native/report.c and native/watch.c have the other half). */
import { decode, encode, oneOf, rest, struct, u32le } from '@casemate/wire';
import { type Operation, PlanBytes } from './operations.js';

/** The kinds of events. */
export const EVENT = { started: 1, failed: 2, running: 3, exited: 4, probe: 5 } as const;

const EventBody = struct('Event', {
  type: oneOf('type', u32le, [EVENT.started, EVENT.failed, EVENT.running, EVENT.exited, EVENT.probe]),
  a: u32le,
  b: u32le,
  text: rest('text', 8192),
});

/** One event; what `a` and `b` mean depends on its type. */
export interface LauncherEvent {
  /** One of {@link EVENT}. */
  readonly type: (typeof EVENT)[keyof typeof EVENT];
  /** started: process id; failed: index of the operation; exited: 1 for a signal; probe: error number. */
  readonly a: number;
  /** failed: error number; exited: code or signal number; probe: the answer. */
  readonly b: number;
  /** failed: what the operation was about; probe: the question. */
  readonly text: string;
}

/** The bytes that make the launcher perform a plan. */
export function encodePlan(operations: readonly Operation[]): Uint8Array {
  return frame('CMP1', encode(PlanBytes, operations));
}

/** The operations in the bytes of {@link encodePlan}; for tests and diagnosis. Throws `WireError`. */
export function decodePlan(bytes: Uint8Array): readonly Operation[] {
  return decode(PlanBytes, bytes.subarray(8));
}

/** The bytes that make the launcher answer what this kernel and user may do. */
export function encodeProbe(): Uint8Array {
  return frame('CMQ1', new Uint8Array());
}

/** The bytes that make the launcher send a signal to the first process of the sandbox. */
export function encodeSignal(signal: number): Uint8Array {
  return encode(struct('Command', { verb: u32le, number: u32le }), { verb: 1, number: signal });
}

/** Cuts a byte stream into events. The launcher is trusted; the bounds are against a broken one. */
export class EventReader {
  #pending: Uint8Array = new Uint8Array();

  /** The events that are complete with `chunk`. Throws `WireError` for bytes that are none. */
  push(chunk: Uint8Array): readonly LauncherEvent[] {
    this.#pending = concat(this.#pending, chunk);
    const events: LauncherEvent[] = [];
    for (let size = this.#nextSize(); size !== undefined; size = this.#nextSize()) {
      const { text, ...event } = decode(EventBody, this.#pending.subarray(4, 4 + size));
      events.push({ ...event, text: new TextDecoder().decode(text) });
      this.#pending = this.#pending.slice(4 + size);
    }
    return events;
  }

  #nextSize(): number | undefined {
    if (this.#pending.length < 4) return undefined;
    const size = decode(u32le, this.#pending.subarray(0, 4));
    return this.#pending.length >= 4 + size ? size : undefined;
  }
}

function frame(magic: string, body: Uint8Array): Uint8Array {
  return concat(concat(new TextEncoder().encode(magic), encode(u32le, body.length)), body);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
