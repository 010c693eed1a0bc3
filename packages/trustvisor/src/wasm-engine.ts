/** The engine `wasm`: one worker thread of the isolate for each PAL, stopped when its time is up. */
import { Worker } from 'node:worker_threads';
import { PAL_FLAGS, PAL_KIND, PAL_PARAMETER, PAL_SECTION, type PalImage } from '@casemate/pal-linker';
import {
  type EngineHost,
  type EnginePal,
  type LaneFailure,
  parameterSection,
  planLayout,
  type Run,
  type RunOutcome,
} from './engine.js';
import { TrustvisorError } from './error.js';
import { closeLane, type Lanes } from './lanes.js';
import { isMarshalled, type MarshalPlan, type PreparedCall, planMarshalling } from './marshal.js';
import { MAX_DATA } from './protocol.js';
import type { Engines } from './registered-pal.js';
import { decodeCall, encodeReplyInto, replyLength } from './service-codec.js';
import type { ServiceCall, ServiceReply } from './service-plan.js';
import { type FromWorker, MAILBOX, type ToWorker, type WorkerStart } from './worker-messages.js';

const NOTHING = new Uint8Array(0);

/** A PAL in a worker thread. The thread is started at the first need, and anew after it had to be stopped. */
export class WasmPal implements EnginePal {
  readonly inputCapacity: number;
  readonly #name: string;
  readonly #workerUrl: URL;
  readonly #start: Omit<WorkerStart, 'mailbox' | 'lane'>;
  readonly #lanes: Lanes | undefined;
  readonly #host: EngineHost;
  /** Where the entry takes parameters of its own, and how many bytes each has in WebAssembly. */
  readonly #plan: MarshalPlan | undefined;
  readonly #sizes: readonly number[];
  #thread: Thread | undefined;

  /** Throws {@link TrustvisorError} with code `unsupported-engine` or `refused`. */
  constructor(
    image: PalImage,
    { workerUrl, arena, lanes }: Pick<Engines, 'workerUrl' | 'arena' | 'lanes'>,
    host: EngineHost,
  ) {
    if (image.kind !== PAL_KIND.WASM) {
      throw new TrustvisorError(
        'unsupported-engine',
        `load PAL ${image.name}: the engine wasm runs no image of kind ${image.kind}`,
      );
    }
    const code = image.sections.find(({ type }) => type === PAL_SECTION.CODE)?.content ?? new Uint8Array(0);
    const layout = isMarshalled(image) ? undefined : planLayout(image);
    this.#plan = isMarshalled(image) ? planMarshalling(image) : undefined;
    this.#sizes = image.parameters.map(({ type, size }) => (type === PAL_PARAMETER.INTEGER ? size : 4));
    this.#name = image.name;
    this.inputCapacity = layout?.inputCapacity ?? MAX_DATA;
    this.#workerUrl = workerUrl;
    const section = parameterSection(image);
    const stateful = (image.flags & PAL_FLAGS.replayProtected) !== 0;
    this.#start = { code, layout, section, arena, stateful };
    this.#lanes = layout === undefined || stateful ? undefined : lanes;
    this.#host = host;
  }

  async load(timeLimit: number): Promise<void> {
    if (this.#thread !== undefined) return;
    const lane = this.#lanes?.take();
    const thread = new Thread(this.#workerUrl, { ...this.#start, lane: lane?.fd }, this.#host);
    this.#thread = thread;
    const first = await this.#limited(thread, { timeLimit }, thread.next());
    if (first.kind === 'ready') {
      if (lane !== undefined) this.#host.lane(lane.number, this.inputCapacity);
      return;
    }
    if (lane !== undefined) closeLane(lane); // a thread that is not ready has not opened it
    this.#drop(thread);
    const problem = first.kind === 'refused' ? first.problem : `it answered ${first.kind}`;
    const code = first.kind === 'refused' && first.outOfMemory ? 'memory' : 'refused';
    throw new TrustvisorError(code, `load PAL ${this.#name}: ${problem}`);
  }

  async run(run: Run): Promise<RunOutcome> {
    if (run.signal?.aborted) throw this.#aborted();
    const prepared = this.#plan?.prepare(run.input);
    if (this.#thread?.ended) this.#thread = undefined;
    if (this.#thread === undefined) await this.load(run.timeLimit);
    if (run.signal?.aborted) throw this.#aborted();
    const thread = this.#thread;
    if (thread === undefined) throw new TrustvisorError('closed', `run PAL ${this.#name}: it was closed`);
    const { command, input, state, lent } = run;
    const call = prepared && { arguments: this.#numbers(prepared), area: prepared.area };
    thread.send({ kind: 'run', command, input: call ? NOTHING : input, state, lent, call });
    const end = await this.#limited(thread, run, thread.next());
    if (end.kind === 'returned') return prepared ? { ...end, output: prepared.output(end.output) } : end;
    if (end.kind === 'fault') return end;
    this.#drop(thread);
    throw new TrustvisorError('refused', `run PAL ${this.#name}: expected a result, got ${end.kind}`);
  }

  stop(): TrustvisorError | undefined {
    const thread = this.#thread;
    const error = thread?.ended;
    if (thread !== undefined) this.#drop(thread, this.#aborted());
    return error;
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    if (thread !== undefined) await thread.wipeAndEnd();
  }

  /** As JavaScript gives them to WebAssembly: signed, and the long ones as bigint. */
  #numbers(call: PreparedCall): readonly (number | bigint)[] {
    return call.arguments.map((value, i) =>
      this.#sizes[i] === 8 ? BigInt.asIntN(64, value) : Number(BigInt.asIntN(32, value)),
    );
  }

  /** Waits for `end`, but stops the thread when time is up or the caller gives up. */
  async #limited(
    thread: Thread,
    { timeLimit, signal }: Pick<Run, 'timeLimit' | 'signal'>,
    end: Promise<FromWorker>,
  ): Promise<FromWorker> {
    const stop = (error: TrustvisorError) => {
      this.#drop(thread, error);
    };
    const late = () =>
      stop(new TrustvisorError('timeout', `run PAL ${this.#name}: expected an end within ${timeLimit} ms`));
    const given = () => stop(this.#aborted());
    const timer = setTimeout(late, timeLimit);
    signal?.addEventListener('abort', given, { once: true });
    try {
      return await end;
    } catch (error) {
      this.#drop(thread);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', given);
    }
  }

  #aborted(): TrustvisorError {
    return new TrustvisorError('aborted', `run PAL ${this.#name}: the caller gave it up`);
  }

  #drop(thread: Thread, error?: TrustvisorError): void {
    if (this.#thread === thread) {
      this.#thread = undefined;
      // The end of its lane comes when the thread has stopped: the application must know it before the next call.
      this.#host.lane(undefined, 0);
    }
    thread.end(error);
  }
}

/** Service calls that are answered before the event loop goes on: a PAL that calls without end must not keep it. */
const IN_A_ROW = 8;

/** A worker thread as a sequence of messages, with service calls answered on the side. */
class Thread {
  readonly #worker: Worker;
  readonly #mailbox = new SharedArrayBuffer(MAILBOX.SIZE);
  readonly #words = new Int32Array(this.#mailbox);
  readonly #content = new Uint8Array(this.#mailbox, MAILBOX.CONTENT);
  readonly #host: EngineHost;
  #waiting: { resolve(message: FromWorker): void; reject(error: unknown): void } | undefined;
  #early: FromWorker | undefined;
  #ended: TrustvisorError | undefined;

  constructor(url: URL, start: Omit<WorkerStart, 'mailbox'>, host: EngineHost) {
    this.#host = host;
    this.#worker = new Worker(url, {
      workerData: { ...start, mailbox: this.#mailbox },
      env: {},
      execArgv: [],
      stdin: false,
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 },
    });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.end(asTrustvisorError(error)));
    this.#worker.on('exit', () => this.end());
    this.#listen();
  }

  /** Why it ended, if it has. */
  get ended(): TrustvisorError | undefined {
    return this.#ended;
  }

  send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  /** The next message that is not a service call. */
  next(): Promise<FromWorker> {
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined) return Promise.resolve(early);
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  end(error = new TrustvisorError('closed', 'run PAL: its thread ended')): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    Atomics.notify(this.#words, MAILBOX.ASKED); // nothing waits for it any more
    void this.#worker.terminate();
  }

  /** Asks the thread to overwrite the PAL's memory; one that does not answer at once is stopped as it is. */
  async wipeAndEnd(): Promise<void> {
    // One that the application keeps busy would not hear it.
    if (this.#ended === undefined && Atomics.load(this.#words, MAILBOX.BUSY) === 0) {
      this.send({ kind: 'wipe' });
      const patience = setTimeout(() => this.end(), 200);
      await this.next().catch(() => undefined);
      clearTimeout(patience);
    }
    this.end();
    await this.#worker.terminate();
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'service') void this.#serve(message.call);
    else if (message.kind === 'print') this.#host.print(message.text);
    else if (message.kind === 'lane-fault') void this.#explain(message);
    else this.#deliver(message);
  }

  #deliver(message: FromWorker): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#early = message;
    else waiting.resolve(message);
  }

  /** Serves the calls in the mailbox. To be woken by a message takes a quarter longer. */
  #listen(): void {
    for (let served = 0; served < IN_A_ROW; served++) {
      if (this.#ended !== undefined) return;
      if (Atomics.exchange(this.#words, MAILBOX.ASKED, 0) === 1) {
        void this.#serve(decodeCall(this.#content.subarray(0, this.#words[MAILBOX.LENGTH])));
      }
      const asked = Atomics.waitAsync(this.#words, MAILBOX.ASKED, 0);
      if (asked.async) {
        void asked.value.then(() => this.#listen());
        return;
      }
    }
    setImmediate(() => this.#listen());
  }

  /** Without a turn of the event loop where the answer is there at once. */
  #serve(call: ServiceCall): Promise<void> | undefined {
    const reply = this.#host.service(call);
    if (reply instanceof Promise) return reply.then((late) => this.#reply(late));
    this.#reply(reply);
    return undefined;
  }

  #reply(reply: ServiceReply): void {
    const length = replyLength(reply);
    if (length > this.#content.length) {
      this.#wake({ kind: 'service-reply', reply });
      return;
    }
    encodeReplyInto(reply, this.#content);
    this.#words[MAILBOX.LENGTH] = length;
    this.#wake(undefined);
  }

  async #explain({
    fault,
    problem,
  }: Pick<Extract<LaneFailure, { kind: 'fault' }>, 'fault' | 'problem'>): Promise<void> {
    this.#wake({ kind: 'lane-reply', failure: await this.#host.laneFailed({ kind: 'fault', fault, problem }) });
  }

  #wake(message: ToWorker | undefined): void {
    if (this.#ended !== undefined) return;
    if (message !== undefined) {
      this.#words[MAILBOX.LENGTH] = 0;
      this.send(message);
    }
    Atomics.store(this.#words, MAILBOX.ANSWERED, 1);
    Atomics.notify(this.#words, MAILBOX.ANSWERED);
  }
}

function asTrustvisorError(error: unknown): TrustvisorError {
  const outOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
  const problem = error instanceof Error ? error.message : String(error);
  return new TrustvisorError(outOfMemory ? 'memory' : 'closed', `run PAL: its thread ended: ${problem}`, {
    cause: error,
  });
}
