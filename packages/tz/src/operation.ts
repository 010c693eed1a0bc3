/** Operations: one message to a service and its answer; TrustZone API 3.0, sections 6.1.7 to 6.1.9, 6.2 and 7.1. */
import { Cancellation } from './cancellation.js';
import { type DecodedValues, type DecodeType, decodeAs } from './decode-as.js';
import type { CallOptions, ServiceReply } from './driver.js';
import { serviceError, TzError, undefinedCall } from './error.js';
import { Decoder, Encoder, encodeFailure, type TzInput, type TzValue } from './marshal.js';
import type { TzErrorCode, TzMemoryFlags, TzState, TzType } from './return-code.js';
import { type LiveRange, type MemoryRange, SharedMemory } from './shared-memory.js';
import type { TimeLimit } from './time-limit.js';

/** What `Operation.encode` and `Session.invoke` take: a value, a text, or a range of shared memory to lend. */
export type TzArgument = TzInput | MemoryRange;

/** What an operation does when it is performed and what becomes of its session; made by devices and sessions. */
export interface OperationTarget {
  /** Which of the three kinds of operation it is. */
  readonly kind: 'open' | 'invoke' | 'close';
  /** Bytes of records that its message may hold. */
  readonly capacity: number;
  /** When it must be over. */
  readonly timeLimit: TimeLimit | undefined;
  /** Whether `memory` is a block of this operation's session. */
  owns(memory: SharedMemory): boolean;
  /** Throws where the call is illegal now; nothing has happened then. */
  assertPerformable(operation: Operation): void;
  /** Sends the message and waits for the answer. */
  send(input: Uint8Array, options: CallOptions): Promise<ServiceReply>;
  /** Told once that the operation is released. */
  released(operation: Operation): void;
}

/** One open, invoke or close. Encode, perform, decode, release; `await using` releases in any state. */
export class Operation implements AsyncDisposable {
  readonly #target: OperationTarget;
  readonly #encoder: Encoder;
  readonly #cancellation = new Cancellation();
  readonly #ranges: LiveRange[] = [];
  #state: TzState;
  #decoder: Decoder | undefined;
  #running: Promise<Outcome> | undefined;
  #outcome: Outcome | undefined;

  /** Made by `prepareOpen`, `prepareInvoke` and `prepareClose`. */
  constructor(target: OperationTarget) {
    this.#target = target;
    this.#encoder = new Encoder(target.capacity);
    this.#state = target.kind === 'close' ? 'PERFORMABLE' : 'ENCODE';
  }

  /** ENCODE or PERFORMABLE, then RUNNING or RUNNING_ASYNC, then DECODE or INVALID, at last UNDEFINED. */
  get state(): TzState {
    return this.#state;
  }

  /** Appends a 32-bit unsigned integer. Sets the encoder's error where it does not fit. Throws `TZ_ERROR_UNDEFINED` outside ENCODE, `TZ_ERROR_ILLEGAL_ARGUMENT`. */
  encodeUint32(value: number): void {
    this.#in('encodeUint32', 'ENCODE');
    this.#encoder.uint32(value);
  }

  /** Appends a copy of an array, or the NULL array. Errors as in {@link encodeUint32}. */
  encodeArray(value: Uint8Array | null): void {
    this.#in('encodeArray', 'ENCODE');
    this.#encoder.array(value);
  }

  /** Appends `length` zero bytes and returns them to be filled before the operation is performed; `null` where they do not fit. */
  encodeArraySpace(length: number): Uint8Array | null {
    this.#in('encodeArraySpace', 'ENCODE');
    return this.#encoder.arraySpace(length);
  }

  /**
   * Appends a reference to `length` bytes from `offset` of a block of this session, which the service may use as `flags` say until the
   * operation has been performed; until then the client leaves them alone. Sets the encoder's error: `TZ_ERROR_ENCODE_FORMAT` for a range
   * that is empty, beyond the block, or overlaps a live one, for flags that the block does not have, or a block of another session;
   * `TZ_ERROR_ENCODE_MEMORY` where there is no room, or there are 16 references.
   * Throws `TZ_ERROR_UNDEFINED` outside ENCODE, and for a block that is released.
   */
  encodeMemoryReference(memory: SharedMemory, offset: number, length: number, flags: TzMemoryFlags): void {
    this.#in('encodeMemoryReference', 'ENCODE');
    if (memory.state !== 'OPEN') throw undefinedCall('encodeMemoryReference', 'memory in state OPEN', memory.state);
    if (this.#encoder.error) return;
    const index = this.#ranges.length;
    const range = this.#target.owns(memory) ? memory.refer(offset, length, flags) : 'TZ_ERROR_ENCODE_FORMAT';
    if (typeof range === 'string') this.#encoder.fail(range);
    else if (index < MAX_REFERENCES && this.#encoder.memoryReference({ index, length, flags }))
      this.#ranges.push(range);
    else {
      range.end(false);
      this.#encoder.fail('TZ_ERROR_ENCODE_MEMORY');
    }
  }

  /** Appends each value by its type: a number, a text, an array, `null` for the NULL array, or a `MemoryRange` (`TZIEncodeF`). */
  encode(values: readonly TzArgument[]): void {
    this.#in('encode', 'ENCODE');
    for (const value of values) {
      if (isRange(value)) this.encodeMemoryReference(value.memory, value.offset, value.length, value.flags);
      else this.#encoder.value(value);
    }
  }

  /**
   * Sends the message and waits for the answer. Afterwards the state is DECODE, and INVALID if the service was not reached.
   * Throws {@link TzError}: `TZ_ERROR_SERVICE` with `serviceReturn` (the answer can still be decoded), `TZ_ERROR_CANCEL`,
   * `TZ_ERROR_ENCODE_MEMORY`, `TZ_ERROR_ENCODE_FORMAT`, `TZ_ERROR_ACCESS_DENIED`, `TZ_ERROR_UNDEFINED` for an illegal call, or what the
   * device says.
   */
  async perform(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const running = this.#start('perform', 'RUNNING', options.signal);
    this.#finish(await running);
  }

  /**
   * Starts the operation in the background; `done` is called once, when {@link asyncGetResult} has something to tell. Errors of the
   * operation come from there. Throws `TZ_ERROR_UNDEFINED` for an illegal call.
   */
  asyncStart(options: { readonly signal?: AbortSignal; readonly done?: () => void } = {}): void {
    void this.#start('asyncStart', 'RUNNING_ASYNC', options.signal).then((outcome) => {
      this.#outcome = outcome;
      options.done?.();
    });
  }

  /**
   * What became of an operation that {@link asyncStart} started: `TZ_PENDING` changes nothing, and it goes on; after `TZ_SUCCESS` the
   * answer can be decoded. Throws what {@link perform} throws, and `TZ_ERROR_UNDEFINED` outside RUNNING_ASYNC.
   */
  asyncGetResult(): 'TZ_PENDING' | 'TZ_SUCCESS' {
    this.#in('asyncGetResult', 'RUNNING_ASYNC');
    if (!this.#outcome) return 'TZ_PENDING';
    this.#finish(this.#outcome);
    return 'TZ_SUCCESS';
  }

  /** Asks for the end of the operation without waiting for it. Before `perform` it makes that fail, after it, it does nothing. */
  cancel(): void {
    this.#in('cancel', 'ENCODE', 'PERFORMABLE', 'RUNNING', 'RUNNING_ASYNC', 'DECODE');
    if (this.#target.kind === 'close')
      throw undefinedCall('cancel', 'an open or invoke operation', 'a close operation');
    this.#cancellation.request();
  }

  /** The type of the next record of the answer. Throws `TZ_ERROR_UNDEFINED` outside DECODE. */
  decodeGetType(): TzType {
    return this.#answer('decodeGetType').type;
  }

  /** The next record, an integer; 0 on error, which sticks. Throws `TZ_ERROR_UNDEFINED` outside DECODE. */
  decodeUint32(): number {
    return this.#answer('decodeUint32').uint32();
  }

  /** The next record, an array; `null` for the NULL array and on error, which sticks. Throws `TZ_ERROR_UNDEFINED` outside DECODE. */
  decodeArraySpace(): Uint8Array | null {
    return this.#answer('decodeArraySpace').arraySpace();
  }

  /** The first decoder error, or `undefined`. Throws `TZ_ERROR_UNDEFINED` outside DECODE. */
  decodeGetError(): TzErrorCode | undefined {
    return this.#answer('decodeGetError').error;
  }

  /** All records that are left, by value. Throws `TZ_ERROR_DECODE_*` for a bad record, `TZ_ERROR_UNDEFINED` outside DECODE. */
  decode(): readonly TzValue[] {
    return this.#answer('decode').rest();
  }

  /**
   * One record for each of `types`, by value (`TZIDecodeF`); what follows stays. Throws `TZ_ERROR_DECODE_*` for a record that is not as
   * expected, `TZ_ERROR_UNDEFINED` outside DECODE.
   */
  decodeAs<const T extends readonly DecodeType[]>(types: T): DecodedValues<T> {
    return decodeAs(this.#answer('decodeAs'), types);
  }

  /**
   * Frees the operation; an open that did not succeed ends its session, a close that was not performed leaves it open, references to
   * shared memory end. Throws `TZ_ERROR_UNDEFINED` while it runs and after a release.
   */
  release(): void {
    this.#in('release', 'ENCODE', 'PERFORMABLE', 'DECODE', 'INVALID');
    this.#state = 'UNDEFINED';
    this.#decoder = undefined;
    this.#endRanges(false);
    this.#target.released(this);
  }

  /** Releases the operation, unless that was done meanwhile, by `await using` of its session or device. Throws as {@link release} does. */
  releaseOnce(): void {
    if (this.#state !== 'UNDEFINED') this.release();
  }

  /** Cancels the operation if it runs, waits for its end and releases it; safe in every state. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isRunning() && this.#target.kind !== 'close') this.#cancellation.request();
    const outcome = await this.#running;
    if (outcome && this.#isRunning()) this.#settle(outcome);
    this.releaseOnce();
  }

  #start(call: string, state: 'RUNNING' | 'RUNNING_ASYNC', signal: AbortSignal | undefined): Promise<Outcome> {
    try {
      this.#in(call, 'ENCODE', 'PERFORMABLE');
      this.#target.assertPerformable(this);
    } catch (error) {
      if (state === 'RUNNING') return Promise.reject(error);
      throw error;
    }
    this.#state = state;
    this.#running = this.#run(signal);
    return this.#running;
  }

  async #run(signal: AbortSignal | undefined): Promise<Outcome> {
    const stop = this.#stopWith(signal);
    try {
      const reply = await this.#send();
      return { returnCode: reply.returnCode, decoder: new Decoder(reply.output) };
    } catch (error) {
      return asTzError(this.#target.kind, error, this.#cancellation);
    } finally {
      stop();
    }
  }

  async #send(): Promise<ServiceReply> {
    if (this.#cancellation.requested) throw cancelled(this.#target.kind, this.#cancellation);
    if (this.#encoder.error) throw encodeFailure(this.#encoder.error, this.#target.capacity);
    const timeLimit = this.#target.timeLimit?.remaining;
    for (const range of this.#ranges) range.begin();
    const call = new Call(this.#cancellation, timeLimit, this.#ranges);
    return await this.#target.send(this.#encoder.finish(), call);
  }

  /** Takes over the outcome and throws what it says. */
  #finish(outcome: Outcome): void {
    if (this.#isRunning()) this.#settle(outcome);
    if (outcome instanceof TzError) throw outcome;
    if (outcome.returnCode !== 0) throw serviceError(this.#target.kind, outcome.returnCode);
  }

  #settle(outcome: Outcome): void {
    const answered = !(outcome instanceof TzError);
    this.#endRanges(answered);
    this.#state = answered && this.#target.kind !== 'close' ? 'DECODE' : 'INVALID';
    if (answered && this.#state === 'DECODE') this.#decoder = outcome.decoder;
  }

  #endRanges(happened: boolean): void {
    for (const range of this.#ranges.splice(0)) range.end(happened);
  }

  #isRunning(): boolean {
    return this.#state === 'RUNNING' || this.#state === 'RUNNING_ASYNC';
  }

  /** Cancels with `signal` and with the time limit, until the function that it returns is called. */
  #stopWith(signal: AbortSignal | undefined): () => void {
    const { kind, timeLimit } = this.#target;
    if (kind === 'close' || (signal === undefined && timeLimit === undefined)) return NOTHING;
    const abort = () => this.#cancellation.request(signal?.reason);
    const expire = () => this.#cancellation.request(new Error('the time limit has passed'));
    const left = timeLimit?.remaining;
    const timer = left === undefined || left <= 0 ? undefined : setTimeout(expire, Math.min(left, LONGEST_TIMER));
    if (left !== undefined && left <= 0) expire();
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
  }

  #answer(call: string): Decoder {
    if (this.#decoder && this.#state === 'DECODE') return this.#decoder;
    throw undefinedCall(call, 'an operation in state DECODE', this.#state);
  }

  #in(call: string, ...allowed: readonly TzState[]): void {
    if (!allowed.includes(this.#state)) {
      throw undefinedCall(call, `an operation in state ${allowed.join(' or ')}`, this.#state);
    }
  }
}

/** How an operation ended: with the service's answer, or without. */
type Outcome = { readonly returnCode: number; readonly decoder: Decoder } | TzError;

const NOTHING = (): void => undefined;

/** References that a message may hold: what the isolates take. */
const MAX_REFERENCES = 16;

/** Milliseconds that a timer of Node takes; a limit beyond it is a hint, and forty days early. */
const LONGEST_TIMER = 0x7fff_ffff;

function isRange(value: TzArgument): value is MemoryRange {
  return typeof value === 'object' && value !== null && 'memory' in value && value.memory instanceof SharedMemory;
}

/** What a driver is given with the message. */
class Call implements CallOptions {
  readonly timeLimit: number | undefined;
  readonly lend: readonly LiveRange[];
  readonly #cancellation: Cancellation;

  constructor(cancellation: Cancellation, timeLimit: number | undefined, lend: readonly LiveRange[]) {
    this.#cancellation = cancellation;
    this.timeLimit = timeLimit;
    this.lend = lend;
  }

  get signal(): AbortSignal {
    return this.#cancellation.signal;
  }

  onCancel(listener: (reason: unknown) => void): () => void {
    return this.#cancellation.onRequest(listener);
  }
}

function asTzError(kind: string, error: unknown, cancellation: Cancellation): TzError {
  if (error instanceof TzError) return error;
  if (cancellation.requested) return cancelled(kind, cancellation);
  const problem = error instanceof Error ? error.message : String(error);
  return new TzError('TZ_ERROR_COMMUNICATION', 'communication', `${kind}: expected an answer, got ${problem}`, {
    cause: error,
  });
}

function cancelled(kind: string, { reason }: Cancellation): TzError {
  const why = reason instanceof Error && reason.name !== 'AbortError' ? reason.message : 'a cancellation';
  return new TzError('TZ_ERROR_CANCEL', 'api', `${kind}: expected an answer, got ${why}`, { cause: reason });
}
