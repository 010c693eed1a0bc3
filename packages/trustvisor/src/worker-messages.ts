/** What passes between the isolate's main thread and the thread of one PAL. Both ends are ours. */
import type { MessagePort } from 'node:worker_threads';
import type { Lent } from './engine.js';
import type { PalFault } from './error.js';
import type { HostCall } from './host-services.js';
import type { PalQuote } from './options.js';
import type { Randomness, ServicesStart } from './pal-services.js';
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

/** i32 in memory of both threads: 1 when what the thread asked ({@link WorkerStart.host}) is answered; 1 while a call by the lane runs. */
export const SHARED = { ANSWERED: 0, BUSY: 1, SIZE: 8 } as const;

/** What a PAL's thread starts with. */
export interface WorkerStart {
  readonly services: ServicesStart;
  /** Where it asks the main thread ({@link HostQuestion}), and finds the answer. */
  readonly host: MessagePort;
  /** See {@link SHARED}. */
  readonly shared: SharedArrayBuffer;
  /** What it runs; where it runs nothing, the PAL has a machine of its own. */
  readonly program: WasmProgram | undefined;
}

/** What a thread asks at {@link WorkerStart.host}. */
export interface HostQuestion {
  readonly id: number;
  readonly call: HostCall;
}

/** The answer to the question with that number. */
export interface HostAnswer {
  readonly id: number;
  readonly reply: ServiceReply;
}

/** A PAL in WebAssembly. */
export interface WasmProgram {
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
}

/** A call with parameters of its own. */
export interface MarshalledCall {
  readonly arguments: readonly (number | bigint)[];
  /** From the beginning of the section PARAM on. */
  readonly area: Uint8Array;
}

/** To the thread, which takes them one after another; all but `reset` and `serve` have one answer. */
export type ToWorker =
  | {
      readonly kind: 'run';
      readonly command: number;
      readonly input: Uint8Array;
      readonly state: Uint8Array;
      /** Where the run may be repeated: everything but the state is then as newly registered. */
      readonly randomness: Randomness | undefined;
      readonly lent: readonly Lent[];
      readonly call: MarshalledCall | undefined;
    }
  /** Puts the services back to their beginning. */
  | { readonly kind: 'reset'; readonly randomness: Randomness | undefined }
  /** Performs the services for the PAL's machine at the other end of a descriptor until that ends. */
  | { readonly kind: 'serve'; readonly fd: number }
  | { readonly kind: 'service'; readonly call: ServiceCall }
  | { readonly kind: 'quote'; readonly nonce: Uint8Array; readonly mask: number }
  | { readonly kind: 'wipe' };

/** From the thread. */
export type FromWorker =
  | { readonly kind: 'ready'; readonly identity: Uint8Array }
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
  | { readonly kind: 'served'; readonly reply: ServiceReply }
  | { readonly kind: 'quoted'; readonly quote: PalQuote }
  | { readonly kind: 'wiped' }
  | { readonly kind: 'failed'; readonly problem: string }
  /** Not an answer. */
  | { readonly kind: 'print'; readonly text: string };
