/** Ending one call early: what the calls need of AbortSignal, at a small part of its cost, which every call would pay. */

/** Tells that a call is to end; an AbortSignal is one. */
export interface StopSignal {
  /** Whether it has been told. */
  readonly aborted: boolean;
  /** Calls `listener` when it is told. */
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
  /** Forgets `listener`. */
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Both ends of it. */
export class Stop implements StopSignal {
  #listeners: (() => void)[] = [];
  #aborted = false;

  get aborted(): boolean {
    return this.#aborted;
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners = this.#listeners.filter((each) => each !== listener);
  }

  /** Tells it, once. */
  abort(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}
