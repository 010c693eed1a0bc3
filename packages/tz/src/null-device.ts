/** The device `null`: services run in this process, for development; nothing isolates them and nothing they keep is protected. */
import type { CallOptions, DeviceConnection, DeviceDriver, ServiceChannel, ServiceReply } from './driver.js';
import { TzError } from './error.js';
import { DEFAULT_CAPACITY, Decoder, Encoder, encodeBuffer } from './marshal.js';
import { loadModule } from './null-module.js';
import { acceptMissingHandler, encodeOpen, refusedChannel } from './open-message.js';
import { TZ_COMMAND } from './return-code.js';
import { measurementUuid, type Uuid } from './uuid.js';

/**
 * A service written in TypeScript: reads `input`, writes `output`, returns 0 or an error number. It gets
 * `TZ_COMMAND.OPEN` and `TZ_COMMAND.CLOSE` too and may answer them with `TZ_ERROR_NOT_IMPLEMENTED`.
 */
export type Service = (
  command: number,
  input: Decoder,
  output: Encoder,
  options: CallOptions,
) => number | Promise<number>;

/** What the null device starts with. */
export interface NullDeviceOptions {
  /** Services that are there from the start. */
  readonly services?: Readonly<Record<Uuid, Service>>;
  /** Bytes of records in a message; 65536 unless given. */
  readonly capacity?: number;
  /** Takes what services print; nothing takes it unless given. */
  readonly print?: (text: string) => void;
}

/** The driver of the null device. PAL images that are downloaded to it run as WebAssembly in this process. */
export function nullDriver(options: NullDeviceOptions = {}): DeviceDriver {
  return { name: 'null', open: async () => connection(options) };
}

/** A service as this device calls it: a decoded buffer in, an encoded one out. */
type Run = (command: number, input: Uint8Array, options: CallOptions) => Promise<ServiceReply>;

interface Installed {
  readonly run: Run;
  readonly capacity: number;
  sessions: number;
}

function connection(options: NullDeviceOptions): DeviceConnection {
  const capacity = options.capacity ?? DEFAULT_CAPACITY;
  const given = Object.entries(options.services ?? {}) as [Uuid, Service][]; // keys are typed as Uuid
  const installed = new Map<Uuid, Installed>(given.map(([id, service]) => [id, inTypeScript(service, capacity)]));
  return {
    capacityOf: (id) => installed.get(id)?.capacity ?? capacity,
    services: {
      list: async () => [...installed.keys()],
      download: (image) => download(installed, image, options.print ?? (() => undefined)),
      remove: async (id) => {
        assertIdle(id, find(installed, id));
        installed.delete(id);
      },
    },
    openSession: async (id, login, input, call) => {
      const service = find(installed, id);
      const opened = await service.run(TZ_COMMAND.OPEN, encodeOpen(login, input, service.capacity), call);
      const reply = acceptMissingHandler(opened);
      return reply.returnCode === 0 ? channel(service, reply) : refusedChannel(reply);
    },
    close: async () => installed.clear(),
  };
}

async function download(
  installed: Map<Uuid, Installed>,
  image: Uint8Array,
  print: (text: string) => void,
): Promise<Uuid> {
  const module = await loadModule(image, print);
  const id = measurementUuid(module.measurement);
  if (installed.has(id)) throw denied(`download a service: expected a new one, got ${id} again`);
  const run: Run = async (command, input, { signal }) => {
    signal.throwIfAborted();
    return module.call(command, input);
  };
  installed.set(id, { run, capacity: module.capacity, sessions: 0 });
  return id;
}

function channel(service: Installed, reply: ServiceReply): ServiceChannel {
  service.sessions++;
  return {
    reply,
    invoke: (command, input, options) => service.run(command, input, options),
    close: async () => {
      service.sessions--;
      await service.run(TZ_COMMAND.CLOSE, encodeBuffer([], service.capacity), NO_LIMIT);
    },
  };
}

function inTypeScript(service: Service, capacity: number): Installed {
  const run: Run = async (command, input, options) => {
    const output = new Encoder(capacity);
    const done = Promise.resolve(service(command, new Decoder(input), output, options));
    const returnCode = await orAborted(done, options.signal);
    return { returnCode, output: output.finish() };
  };
  return { run, capacity, sessions: 0 };
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

function find(installed: ReadonlyMap<Uuid, Installed>, id: Uuid): Installed {
  const service = installed.get(id);
  if (service) return service;
  throw denied(`find service ${id}: expected an installed service, got none`);
}

function assertIdle(id: Uuid, service: Installed): void {
  if (service.sessions === 0) return;
  throw new TzError('TZ_ERROR_BUSY', 'device', `remove service ${id}: expected no sessions, got ${service.sessions}`);
}

function denied(problem: string): TzError {
  return new TzError('TZ_ERROR_ACCESS_DENIED', 'device', problem);
}

const NO_LIMIT: CallOptions = { signal: new AbortController().signal, timeLimit: undefined };
