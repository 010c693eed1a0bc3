/** Operations: one message to a service and its answer; TrustZone API 3.0, sections 6.1.7 to 6.1.9 and 6.2. */
import type { CallOptions, ServiceReply } from './driver.js';
import { serviceError, TzError, undefinedCall } from './error.js';
import { Decoder, Encoder, encodeFailure, type TzValue } from './marshal.js';
import type { TzErrorCode, TzState, TzType } from './return-code.js';
import type { TimeLimit } from './time-limit.js';

/** What an operation does when it is performed and what becomes of its session; made by devices and sessions. */
export interface OperationTarget {
  /** Which of the three kinds of operation it is. */
  readonly kind: 'open' | 'invoke' | 'close';
  /** Bytes of records that its message may hold. */
  readonly capacity: number;
  /** When it must be over. */
  readonly timeLimit: TimeLimit | undefined;
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
  readonly #abort = new AbortController();
  #state: TzState;
  #decoder: Decoder | undefined;
  #running: Promise<void> | undefined;

  /** Made by `prepareOpen`, `prepareInvoke` and `prepareClose`. */
  constructor(target: OperationTarget) {
    this.#target = target;
    this.#encoder = new Encoder(target.capacity);
    this.#state = target.kind === 'close' ? 'PERFORMABLE' : 'ENCODE';
  }

  /** ENCODE or PERFORMABLE, then RUNNING, then DECODE or INVALID, at last UNDEFINED. */
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

  /** Appends each value by its type: a number, an array, or `null` for the NULL array. */
  encode(values: readonly TzValue[]): void {
    this.#in('encode', 'ENCODE');
    for (const value of values) this.#encoder.value(value);
  }

  /**
   * Sends the message and waits for the answer. Afterwards the state is DECODE, and INVALID if the service was not reached.
   * Throws {@link TzError}: `TZ_ERROR_SERVICE` with `serviceReturn` (the answer can still be decoded), `TZ_ERROR_CANCEL`,
   * `TZ_ERROR_ENCODE_MEMORY`, `TZ_ERROR_ACCESS_DENIED`, `TZ_ERROR_UNDEFINED` for an illegal call, or what the device says.
   */
  async perform(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#in('perform', 'ENCODE', 'PERFORMABLE');
    this.#target.assertPerformable(this);
    this.#state = 'RUNNING';
    this.#running = this.#run(options.signal);
    await this.#running;
  }

  /** Asks for the end of the operation without waiting for it. Before `perform` it makes that fail, after it, it does nothing. */
  cancel(): void {
    this.#in('cancel', 'ENCODE', 'RUNNING', 'DECODE');
    if (this.#target.kind === 'close')
      throw undefinedCall('cancel', 'an open or invoke operation', 'a close operation');
    this.#abort.abort();
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

  /** Frees the operation; an open that did not succeed ends its session, a close that was not performed leaves it open. Throws `TZ_ERROR_UNDEFINED` while it runs and after a release. */
  release(): void {
    this.#in('release', 'ENCODE', 'PERFORMABLE', 'DECODE', 'INVALID');
    this.#state = 'UNDEFINED';
    this.#decoder = undefined;
    this.#target.released(this);
  }

  /** Cancels the operation if it runs, waits for its end and releases it; safe in every state. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'RUNNING' && this.#target.kind !== 'close') this.#abort.abort();
    await this.#running?.catch(() => undefined);
    if (this.#state !== 'UNDEFINED') this.release();
  }

  async #run(signal: AbortSignal | undefined): Promise<void> {
    const stop = this.#target.kind === 'close' ? () => undefined : this.#stopWith(signal);
    try {
      const reply = await this.#send();
      this.#settle(reply);
      if (reply.returnCode !== 0) throw serviceError(this.#target.kind, reply.returnCode);
    } catch (error) {
      if (this.#state === 'RUNNING') this.#state = 'INVALID';
      throw asTzError(this.#target.kind, error, this.#abort.signal);
    } finally {
      stop();
    }
  }

  async #send(): Promise<ServiceReply> {
    if (this.#abort.signal.aborted) throw cancelled(this.#target.kind, this.#abort.signal);
    if (this.#encoder.error) throw encodeFailure(this.#encoder.error, this.#target.capacity);
    const timeLimit = this.#target.timeLimit?.remaining;
    return await this.#target.send(this.#encoder.finish(), { signal: this.#abort.signal, timeLimit });
  }

  #settle(reply: ServiceReply): void {
    if (this.#target.kind === 'close') {
      this.#state = 'INVALID';
      return;
    }
    this.#decoder = new Decoder(reply.output);
    this.#state = 'DECODE';
  }

  #stopWith(signal: AbortSignal | undefined): () => void {
    const abort = () => this.#abort.abort(signal?.reason);
    const left = this.#target.timeLimit?.remaining;
    const expire = () => this.#abort.abort(new Error('the time limit has passed'));
    const timer = left === undefined || left <= 0 ? undefined : setTimeout(expire, left);
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

function asTzError(kind: string, error: unknown, signal: AbortSignal): TzError {
  if (error instanceof TzError) return error;
  if (signal.aborted) return cancelled(kind, signal);
  const problem = error instanceof Error ? error.message : String(error);
  return new TzError('TZ_ERROR_COMMUNICATION', 'communication', `${kind}: expected an answer, got ${problem}`, {
    cause: error,
  });
}

function cancelled(kind: string, signal: AbortSignal): TzError {
  const reason: unknown = signal.reason;
  const why = reason instanceof Error && reason.name !== 'AbortError' ? reason.message : 'a cancellation';
  return new TzError('TZ_ERROR_CANCEL', 'api', `${kind}: expected an answer, got ${why}`, { cause: reason });
}
