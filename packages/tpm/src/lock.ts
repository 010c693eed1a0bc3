/** A first-come, first-served lock, so that one command is outstanding at a time. */

/** Runs tasks one after another; the next starts when the one before has settled. */
export class Lock {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` when all earlier ones have settled. A `signal` that fires while waiting rejects and skips the task. */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#last;
    const turn = before.then(() => {
      signal?.throwIfAborted();
      return task();
    });
    this.#last = turn.catch(() => undefined);
    return signal ? await orAborted(turn, signal) : await turn;
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
