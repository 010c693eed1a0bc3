/** The main thread's end of a PAL's thread: messages and their answers, one after another, and what the PAL's services ask for. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { TrustvisorError } from './error.js';
import type { HostCall } from './host-services.js';
import type { PalQuote } from './options.js';
import type { ServiceReply } from './service-plan.js';
import { type FromWorker, type HostQuestion, SHARED, type ToWorker, type WorkerStart } from './worker-messages.js';

/** What a thread asks of the isolate. */
export interface ThreadHost {
  /** Answers what the PAL's services leave to the main thread; never rejects. */
  readonly service: (call: HostCall) => Promise<ServiceReply>;
  /** Passes on what the PAL prints. */
  readonly print: (text: string) => void;
}

type Answer = Exclude<FromWorker, { readonly kind: 'print' }>;

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/** How long one that is to be wiped may take, in milliseconds. */
const PATIENCE = 200;

/**
 * Threads that have no PAL yet: one more than is needed is always started, because that takes longer than all the rest of a
 * registration. None is used twice.
 */
export class ThreadStock {
  readonly #url: URL;
  #spare: Worker | undefined;
  #isClosed = false;

  /** `url` is that of pal-worker.ts. */
  constructor(url: URL) {
    this.#url = url;
    this.#refill();
  }

  /** A thread that waits for its first message. */
  take(): Worker {
    const worker = this.#spare ?? startWorker(this.#url);
    this.#spare = undefined;
    worker.removeAllListeners();
    worker.ref();
    setImmediate(() => this.#refill());
    return worker;
  }

  /** Ends the one that waits. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#spare?.terminate();
  }

  #refill(): void {
    if (this.#isClosed || this.#spare !== undefined) return;
    const worker = startWorker(this.#url);
    const forget = () => {
      if (this.#spare === worker) this.#spare = undefined;
    };
    worker.on('error', forget);
    worker.on('exit', forget);
    worker.unref();
    this.#spare = worker;
  }
}

function startWorker(url: URL): Worker {
  return new Worker(url, {
    env: {},
    execArgv: [],
    stdin: false,
    resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 },
  });
}

/** A running thread. */
export class PalThread {
  readonly #name: string;
  readonly #worker: Worker;
  readonly #words = new Int32Array(new SharedArrayBuffer(SHARED.SIZE));
  readonly #questions: MessagePort;
  readonly #host: ThreadHost;
  /** Who waits for answers, in the order of the questions; the first is whether it is ready. */
  readonly #waiting: Waiting[] = [];
  readonly #ready: Promise<Answer>;
  readonly #whenEnded: (error: TrustvisorError) => void;
  /** Resolves when nothing of it runs any more. */
  readonly exited: Promise<void>;
  #ended: TrustvisorError | undefined;

  /** Takes one of `stock`. `whenEnded` is told why it ended, whoever ended it. */
  constructor(
    stock: ThreadStock,
    start: Omit<WorkerStart, 'shared' | 'host'>,
    host: ThreadHost,
    whenEnded: (error: TrustvisorError) => void = () => undefined,
  ) {
    this.#whenEnded = whenEnded;
    this.#name = start.services.name;
    this.#host = host;
    this.#worker = stock.take();
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ ...start, shared: this.#words.buffer, host: port2 }, [port2]);
    this.#questions = port1;
    port1.on('message', (question: HostQuestion) => void this.#answer(question));
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.end(asTrustvisorError(error)));
    this.exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.end();
        resolve();
      });
    });
    this.#ready = this.#next();
    this.#ready.catch(() => undefined); // whoever waits for it is told
  }

  /** Why it ended, if it has. */
  get ended(): TrustvisorError | undefined {
    return this.#ended;
  }

  /** Whether the application's call keeps it busy. */
  get #isBusy(): boolean {
    return Atomics.load(this.#words, SHARED.BUSY) === 1;
  }

  /** TPMT_PUBLIC of the PAL's identity, as soon as it is loaded. Throws {@link TrustvisorError} with code `refused` or `memory`. */
  async ready(): Promise<Uint8Array> {
    const answer = await this.#ready;
    if (answer.kind === 'ready') return answer.identity;
    const problem = answer.kind === 'refused' ? answer.problem : `its thread answered ${answer.kind}`;
    const code = answer.kind === 'refused' && answer.outOfMemory ? 'memory' : 'refused';
    throw new TrustvisorError(code, `load PAL ${this.#name}: ${problem}`);
  }

  /** Sends what has no answer. */
  send(message: Extract<ToWorker, { readonly kind: 'reset' | 'serve' }>): void {
    this.#worker.postMessage(message);
  }

  /** Sends what has an answer of kind `expected`, or of another that the caller knows. */
  async ask<K extends Answer['kind']>(
    message: Exclude<ToWorker, { readonly kind: 'reset' | 'serve' }>,
    ...expected: readonly K[]
  ): Promise<Extract<Answer, { readonly kind: K }>> {
    if (this.#ended !== undefined) throw this.#ended;
    this.#worker.postMessage(message);
    const answer = await this.#next();
    if (isOf(answer, expected)) return answer;
    const problem = answer.kind === 'failed' ? answer.problem : `its thread answered ${answer.kind}`;
    throw new TrustvisorError(
      message.kind === 'quote' ? 'tpm' : 'refused',
      `${message.kind} PAL ${this.#name}: ${problem}`,
    );
  }

  /** A quote by the PAL's identity. */
  async quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    return (await this.ask({ kind: 'quote', nonce, mask }, 'quoted')).quote;
  }

  /** Ends it as it is. */
  end(error = new TrustvisorError('closed', 'run PAL: its thread ended')): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#questions.close();
    void this.#worker.terminate();
    this.#whenEnded(error);
  }

  /** Has it overwrite what it holds; one that does not answer at once is ended as it is. */
  async wipeAndEnd(): Promise<void> {
    // One that the application keeps busy would not hear it.
    if (this.#ended === undefined && !this.#isBusy) {
      const patience = setTimeout(() => this.end(), PATIENCE);
      await this.ask({ kind: 'wipe' }, 'wiped').catch(() => undefined);
      clearTimeout(patience);
    }
    this.end();
    await this.exited;
  }

  #next(): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'print') this.#host.print(message.text);
    else this.#waiting.shift()?.resolve(message);
  }

  async #answer({ id, call }: HostQuestion): Promise<void> {
    const reply = await this.#host.service(call);
    if (this.#ended !== undefined) return;
    this.#questions.postMessage({ id, reply });
    Atomics.store(this.#words, SHARED.ANSWERED, 1);
    Atomics.notify(this.#words, SHARED.ANSWERED);
  }
}

function isOf<K extends Answer['kind']>(
  answer: Answer,
  kinds: readonly K[],
): answer is Extract<Answer, { readonly kind: K }> {
  return kinds.some((kind) => kind === answer.kind);
}

function asTrustvisorError(error: unknown): TrustvisorError {
  const outOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
  const problem = error instanceof Error ? error.message : String(error);
  return new TrustvisorError(outOfMemory ? 'memory' : 'closed', `run PAL: its thread ended: ${problem}`, {
    cause: error,
  });
}
