/** What passes between the isolate's control thread and the thread that runs one PAL. Both ends are ours. */
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

/** What a worker starts with. */
export interface WorkerStart {
  readonly code: Uint8Array;
  readonly layout: ParameterLayout;
  /** Fresh memory for every run, state handed in and out. */
  readonly stateful: boolean;
  /** One i32 that is 1 when the reply to a service call waits. */
  readonly signal: Int32Array;
}

/** To the worker. */
export type ToWorker =
  | { readonly kind: 'run'; readonly command: number; readonly input: Uint8Array; readonly state: Uint8Array }
  | { readonly kind: 'service-reply'; readonly reply: ServiceReply }
  | { readonly kind: 'wipe' };

/** From the worker. */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly problem: string; readonly outOfMemory: boolean }
  | {
      readonly kind: 'returned';
      readonly returnCode: number;
      readonly output: Uint8Array;
      readonly state: Uint8Array;
    }
  | { readonly kind: 'fault'; readonly fault: PalFault; readonly problem: string }
  | { readonly kind: 'service'; readonly call: ServiceCall }
  | { readonly kind: 'print'; readonly text: string }
  | { readonly kind: 'wiped' };
