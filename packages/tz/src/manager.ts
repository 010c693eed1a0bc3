/** The service manager; TrustZone API 3.0, sections 6.3 and 7.2. */
import type { ServiceStore } from './driver.js';
import { TzError, undefinedCall } from './error.js';
import {
  assertRoom,
  copyProperty,
  isVisible,
  type Property,
  type PropertyName,
  propertyNames,
  propertyValue,
} from './property.js';
import type { TzState } from './return-code.js';
import type { Uuid } from './uuid.js';

/** A session with the service manager of a device. `await using` closes it. */
export class Manager implements AsyncDisposable {
  readonly #services: ServiceStore;
  readonly #ended: () => void;
  readonly #pending = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
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

  /**
   * The UUIDs of the installed services. Throws TzError from the device, and `TZ_ERROR_SHORT_BUFFER` where they are more than
   * `capacity`, with their number as `needed`.
   */
  async getServiceList(capacity?: number): Promise<readonly Uuid[]> {
    const list = await this.#track('getServiceList', () => this.#services.list());
    assertRoom('list services', list.length, capacity);
    return list;
  }

  /**
   * The names of a service's properties: UUID, NAME and VENDOR, what the device knows of it, and what it says itself. Throws
   * `TZ_ERROR_ACCESS_DENIED` for no such service, `TZ_ERROR_SHORT_BUFFER` where they are more than `capacity`.
   */
  async getServicePropertyList(service: Uuid, capacity?: number): Promise<readonly PropertyName[]> {
    return propertyNames(await this.#propertiesOf('getServicePropertyList', service), capacity);
  }

  /** The value of a service's property. Throws `TZ_ERROR_ACCESS_DENIED` for no such service or property. */
  async getServiceProperty(service: Uuid, property: PropertyName): Promise<Uint8Array> {
    return propertyValue(await this.#propertiesOf('getServiceProperty', service), property);
  }

  /**
   * Copies the value of a service's property into `buffer` and returns its length; `null` only asks for the length. Throws as
   * {@link getServiceProperty} does, and `TZ_ERROR_SHORT_BUFFER` with the length as `needed`, having copied nothing.
   */
  async readServiceProperty(service: Uuid, property: PropertyName, buffer: Uint8Array | null): Promise<number> {
    return copyProperty(await this.getServiceProperty(service, property), buffer);
  }

  /**
   * Installs the service in `image`, a PAL image for the devices of this package, and returns its UUID. Throws TzError:
   * `TZ_ERROR_ACCESS_DENIED` for what is no image, a duplicate, a signature that is bad or not accepted, or a login that may not;
   * `TZ_ERROR_CANCEL` where the session is closed before.
   */
  downloadService(image: Uint8Array): Promise<Uuid> {
    return this.#track('downloadService', () => this.#services.download(image, this.#closing.signal));
  }

  /**
   * Removes a service. Throws TzError: `TZ_ERROR_ACCESS_DENIED` for one that is not there or a login that may not, `TZ_ERROR_BUSY` while
   * it has sessions.
   */
  removeService(service: Uuid): Promise<void> {
    return this.#track('removeService', () => this.#services.remove(service));
  }

  /** Cancels what is pending, waits for its end and closes the session; the services stay. Throws `TZ_ERROR_UNDEFINED` when it is closed. */
  async close(): Promise<void> {
    this.#assertOpen('close');
    this.#state = 'UNDEFINED';
    this.#closing.abort();
    await Promise.allSettled(this.#pending);
    this.#ended();
  }

  /** Closes the session if it is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'OPEN') await this.close();
  }

  /** What a client may see; a driver that shows more is not believed. */
  async #propertiesOf(call: string, service: Uuid): Promise<readonly Property[]> {
    const properties = await this.#track(call, () => this.#services.properties(service));
    return properties.filter(isVisible);
  }

  async #track<T>(call: string, run: () => Promise<T>): Promise<T> {
    this.#assertOpen(call);
    const work = run();
    this.#pending.add(work);
    try {
      return await work;
    } catch (error) {
      if (error instanceof TzError) throw error;
      if (this.#closing.signal.aborted) throw new TzError('TZ_ERROR_CANCEL', 'api', `${call}: the session was closed`);
      const problem = error instanceof Error ? error.message : String(error);
      throw new TzError('TZ_ERROR_COMMUNICATION', 'communication', `${call}: ${problem}`, { cause: error });
    } finally {
      this.#pending.delete(work);
    }
  }

  #assertOpen(call: string): void {
    if (this.#state !== 'OPEN') throw undefinedCall(call, 'a manager session in state OPEN', this.#state);
  }
}
