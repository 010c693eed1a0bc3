/** The service manager; TrustZone API 3.0, sections 6.3 and 7.2. */
import type { ServiceStore } from './driver.js';
import { undefinedCall } from './error.js';
import type { TzState } from './return-code.js';
import type { Uuid } from './uuid.js';

/** A session with the service manager of a device. `await using` closes it. */
export class Manager implements AsyncDisposable {
  readonly #services: ServiceStore;
  readonly #ended: () => void;
  readonly #pending = new Set<Promise<unknown>>();
  #state: TzState = 'OPEN';

  /** Made by `Device.openManager`. */
  constructor(services: ServiceStore, ended: () => void) {
    this.#services = services;
    this.#ended = ended;
  }

  /** OPEN until it is closed, then UNDEFINED. */
  get state(): TzState {
    return this.#state;
  }

  /** The UUIDs of the installed services. Throws TzError from the device. */
  getServiceList(): Promise<readonly Uuid[]> {
    return this.#track('getServiceList', () => this.#services.list());
  }

  /**
   * Installs the service in `image`, a PAL image for the devices of this package, and returns its UUID.
   * Throws TzError: `TZ_ERROR_ILLEGAL_ARGUMENT` for what is no image, `TZ_ERROR_ACCESS_DENIED` for a duplicate.
   */
  downloadService(image: Uint8Array): Promise<Uuid> {
    return this.#track('downloadService', () => this.#services.download(image));
  }

  /** Removes a service. Throws TzError: `TZ_ERROR_ACCESS_DENIED` for one that is not there, `TZ_ERROR_BUSY` while it has sessions. */
  removeService(service: Uuid): Promise<void> {
    return this.#track('removeService', () => this.#services.remove(service));
  }

  /** Waits for what is pending and closes the session; the services stay. Throws `TZ_ERROR_UNDEFINED` when it is closed. */
  async close(): Promise<void> {
    this.#assertOpen('close');
    this.#state = 'UNDEFINED';
    await Promise.allSettled(this.#pending);
    this.#ended();
  }

  /** Closes the session if it is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'OPEN') await this.close();
  }

  async #track<T>(call: string, run: () => Promise<T>): Promise<T> {
    this.#assertOpen(call);
    const work = run();
    this.#pending.add(work);
    try {
      return await work;
    } finally {
      this.#pending.delete(work);
    }
  }

  #assertOpen(call: string): void {
    if (this.#state !== 'OPEN') throw undefinedCall(call, 'a manager session in state OPEN', this.#state);
  }
}
