/** The device `null`: services run in this process, for development; nothing isolates them and nothing they keep is protected. */
import type { CallOptions, DeviceConnection, DeviceDriver, DeviceMemory, MemoryStore } from './driver.js';
import { TzError } from './error.js';
import { describeService, type InstalledService, InstalledServices } from './installed.js';
import { DEFAULT_CAPACITY, Decoder, Encoder } from './marshal.js';
import { loadModule } from './null-module.js';
import { checkImage, type DevicePolicy } from './policy.js';
import { type Property, textValue } from './property.js';
import { CASEMATE_PROPERTY, TZ_NAMESPACE } from './return-code.js';
import { openServiceMemory } from './service-memory.js';
import { measurementUuid, type Uuid } from './uuid.js';

/** How a service in TypeScript is called. */
export type ServiceOptions = Pick<CallOptions, 'signal' | 'timeLimit'>;

/**
 * A service written in TypeScript: reads `input`, writes `output`, returns 0 or an error number. It gets `TZ_COMMAND.OPEN`, `CLOSE` and
 * `PROPERTIES` too and may answer them with `TZ_ERROR_NOT_IMPLEMENTED`.
 */
export type Service = (
  command: number,
  input: Decoder,
  output: Encoder,
  options: ServiceOptions,
) => number | Promise<number>;

/** A service in TypeScript with its properties. */
export interface ServiceDefinition {
  /** Does its work. */
  readonly handle: Service;
  /** The property SVC_NAME; empty unless given. */
  readonly name?: string;
  /** The property SVC_VENDOR; empty unless given. */
  readonly vendor?: string;
  /** Further properties. */
  readonly properties?: readonly Property[];
}

/** What the null device starts with. */
export interface NullDeviceOptions extends DevicePolicy {
  /** Services that are there from the start. */
  readonly services?: Readonly<Record<Uuid, Service | ServiceDefinition>>;
  /** Bytes of records in a message; 16,384 unless given. */
  readonly capacity?: number;
  /** Takes what services print; nothing takes it unless given. */
  readonly print?: (text: string) => void;
}

/** The driver of the null device. PAL images that are downloaded to it run as WebAssembly in this process. */
export function nullDriver(options: NullDeviceOptions = {}): DeviceDriver {
  return { name: 'null', open: async () => connection(options) };
}

function connection(options: NullDeviceOptions): DeviceConnection {
  const capacity = options.capacity ?? DEFAULT_CAPACITY;
  const print = options.print ?? (() => undefined);
  const services = new InstalledServices(options, { install: (image) => install(options, image, print) });
  const given = Object.entries(options.services ?? {}) as [Uuid, Service | ServiceDefinition][]; // keys are typed as Uuid
  for (const [uuid, service] of given) services.add(uuid, inTypeScript(uuid, service, capacity));
  return {
    capacityOf: (uuid) => services.capacityOf(uuid) ?? capacity,
    properties: [{ namespace: TZ_NAMESPACE.CASEMATE, name: CASEMATE_PROPERTY.ENGINE, value: textValue('null') }],
    memory: heapMemoryStore(),
    openManager: (login) => services.openManager(login),
    openSession: (uuid, login, input, call) => services.openSession(uuid, login, input, call),
    close: () => services.clear(),
  };
}

async function install(options: NullDeviceOptions, image: Uint8Array, print: (text: string) => void) {
  const { pal, signature } = await checkImage(options, image);
  const module = await loadModule(pal, image, print);
  const { measurement, capacity } = module;
  const uuid = measurementUuid(measurement);
  const service: InstalledService = {
    capacity,
    properties: describeService({ uuid, name: pal.name, version: pal.version, measurement, signature, capacity }),
    run: async (command, input, { signal, lend }) => {
      signal.throwIfAborted();
      try {
        return module.call(command, input, lend);
      } catch (error) {
        throw crashed(pal.name, error);
      }
    },
    uninstall: async () => undefined,
  };
  return { uuid, service };
}

function inTypeScript(uuid: Uuid, given: Service | ServiceDefinition, capacity: number): InstalledService {
  const {
    handle,
    name = '',
    vendor,
    properties = [],
  }: ServiceDefinition = typeof given === 'function' ? { handle: given } : given;
  return {
    capacity,
    properties: [...describeService({ uuid, name, vendor, capacity }), ...properties],
    run: async (command, input, options) => {
      const output = new Encoder(capacity);
      const lent = options.lend.map((range) => openServiceMemory(range, part(range.memory, range.offset)));
      try {
        const decoder = new Decoder(
          input,
          lent.map(({ memory }) => memory),
        );
        const done = callService(() => handle(command, decoder, output, options));
        const returnCode = await orAborted(done, options.signal);
        return { returnCode, output: output.finish() };
      } catch (error) {
        throw options.signal.aborted ? error : crashed(name, error);
      } finally {
        for (const { end } of lent) end();
      }
    },
    uninstall: async () => undefined,
  };
}

/** What a service throws at once comes like what it throws later. */
async function callService(call: () => number | Promise<number>): Promise<number> {
  return await call();
}

/** A service that throws is one that has crashed, as in an isolate. */
function crashed(name: string, error: unknown): TzError {
  if (error instanceof TzError) return error;
  const problem = error instanceof Error ? error.message : String(error);
  return new TzError('TZ_ERROR_GENERIC', 'service', `call ${name}: expected an answer, got ${problem}`, {
    cause: error,
  });
}

/** The promise's outcome, or a rejection as soon as `signal` is aborted: a service in this process cannot be stopped, only left. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Blocks on this process's heap; at most as much as a Trustvisor has. */
function heapMemoryStore(): MemoryStore {
  let used = 0;
  return {
    alignment: 8,
    allocate: async (size) => {
      if (used + size > MAX_SHARED_MEMORY) {
        const left = MAX_SHARED_MEMORY - used;
        throw new TzError('TZ_ERROR_MEMORY', 'device', `share memory: expected at most ${left} bytes, got ${size}`);
      }
      used += size;
      return heapMemory(new Uint8Array(size), () => {
        used -= size;
      });
    },
    register: (bytes) => heapMemory(bytes, () => undefined),
  };
}

function heapMemory(bytes: Uint8Array, release: () => void): DeviceMemory {
  return {
    size: bytes.length,
    write: (offset, content) => bytes.set(content, offset),
    read: (offset, length) => bytes.slice(offset, offset + length),
    release,
  };
}

function part(memory: DeviceMemory, start: number): Pick<DeviceMemory, 'read' | 'write'> {
  return {
    read: (offset, length) => memory.read(start + offset, length),
    write: (offset, bytes) => memory.write(start + offset, bytes),
  };
}

const MAX_SHARED_MEMORY = 256 * 1024 * 1024;
