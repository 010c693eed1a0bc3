/** A first-come, first-served lock, so that one command is outstanding at a time. */

/** Runs tasks one after another; the next starts when the one before has settled. */
export class Lock {
  /** Tasks that have not settled. */
  #unsettled = 0;
  #last: Promise<void> = Promise.resolve();

  /**
   * Runs `task` when all earlier ones have settled: at once where there is none. A `signal` that fires while the task
   * waits rejects and skips it; a task that is running must watch the signal itself.
   */
  run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const waits = this.#unsettled > 0;
    const start = (): Promise<T> => {
      signal?.throwIfAborted();
      return task();
    };
    const turn = waits ? this.#last.then(start) : started(task);
    const settle = (): void => void this.#unsettled--;
    this.#unsettled++;
    this.#last = turn.then(settle, settle);
    return waits && signal ? orAborted(turn, signal) : turn;
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
