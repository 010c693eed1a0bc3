/** The application's calls of one PAL: by its lane where it has one and the call fits it, else through the isolate. */
import type { Duplex } from 'node:stream';
import { TrustvisorError } from './error.js';
import { decodeLaneReply, encodeLaneCall, LaneFrames, type LaneReply } from './lane.js';
import { type Body, MAX_TIME_LIMIT } from './protocol.js';

/** What a call gave. */
export type CallResult = Body<34>;

/** What the calls of a PAL need of the isolate. */
export interface IsolateCalls {
  readonly name: string;
  /** Calls through the isolate. */
  call(body: Body<3>, signal: AbortSignal | undefined): Promise<CallResult>;
  /** Ends what runs by the lane; throws why it had ended by itself. */
  stop(): Promise<void>;
}

const MAX_WAITING = 64;
/** How long the PAL's end may take to say itself that the time is up, in milliseconds. */
const PATIENCE = 20;

/** Calls run one after another. Without a lane the isolate sees to that, with one this end does. */
export class PalCalls {
  readonly #isolate: IsolateCalls;
  #lane: Lane | undefined;
  /** Whether a call runs by the lane, or is about to be sent. */
  #isBusy = false;
  /** Calls that are under way through the isolate. */
  #outside = 0;
  #isClosed = false;
  #isIsolateGone = false;
  readonly #waiting: (() => void)[] = [];
  /** Texts printed so far. */
  #prints = 0;
  #printed: (() => void) | undefined;

  constructor(isolate: IsolateCalls) {
    this.#isolate = isolate;
  }

  /** From now on `stream` leads to the PAL, which takes inputs of at most `inputCapacity` bytes. */
  useLane(stream: Duplex, inputCapacity: number): void {
    this.#lane = new Lane(stream, inputCapacity);
  }

  /** What was at the other end of the lane is to end, or has ended. */
  dropLane(): void {
    this.#lane?.end();
    this.#lane = undefined;
  }

  /** To be told of each text that the PAL printed. */
  countPrint(): void {
    this.#prints++;
    this.#printed?.();
  }

  /** The isolate tells nothing more: what a call printed and is not here yet is lost. */
  isolateEnded(): void {
    this.#isIsolateGone = true;
    this.#printed?.();
  }

  /** Calls the entry. */
  async invoke(body: Body<3>, signal: AbortSignal | undefined): Promise<CallResult> {
    if (this.#isBusy) await this.#turn();
    else this.#isBusy = true;
    const lane = this.#laneFor(body);
    if (lane === undefined) return this.#throughIsolate(body, signal);
    try {
      return await this.#byLane(lane, body, signal);
    } finally {
      this.#next();
    }
  }

  /** The PAL is unregistered, or the isolate gone: what runs by the lane ends with `aborted`. */
  close(): void {
    this.#isClosed = true;
    this.#lane?.end();
    this.#printed?.();
  }

  /** One that is called both ways at once would run two calls at once. */
  #laneFor({ lent }: Body<3>): Lane | undefined {
    const lane = this.#lane;
    return lane === undefined || lane.isEnded || lent.length > 0 || this.#outside > 0 ? undefined : lane;
  }

  async #throughIsolate(body: Body<3>, signal: AbortSignal | undefined): Promise<CallResult> {
    this.#outside++;
    try {
      const sent = signal?.aborted ? Promise.reject(this.#aborted()) : this.#isolate.call(body, signal);
      this.#next(); // the isolate takes them one after another
      return await sent;
    } finally {
      this.#outside--;
    }
  }

  #next(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isBusy = false;
    else next();
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING - 1) {
      const problem = `expected fewer than ${MAX_WAITING} calls to wait`;
      throw new TrustvisorError('busy', `call PAL ${this.#isolate.name}: ${problem}`);
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  async #byLane(lane: Lane, body: Body<3>, signal: AbortSignal | undefined): Promise<CallResult> {
    this.#assertCall(lane, body);
    if (signal?.aborted) throw this.#aborted();
    const before = this.#prints;
    let reason: TrustvisorError | undefined;
    const end = (error: TrustvisorError) => {
      reason ??= error;
      lane.end();
      this.#printed?.();
    };
    let afterReading: NodeJS.Immediate | undefined;
    // Where this program was busy for long, the reply may be there and not read yet.
    const late = () => {
      afterReading = setImmediate(() => end(this.#late(body.timeLimit)));
    };
    const given = () => end(this.#aborted());
    const timer = setTimeout(late, body.timeLimit + PATIENCE);
    signal?.addEventListener('abort', given, { once: true });
    try {
      const reply = await lane.call(body);
      if (reply === undefined) throw await this.#whyEnded(reason);
      await this.#allPrinted(before + reply.prints, lane);
      if (reason !== undefined) throw await this.#whyEnded(reason);
      if (reply.kind === 'failed') throw reply.error;
      return { returnCode: reply.returnCode, output: reply.output, written: [] };
    } finally {
      clearTimeout(timer);
      clearImmediate(afterReading);
      signal?.removeEventListener('abort', given);
    }
  }

  #assertCall(lane: Lane, { input, timeLimit }: Body<3>): void {
    if (timeLimit < 1 || timeLimit > MAX_TIME_LIMIT) {
      const problem = `expected a time limit from 1 to ${MAX_TIME_LIMIT} ms, got ${timeLimit}`;
      throw new TrustvisorError('input', `call PAL: ${problem}`);
    }
    if (input.length > lane.inputCapacity) {
      const problem = `expected an input of at most ${lane.inputCapacity} bytes, got ${input.length}`;
      throw new TrustvisorError('input', `call PAL ${this.#isolate.name}: ${problem}`);
    }
  }

  /** When this resolves the PAL is as if newly registered. */
  async #whyEnded(reason: TrustvisorError | undefined): Promise<unknown> {
    if (this.#isClosed) return this.#aborted();
    try {
      await this.#isolate.stop();
      return reason ?? new TrustvisorError('closed', `call PAL ${this.#isolate.name}: its end of the lane is gone`);
    } catch (error) {
      return reason ?? error;
    }
  }

  /** What it printed comes through the isolate, and is to be there before its result. */
  async #allPrinted(count: number, lane: Lane): Promise<void> {
    while (this.#prints < count && !this.#isClosed && !this.#isIsolateGone && !lane.isEnded) {
      await new Promise<void>((resolve) => {
        this.#printed = resolve;
      });
    }
  }

  #aborted(): TrustvisorError {
    return new TrustvisorError('aborted', `run PAL ${this.#isolate.name}: the caller gave it up`);
  }

  #late(timeLimit: number): TrustvisorError {
    return new TrustvisorError('timeout', `run PAL ${this.#isolate.name}: expected an end within ${timeLimit} ms`);
  }
}

/** The application's end of a lane: one call at a time. */
class Lane {
  readonly inputCapacity: number;
  readonly #stream: Duplex;
  readonly #frames = new LaneFrames();
  #waiting: ((reply: LaneReply | undefined) => void) | undefined;
  #isEnded = false;

  constructor(stream: Duplex, inputCapacity: number) {
    this.#stream = stream;
    this.inputCapacity = inputCapacity;
    stream.on('data', (chunk: Uint8Array) => this.#receive(chunk));
    for (const event of ['end', 'close', 'error']) stream.on(event, () => this.end());
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** `undefined` where the lane ended before the reply came. */
  call(call: Body<3>): Promise<LaneReply | undefined> {
    return new Promise((resolve) => {
      if (this.#isEnded) return resolve(undefined);
      this.#waiting = resolve;
      this.#stream.write(encodeLaneCall(call));
    });
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stream.destroy();
    this.#settle(undefined);
  }

  #receive(chunk: Uint8Array): void {
    try {
      this.#frames.push(chunk, (content) => this.#settle(decodeLaneReply(content)));
    } catch {
      this.end(); // the PAL's end breaks the frames: it is asked through the isolate what is wrong with it
    }
  }

  #settle(reply: LaneReply | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(reply);
  }
}
