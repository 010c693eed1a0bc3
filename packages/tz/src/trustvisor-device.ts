/** The device `trustvisor`: each service is a PAL of a Trustvisor, in an isolate outside this process. */
import { parsePalImage } from '@casemate/pal-linker';
import { type Pal, type Trustvisor, TrustvisorError, type TrustvisorErrorCode } from '@casemate/trustvisor';
import type { CallOptions, DeviceConnection, DeviceDriver, ServiceChannel, ServiceReply } from './driver.js';
import { TzError } from './error.js';
import { buildBuffer, DEFAULT_CAPACITY, encodeBuffer, recordsOf } from './marshal.js';
import { acceptMissingHandler, encodeOpen, refusedChannel } from './open-message.js';
import { TZ_COMMAND, type TzErrorCode } from './return-code.js';
import { measurementUuid, type Uuid } from './uuid.js';

/** What the trustvisor device stands on. */
export interface TrustvisorDeviceOptions {
  /** Runs the PALs. The caller stays its owner and closes it. */
  readonly trustvisor: Trustvisor;
  /** PALs that the caller has registered and keeps: services from the start, still registered when the device closes. */
  readonly pals?: readonly Pal[];
  /** Milliseconds that a call without a time limit may run; 10,000 unless given. */
  readonly timeLimit?: number;
}

/** The driver of the trustvisor device. */
export function trustvisorDriver(options: TrustvisorDeviceOptions): DeviceDriver {
  return { name: 'trustvisor', open: async () => connection(options) };
}

interface Installed {
  readonly pal: Pal;
  readonly capacity: number;
  readonly ours: boolean;
  sessions: number;
}

function connection(options: TrustvisorDeviceOptions): DeviceConnection {
  const installed = new Map<Uuid, Installed>();
  for (const pal of options.pals ?? []) {
    installed.set(measurementUuid(pal.measurement), { pal, capacity: DEFAULT_CAPACITY, ours: false, sessions: 0 });
  }
  const standard = options.timeLimit ?? 10_000;
  return {
    capacityOf: (id) => installed.get(id)?.capacity ?? DEFAULT_CAPACITY,
    services: {
      list: async () => [...installed.keys()],
      download: (image) => download(options.trustvisor, installed, image),
      remove: (id) => remove(installed, id),
    },
    openSession: async (id, login, input, call) => {
      const service = find(installed, id);
      const message = encodeOpen(login, input, service.capacity);
      const reply = acceptMissingHandler(await invoke(service, TZ_COMMAND.OPEN, message, call, standard));
      return reply.returnCode === 0 ? channel(service, reply, standard) : refusedChannel(reply);
    },
    close: () => removeAll(installed),
  };
}

function channel(service: Installed, reply: ServiceReply, standard: number): ServiceChannel {
  service.sessions++;
  return {
    reply,
    invoke: (command, input, call) => invoke(service, command, input, call, standard),
    close: async () => {
      service.sessions--;
      await invoke(service, TZ_COMMAND.CLOSE, encodeBuffer([], service.capacity), NO_LIMIT, standard);
    },
  };
}

async function invoke(
  service: Installed,
  command: number,
  input: Uint8Array,
  call: CallOptions,
  standard: number,
): Promise<ServiceReply> {
  const timeLimit = Math.min(Math.max(1, Math.ceil(call.timeLimit ?? standard)), LONGEST_TIME_LIMIT);
  try {
    const result = await service.pal.invoke(command, recordsOf(input), { timeLimit, signal: call.signal });
    return { returnCode: result.returnCode, output: buildBuffer(result.output) };
  } catch (error) {
    throw asTzError(`call ${service.pal.name}`, error);
  }
}

async function download(trustvisor: Trustvisor, installed: Map<Uuid, Installed>, image: Uint8Array): Promise<Uuid> {
  const capacity = capacityIn(image);
  let pal: Pal;
  try {
    pal = await trustvisor.register(image);
  } catch (error) {
    throw asTzError('download a service', error);
  }
  const id = measurementUuid(pal.measurement);
  if (installed.has(id)) {
    await pal.unregister();
    throw denied(`download a service: expected a new one, got ${id} again`);
  }
  installed.set(id, { pal, capacity, ours: true, sessions: 0 });
  return id;
}

async function remove(installed: Map<Uuid, Installed>, id: Uuid): Promise<void> {
  const service = find(installed, id);
  if (service.sessions > 0) {
    throw new TzError('TZ_ERROR_BUSY', 'device', `remove service ${id}: expected no sessions, got ${service.sessions}`);
  }
  if (!service.ours) throw denied(`remove service ${id}: expected one downloaded here, got one of the application`);
  installed.delete(id);
  await service.pal.unregister();
}

async function removeAll(installed: Map<Uuid, Installed>): Promise<void> {
  const ours = [...installed.values()].filter((service) => service.ours);
  installed.clear();
  await Promise.all(ours.map((service) => service.pal.unregister()));
}

/** What the input buffer of the image's entry holds. */
function capacityIn(image: Uint8Array): number {
  try {
    const size = parsePalImage(image).parameters[1]?.size ?? 0;
    return Math.max(0, size - 16);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'device', `download a service: ${problem}`, { cause: error });
  }
}

function find(installed: ReadonlyMap<Uuid, Installed>, id: Uuid): Installed {
  const service = installed.get(id);
  if (service) return service;
  throw denied(`find service ${id}: expected an installed service, got none`);
}

function denied(problem: string): TzError {
  return new TzError('TZ_ERROR_ACCESS_DENIED', 'device', problem);
}

function asTzError(verb: string, error: unknown): unknown {
  if (!(error instanceof TrustvisorError)) return error;
  const origin = error.code === 'fault' ? 'service' : error.code === 'protocol' ? 'communication' : 'device';
  return new TzError(CODES[error.code], origin, `${verb}: ${error.message}`, { cause: error });
}

const CODES: Readonly<Record<TrustvisorErrorCode, TzErrorCode>> = {
  refused: 'TZ_ERROR_ACCESS_DENIED',
  'sealed-state': 'TZ_ERROR_SECURITY',
  replay: 'TZ_ERROR_SECURITY',
  fault: 'TZ_ERROR_GENERIC',
  timeout: 'TZ_ERROR_CANCEL',
  aborted: 'TZ_ERROR_CANCEL',
  memory: 'TZ_ERROR_MEMORY',
  'unsupported-engine': 'TZ_ERROR_NOT_IMPLEMENTED',
  protocol: 'TZ_ERROR_COMMUNICATION',
  closed: 'TZ_ERROR_COMMUNICATION',
  input: 'TZ_ERROR_ILLEGAL_ARGUMENT',
  store: 'TZ_ERROR_GENERIC',
  tpm: 'TZ_ERROR_GENERIC',
  busy: 'TZ_ERROR_BUSY',
};

const LONGEST_TIME_LIMIT = 3_600_000;
const NO_LIMIT: CallOptions = { signal: new AbortController().signal, timeLimit: undefined };
