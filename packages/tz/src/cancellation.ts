/** The end of an operation before its time: by the client, by its signal, by its time limit; TrustZone API 3.0, section 4.5. */

/** Asked for once at most; those who are concerned are told. An AbortSignal is made only for who wants one: it costs more than a call. */
export class Cancellation {
  #reason: { readonly value: unknown } | undefined;
  #controller: AbortController | undefined;
  #listeners: Set<(reason: unknown) => void> | undefined;

  /** Whether it has been asked for. */
  get requested(): boolean {
    return this.#reason !== undefined;
  }

  /** Why, where that was said. */
  get reason(): unknown {
    return this.#reason?.value;
  }

  /** Aborted when it is asked for. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason) this.#controller.abort(this.#reason.value);
    return this.#controller.signal;
  }

  /** Asks for it. */
  request(reason?: unknown): void {
    if (this.#reason) return;
    this.#reason = { value: reason };
    this.#controller?.abort(reason);
    for (const listener of this.#listeners ?? []) listener(reason);
  }

  /** Tells `listener` when it is asked for, at once if it has been; until the function that this returns is called. */
  onRequest(listener: (reason: unknown) => void): () => void {
    if (this.#reason) listener(this.#reason.value);
    this.#listeners ??= new Set();
    const listeners = this.#listeners.add(listener);
    return () => void listeners.delete(listener);
  }
}
