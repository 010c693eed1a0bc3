/** The services that a device of this package has installed, and what its manager does with them; TrustZone API 3.0, sections 6.3 and 7.2. */
import type { PalSignature } from '@casemate/pal-linker';
import type { CallOptions, ServiceChannel, ServiceReply, ServiceStore } from './driver.js';
import { TzError } from './error.js';
import type { Credentials, Login } from './login.js';
import { Decoder, encodeBuffer } from './marshal.js';
import { acceptMissingHandler, encodeOpen, refusedChannel } from './open-message.js';
import { admitClient, admitManager, assertMayManage, type DevicePolicy } from './policy.js';
import {
  mandatoryProperties,
  mergeProperties,
  numberValue,
  type Property,
  parseProperties,
  textValue,
} from './property.js';
import { CASEMATE_PROPERTY, TZ_COMMAND, TZ_NAMESPACE } from './return-code.js';
import type { Uuid } from './uuid.js';

/** A service that can be called: a buffer turned for decoding in, another out. */
export interface InstalledService {
  /** Bytes of records in a message. */
  readonly capacity: number;
  /** What the device knows of it, the mandatory ones included. */
  readonly properties: readonly Property[];
  /** Calls it. */
  run(command: number, input: Uint8Array, options: CallOptions): Promise<ServiceReply>;
  /** Takes it out of the device; throws TzError `TZ_ERROR_ACCESS_DENIED` where that is not the manager's to do. */
  uninstall(): Promise<void>;
}

/** What a manager may do with a device's services, beside listing them. */
export interface Installer {
  /** Takes the image apart, checks it, and gets it ready; throws TzError. */
  install(image: Uint8Array, signal: AbortSignal): Promise<{ readonly uuid: Uuid; readonly service: InstalledService }>;
}

interface Entry {
  readonly service: InstalledService;
  /** What the service itself answered when it was asked for properties. */
  own?: Promise<readonly Property[]>;
  sessions: number;
}

/** The services of one connection. */
export class InstalledServices {
  readonly #entries = new Map<Uuid, Entry>();
  readonly #policy: DevicePolicy;
  readonly #installer: Installer;

  /** Starts with none. */
  constructor(policy: DevicePolicy, installer: Installer) {
    this.#policy = policy;
    this.#installer = installer;
  }

  /** Adds a service; throws `TZ_ERROR_ACCESS_DENIED` for one that is there. */
  add(uuid: Uuid, service: InstalledService): void {
    if (this.#entries.has(uuid)) throw denied(`install a service: expected a new one, got ${uuid} again`);
    this.#entries.set(uuid, { service, sessions: 0 });
  }

  /** Bytes of records in a message to a service. */
  capacityOf(uuid: Uuid): number | undefined {
    return this.#entries.get(uuid)?.service.capacity;
  }

  /** Opens a session: policy, open message, answer. */
  async openSession(uuid: Uuid, login: Login, input: Uint8Array, call: CallOptions): Promise<ServiceChannel> {
    const entry = this.#find(uuid);
    entry.sessions++; // so that nobody removes the service meanwhile
    try {
      const credentials = await admitClient(this.#policy, uuid, login);
      const message = encodeOpen(credentials, input, entry.service.capacity);
      const reply = acceptMissingHandler(await entry.service.run(TZ_COMMAND.OPEN, message, call));
      if (reply.returnCode === 0) return channel(entry, reply);
      entry.sessions--;
      return refusedChannel(reply);
    } catch (error) {
      entry.sessions--;
      throw error;
    }
  }

  /** Opens the service manager. */
  async openManager(login: Login): Promise<ServiceStore> {
    const credentials = await admitManager(this.#policy, login);
    return {
      list: async () => [...this.#entries.keys()],
      properties: (uuid) => this.#properties(uuid),
      download: (image, signal) => this.#download(credentials, image, signal),
      remove: (uuid) => this.#remove(credentials, uuid),
    };
  }

  /** Takes out all services that can be. */
  async clear(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map(({ service }) => service.uninstall().catch(ignoreDenied)));
  }

  async #properties(uuid: Uuid): Promise<readonly Property[]> {
    const entry = this.#find(uuid);
    entry.own ??= askService(entry.service);
    return mergeProperties(entry.service.properties, await entry.own);
  }

  async #download(credentials: Credentials, given: Uint8Array, signal: AbortSignal): Promise<Uuid> {
    const image = new Uint8Array(given); // a copy: what is checked is what is installed, whatever the client does meanwhile
    await assertMayManage(this.#policy, 'download', credentials);
    const { uuid, service } = await this.#installer.install(image, signal);
    try {
      signal.throwIfAborted();
      this.add(uuid, service);
      return uuid;
    } catch (error) {
      await service.uninstall();
      throw error;
    }
  }

  async #remove(credentials: Credentials, uuid: Uuid): Promise<void> {
    this.#find(uuid);
    await assertMayManage(this.#policy, 'remove', credentials);
    const entry = this.#find(uuid); // it may have been removed meanwhile
    if (entry.sessions > 0) {
      const problem = `remove service ${uuid}: expected no sessions, got ${entry.sessions}`;
      throw new TzError('TZ_ERROR_BUSY', 'device', problem);
    }
    this.#entries.delete(uuid); // at once: nobody finds it while it goes
    try {
      await entry.service.uninstall();
    } catch (error) {
      if (!this.#entries.has(uuid)) this.#entries.set(uuid, entry);
      throw error;
    }
  }

  #find(uuid: Uuid): Entry {
    const entry = this.#entries.get(uuid);
    if (entry) return entry;
    throw denied(`find service ${uuid}: expected an installed service, got none`);
  }
}

/** The mandatory properties of a service, and what this implementation knows of it. */
export function describeService(service: {
  readonly uuid: Uuid;
  readonly name: string;
  readonly vendor?: string | undefined;
  readonly version?: string;
  readonly measurement?: Uint8Array;
  readonly identity?: Uint8Array;
  readonly signature?: PalSignature | undefined;
  readonly capacity: number;
}): readonly Property[] {
  const { MEASUREMENT, VERSION, IDENTITY, SIGNER, SECURITY_VERSION, CAPACITY } = CASEMATE_PROPERTY;
  const { measurement, version, identity, signature, capacity } = service;
  const known: readonly (readonly [name: number, value: Uint8Array | undefined])[] = [
    [MEASUREMENT, measurement],
    [VERSION, version === undefined ? undefined : textValue(version)],
    [IDENTITY, identity],
    [SIGNER, signature?.signer],
    [SECURITY_VERSION, signature && numberValue(signature.securityVersion)],
    [CAPACITY, numberValue(capacity)],
  ];
  const namespace = TZ_NAMESPACE.CASEMATE;
  const ours = known.flatMap(([name, value]) => (value === undefined ? [] : [{ namespace, name, value }]));
  return [...mandatoryProperties({ ...service, vendor: service.vendor ?? '' }), ...ours];
}

/** The error for what a device refuses. */
export function denied(problem: string): TzError {
  return new TzError('TZ_ERROR_ACCESS_DENIED', 'device', problem);
}

function channel(entry: Entry, reply: ServiceReply): ServiceChannel {
  const { service } = entry;
  return {
    reply,
    invoke: (command, input, options) => service.run(command, input, options),
    close: async () => {
      entry.sessions--;
      await service.run(TZ_COMMAND.CLOSE, encodeBuffer([], service.capacity), NO_LIMIT);
    },
  };
}

/** A service that does not know the question, or fails at it, has no properties of its own. */
async function askService(service: InstalledService): Promise<readonly Property[]> {
  try {
    const reply = await service.run(TZ_COMMAND.PROPERTIES, encodeBuffer([], service.capacity), NO_LIMIT);
    return reply.returnCode === 0 ? parseProperties(new Decoder(reply.output).rest()) : [];
  } catch (error) {
    if (error instanceof TzError) return [];
    throw error;
  }
}

function ignoreDenied(error: unknown): void {
  if (!(error instanceof TzError && error.code === 'TZ_ERROR_ACCESS_DENIED')) throw error;
}

const NO_LIMIT: CallOptions = {
  signal: new AbortController().signal,
  onCancel: () => () => undefined,
  timeLimit: undefined,
  lend: [],
};
