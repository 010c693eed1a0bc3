/** A first-come, first-served lock, so that one command is outstanding at a time. */

/** Runs tasks one after another; the next starts when the one before has settled. */
export class Lock {
  /** Tasks that have not settled. */
  #unsettled = 0;
  #last: Promise<void> = Promise.resolve();
  readonly #settle = (): void => {
    this.#unsettled--;
  };

  /**
   * Runs `task` when all earlier ones have settled: at once where there is none. A `signal` that fires while the task
   * waits rejects and skips it; a task that is running must watch the signal itself.
   */
  run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const waits = this.#unsettled > 0;
    const turn = waits ? this.#after(this.#last, task, signal) : started(task);
    this.#unsettled++;
    this.#last = turn.then(this.#settle, this.#settle);
    return waits && signal ? orAborted(turn, signal) : turn;
  }

  #after<T>(before: Promise<void>, task: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return before.then(() => {
      signal?.throwIfAborted();
      return task();
    });
  }
}

/** `work`, or a rejection with the signal's reason as soon as it fires; `work` goes on unobserved. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** What `task` promises; a rejection where it throws at once. */
function started<T>(task: () => Promise<T>): Promise<T> {
  try {
    return task();
  } catch (error) {
    return Promise.reject(error);
  }
}
