/** What passes between the isolate's control thread and the thread that runs one PAL. Both ends are ours. */
import type { Lent } from './engine.js';
import type { PalFault } from './error.js';
import type { ServiceCall, ServiceReply } from './service-plan.js';

/** Where the parameters lie in the PAL's memory. */
export interface ParameterLayout {
  /** u32 that the PAL may write its return code to. */
  readonly returnCode: number;
  /** Input buffer: 16-byte header and records. */
  readonly input: number;
  /** Bytes of records that fit. */
  readonly inputCapacity: number;
  /** Output buffer: 16-byte header and records. */
  readonly output: number;
  /** Bytes of records that fit. */
  readonly outputCapacity: number;
}

/**
 * Memory of both threads, so that a service call costs no message: i32 that is 1 when the answer is there; i32 that is 1 while a call by
 * the lane runs; u32 length of the call or reply behind (service-codec.ts), 0 where a message carries it; i32 that is 1 when a call is
 * there.
 */
export const MAILBOX = { ANSWERED: 0, BUSY: 1, LENGTH: 2, ASKED: 3, CONTENT: 16, SIZE: 16384 } as const;

/** What a worker starts with. */
export interface WorkerStart {
  readonly code: Uint8Array;
  /** Where the buffers lie; where there is none, the entry takes parameters of its own. */
  readonly layout: ParameterLayout | undefined;
  /** Where the section PARAM begins and ends. */
  readonly section: { readonly base: number; readonly end: number };
  /** Fresh memory for every run, state handed in and out. */
  readonly stateful: boolean;
  /** The file with the shared memory, where there is one. */
  readonly arena: number | undefined;
  /** The descriptor of the lane by which the application calls, where there is one. */
  readonly lane: number | undefined;
  /** Both threads have it; see {@link MAILBOX}. */
  readonly mailbox: SharedArrayBuffer;
}

/** A call with parameters of its own. */
export interface MarshalledCall {
  readonly arguments: readonly (number | bigint)[];
  /** From the beginning of the section PARAM on. */
  readonly area: Uint8Array;
}

/** To the worker. */
export type ToWorker =
  | {
      readonly kind: 'run';
      readonly command: number;
      readonly input: Uint8Array;
      readonly state: Uint8Array;
      readonly lent: readonly Lent[];
      readonly call: MarshalledCall | undefined;
    }
  | { readonly kind: 'service-reply'; readonly reply: ServiceReply }
  | { readonly kind: 'lane-reply'; readonly failure: Uint8Array }
  | { readonly kind: 'wipe' };

/** From the worker. */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly problem: string; readonly outOfMemory: boolean }
  | {
      readonly kind: 'returned';
      readonly returnCode: number;
      /** Or the area, where there is one. */
      readonly output: Uint8Array;
      readonly state: Uint8Array;
      readonly written: readonly Uint8Array[];
    }
  | { readonly kind: 'fault'; readonly fault: PalFault; readonly problem: string }
  /** One that does not fit the mailbox. */
  | { readonly kind: 'service'; readonly call: ServiceCall }
  | { readonly kind: 'print'; readonly text: string }
  | { readonly kind: 'lane-fault'; readonly fault: PalFault; readonly problem: string }
  | { readonly kind: 'wiped' };
