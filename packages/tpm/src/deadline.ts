/** How long one command may take, and whoever else may give it up (Part 1, section 18). */
import { TpmError } from './response-code.js';

/**
 * The limit on commands that run one at a time. One signal serves command after command until it fires: making one, and
 * listening to it, costs more than the rest of a command.
 */
export class Deadline {
  readonly #milliseconds: number;
  #controller = new AbortController();
  #giveUp: ((reason: unknown) => void) | undefined;

  /** Each command gets `milliseconds`. */
  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  /**
   * Runs `work`, which is given the signal that tells it to stop. Rejects when the time is over, with `TpmError`
   * `timeout`, or when `outer` fires, with its reason, even where `work` does not stop.
   */
  async run<T>(command: string, work: (signal: AbortSignal) => Promise<T>, outer: AbortSignal | undefined): Promise<T> {
    outer?.throwIfAborted();
    const timer = setTimeout(() => this.#stop(this.#expired(command)), this.#milliseconds);
    const forward = (): void => this.#stop(outer?.reason);
    outer?.addEventListener('abort', forward, { once: true });
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#giveUp = reject;
        work(this.#controller.signal).then(resolve, reject);
      });
    } finally {
      this.#giveUp = undefined;
      clearTimeout(timer);
      outer?.removeEventListener('abort', forward);
    }
  }

  #stop(reason: unknown): void {
    const controller = this.#controller;
    this.#controller = new AbortController();
    this.#giveUp?.(reason);
    controller.abort(reason);
  }

  #expired(command: string): TpmError {
    return new TpmError('timeout', `execute ${command}: expected a response within ${this.#milliseconds} ms`);
  }
}
