/** Devices: the connection to a secure environment; TrustZone API 3.0, sections 6.1.1 to 6.1.4, 6.1.13 and 6.1.14. */
import type { CallOptions, DeviceConnection, DeviceDriver, ServiceReply } from './driver.js';
import { TzError, undefinedCall } from './error.js';
import type { Login } from './login.js';
import { Manager } from './manager.js';
import { Operation } from './operation.js';
import {
  copyProperty,
  numberValue,
  type Property,
  type PropertyName,
  propertyNames,
  propertyValue,
  textValue,
} from './property.js';
import { CASEMATE_PROPERTY, TZ_NAMESPACE, TZ_PROPERTY, type TzState } from './return-code.js';
import { endSession, Session, type SessionLink } from './session.js';
import { runAll } from './steps.js';
import { TimeLimit } from './time-limit.js';
import type { Uuid } from './uuid.js';

/** How to open a session. */
export interface OpenOptions {
  /** Which credentials the service is shown; none, which is PUBLIC, unless given. */
  readonly login?: Login;
  /** By when the opening must be over; made by this device. */
  readonly timeLimit?: TimeLimit;
}

/** Connects to the device behind `driver`. Throws TzError: what the driver throws, or `TZ_ERROR_COMMUNICATION` around it. */
export async function openDriver(driver: DeviceDriver): Promise<Device> {
  try {
    return new Device(driver.name, await driver.open());
  } catch (error) {
    if (error instanceof TzError) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    throw new TzError('TZ_ERROR_COMMUNICATION', 'communication', `open device ${driver.name}: ${problem}`, {
      cause: error,
    });
  }
}

/** An open device. `await using` closes its sessions and then the device. */
export class Device implements AsyncDisposable {
  readonly #connection: DeviceConnection;
  readonly #properties: readonly Property[];
  readonly #open = new Map<SessionLink | Manager, AsyncDisposable>();
  #state: TzState = 'OPEN';

  /** Made by `openDevice`. */
  constructor(name: string, connection: DeviceConnection) {
    this.#connection = connection;
    this.#properties = systemProperties(name, connection);
  }

  /** OPEN until it is closed, then UNDEFINED. */
  get state(): TzState {
    return this.#state;
  }

  /** Sessions that are open or being opened, the service manager's included. */
  get sessionCount(): number {
    return this.#open.size;
  }

  /** Makes a time limit `timeout` milliseconds from now, for operations of this device. Throws `TZ_ERROR_ILLEGAL_ARGUMENT`, `TZ_ERROR_UNDEFINED` when closed. */
  getTimeLimit(timeout: number): TimeLimit {
    this.#assertOpen('getTimeLimit');
    if (Number.isFinite(timeout) && timeout >= 0 && timeout <= MAX_TIMEOUT) return new TimeLimit(this, timeout);
    throw new TzError(
      'TZ_ERROR_ILLEGAL_ARGUMENT',
      'api',
      `make a time limit: expected 0 to ${MAX_TIMEOUT} ms, got ${timeout}`,
    );
  }

  /**
   * Prepares a session with `service` and the operation that opens it; encode the client's message, perform, release.
   * Throws `TZ_ERROR_UNDEFINED` when the device is closed or the time limit is another device's.
   */
  prepareOpen(service: Uuid, options: OpenOptions = {}): { readonly session: Session; readonly operation: Operation } {
    this.#assertOpen('prepareOpen');
    this.#checkTimeLimit(options.timeLimit);
    const link = this.#newLink(service);
    const session = new Session(link);
    const operation = this.#openOperation(link, service, options);
    link.operations.add(operation);
    this.#open.set(link, session);
    return { session, operation };
  }

  /** Opens a session without a message of the client: prepare, perform and release in one. Throws TzError as `Operation.perform` does. */
  async openSession(service: Uuid, options: OpenOptions & { readonly signal?: AbortSignal } = {}): Promise<Session> {
    const { session, operation } = this.prepareOpen(service, options);
    try {
      await operation.perform(options);
    } finally {
      operation.releaseOnce();
    }
    return session;
  }

  /**
   * Opens a session with the service manager; PUBLIC unless `login` says which credentials to show it. Throws `TZ_ERROR_UNDEFINED` when
   * the device is closed, `TZ_ERROR_ACCESS_DENIED` for a login that the device refuses.
   */
  async openManager(options: { readonly login?: Login } = {}): Promise<Manager> {
    this.#assertOpen('openManager');
    const store = await this.#connection.openManager(options.login ?? {});
    this.#assertOpen('openManager');
    const manager: Manager = new Manager(store, () => this.#open.delete(manager));
    this.#open.set(manager, manager);
    return manager;
  }

  /**
   * The names of the system's properties: API_VERSION, MEMORY_ALIGN and what the device adds. Throws `TZ_ERROR_SHORT_BUFFER` where they are
   * more than `capacity`, `TZ_ERROR_UNDEFINED` when the device is closed.
   */
  getPropertyList(capacity?: number): readonly PropertyName[] {
    this.#assertOpen('getPropertyList');
    return propertyNames(this.#properties, capacity);
  }

  /** The value of a property of the system. Throws `TZ_ERROR_ACCESS_DENIED` for none of that name, `TZ_ERROR_UNDEFINED` when closed. */
  getProperty(property: PropertyName): Uint8Array {
    this.#assertOpen('getProperty');
    return propertyValue(this.#properties, property);
  }

  /**
   * Copies the value of a property into `buffer` and returns its length; `null` only asks for the length. Throws as {@link getProperty}
   * does, and `TZ_ERROR_SHORT_BUFFER` with the length as `needed`, having copied nothing.
   */
  readProperty(property: PropertyName, buffer: Uint8Array | null): number {
    return copyProperty(this.getProperty(property), buffer);
  }

  /** Closes the device. Throws `TZ_ERROR_ILLEGAL_STATE` while it has sessions, and `TZ_ERROR_UNDEFINED` when it is closed. */
  async close(): Promise<void> {
    this.#assertOpen('close');
    if (this.#open.size > 0) {
      throw new TzError(
        'TZ_ERROR_ILLEGAL_STATE',
        'api',
        `close a device: expected no sessions, got ${this.#open.size}`,
      );
    }
    this.#state = 'UNDEFINED';
    await this.#connection.close();
  }

  /** Closes every session, the service manager and the device, whatever fails, and then throws that; does nothing when it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'OPEN') await runAll(this.#closing());
  }

  *#closing(): Iterable<() => unknown> {
    for (const session of [...this.#open.values()]) yield () => session[Symbol.asyncDispose]();
    this.#open.clear();
    yield () => this.close();
  }

  #newLink(service: Uuid): SessionLink {
    const link: SessionLink = {
      state: 'INVALID',
      channel: undefined,
      operations: new Set(),
      memories: new Set(),
      memoryStore: this.#connection.memory,
      capacity: this.#connection.capacityOf(service),
      checkTimeLimit: (limit) => this.#checkTimeLimit(limit),
      ended: () => this.#open.delete(link),
    };
    return link;
  }

  #openOperation(link: SessionLink, service: Uuid, options: OpenOptions): Operation {
    return new Operation({
      kind: 'open',
      capacity: link.capacity,
      timeLimit: options.timeLimit,
      owns: () => false,
      assertPerformable: () => undefined,
      send: (input, call) => this.#connect(link, service, options.login ?? {}, input, call),
      released: (operation) => {
        link.operations.delete(operation);
        if (link.state === 'INVALID') link.ended();
      },
    });
  }

  async #connect(
    link: SessionLink,
    service: Uuid,
    login: Login,
    input: Uint8Array,
    options: CallOptions,
  ): Promise<ServiceReply> {
    const channel = await this.#connection.openSession(service, login, input, options);
    if (channel.reply.returnCode !== 0) return channel.reply;
    link.channel = channel;
    link.state = 'OPEN';
    // The caller was told of a cancellation only if the session does not exist for the service either.
    if (options.signal.aborted) await endSession(link);
    options.signal.throwIfAborted();
    return channel.reply;
  }

  #checkTimeLimit(limit: TimeLimit | undefined): void {
    if (limit && limit.device !== this)
      throw undefinedCall('prepare', 'a time limit of this device', "another device's");
  }

  #assertOpen(call: string): void {
    if (this.#state !== 'OPEN') throw undefinedCall(call, 'a device in state OPEN', this.#state);
  }
}

/** The longest time limit in milliseconds: 32 bits, some fifty days. */
const MAX_TIMEOUT = 0xffff_ffff;

/** What every device knows of itself (section 5.5.5), then what its driver adds. */
function systemProperties(name: string, connection: DeviceConnection): readonly Property[] {
  const { SYSTEM, CASEMATE } = TZ_NAMESPACE;
  return [
    { namespace: SYSTEM, name: TZ_PROPERTY.SYS_API_VERSION, value: numberValue(API_VERSION) },
    {
      namespace: SYSTEM,
      name: TZ_PROPERTY.SYS_MEMORY_ALIGN,
      value: numberValue(connection.memory?.alignment ?? SMALLEST_ALIGNMENT),
    },
    { namespace: CASEMATE, name: CASEMATE_PROPERTY.DEVICE, value: textValue(name) },
    ...(connection.properties ?? []),
  ];
}

/** Version 3.0: major in the upper 16 bits. */
const API_VERSION = 0x0003_0000;
/** What every block has. */
const SMALLEST_ALIGNMENT = 8;
