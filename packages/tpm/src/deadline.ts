/** How long one command may take, and whoever else may give it up (Part 1, section 18). */
import { TpmError } from './response-code.js';

interface Running {
  readonly command: string;
  readonly reject: (reason: unknown) => void;
  /** When its time is over, on the clock of `performance.now()`. */
  readonly due: number;
  readonly outer: AbortSignal | undefined;
  readonly abort: () => void;
}

/**
 * The limit on commands that run one at a time. One timer and one signal serve command after command, because making
 * them anew would take longer than the rest of the client does.
 */
export class Deadline {
  readonly #milliseconds: number;
  #controller = new AbortController();
  #running: Running | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Each command gets `milliseconds`. */
  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  /**
   * Runs `work`, which is given the signal that tells it to stop. Rejects when the time is over, with `TpmError`
   * `timeout`, or when `outer` fires, with its reason, even where `work` does not stop.
   */
  run<T>(command: string, work: (signal: AbortSignal) => Promise<T>, outer: AbortSignal | undefined): Promise<T> {
    if (outer?.aborted) return Promise.reject(outer.reason);
    return new Promise<T>((resolve, reject) => {
      const running = this.#begin(command, reject, outer);
      const succeed = (value: T): void => {
        this.#end(running);
        resolve(value);
      };
      const fail = (error: unknown): void => {
        this.#end(running);
        reject(error);
      };
      work(this.#controller.signal).then(succeed, fail);
    });
  }

  /** Lets the timer go; for a client that is closed. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #begin(command: string, reject: (reason: unknown) => void, outer: AbortSignal | undefined): Running {
    const abort = (): void => this.#stop(outer?.reason);
    const running = { command, reject, due: performance.now() + this.#milliseconds, outer, abort };
    this.#running = running;
    busy.add(this);
    outer?.addEventListener('abort', abort, { once: true });
    if (this.#timer === undefined) this.#wake(this.#milliseconds);
    else keepAlive(this.#timer, true);
    return running;
  }

  /** Does nothing for one that was stopped before. */
  #end(running: Running): void {
    if (this.#running !== running) return;
    this.#running = undefined;
    busy.delete(this);
    running.outer?.removeEventListener('abort', running.abort);
    if (this.#timer !== undefined) keepAlive(this.#timer, false);
  }

  #stop(reason: unknown): void {
    const running = this.#running;
    if (!running) return;
    const controller = this.#controller;
    this.#controller = new AbortController();
    this.#end(running);
    running.reject(reason);
    controller.abort(reason);
  }

  /** The timer alone keeps nothing in memory: minutes pass before it is due, and the client may be forgotten long before. */
  #wake(milliseconds: number): void {
    const self = new WeakRef(this);
    this.#timer = setTimeout(() => {
      const deadline = self.deref();
      if (deadline) deadline.#look();
    }, milliseconds);
  }

  /** The timer may have been set for an earlier command than the one that is running. */
  #look(): void {
    this.#timer = undefined;
    const running = this.#running;
    if (!running) return;
    const left = running.due - performance.now();
    if (left > 0) this.#wake(left);
    else this.#stop(this.#expired(running.command));
  }

  #expired(command: string): TpmError {
    return new TpmError('timeout', `execute ${command}: expected a response within ${this.#milliseconds} ms`);
  }
}

/** Those with a command under way, which must see its end even where nobody else remembers them. */
const busy = new Set<Deadline>();

/** Whether the timer keeps a Node process alive; browsers number their timers and know no such thing. */
function keepAlive(timer: ReturnType<typeof setTimeout>, isWanted: boolean): void {
  if (typeof timer !== 'object') return;
  if (isWanted) timer.ref();
  else timer.unref();
}
