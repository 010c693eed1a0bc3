/** The device `trustvisor`: each service is a PAL of a Trustvisor, in an isolate outside this process. */
import {
  type Lending,
  type Pal,
  type SharedMemory,
  type Trustvisor,
  TrustvisorError,
  type TrustvisorErrorCode,
} from '@casemate/trustvisor';
import type {
  CallOptions,
  DeviceConnection,
  DeviceDriver,
  DeviceMemory,
  LentMemory,
  MemoryStore,
  ServiceReply,
} from './driver.js';
import { TzError } from './error.js';
import { denied, describeService, type InstalledService, InstalledServices } from './installed.js';
import { buildBuffer, DEFAULT_CAPACITY, recordsOf } from './marshal.js';
import { checkImage, type DevicePolicy } from './policy.js';
import { numberValue, textValue } from './property.js';
import { CASEMATE_PROPERTY, TZ_NAMESPACE, type TzErrorCode } from './return-code.js';
import { measurementUuid } from './uuid.js';

/** What the trustvisor device stands on. */
export interface TrustvisorDeviceOptions extends DevicePolicy {
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

function connection(options: TrustvisorDeviceOptions): DeviceConnection {
  const { trustvisor } = options;
  const standard = options.timeLimit ?? 10_000;
  const services = new InstalledServices(options, {
    install: (image, signal) => install(options, standard, image, signal),
  });
  for (const pal of options.pals ?? []) {
    const service = serviceOf(pal, { capacity: DEFAULT_CAPACITY, standard, uninstall: refuseUninstall(pal) });
    services.add(measurementUuid(pal.measurement), service);
  }
  const { CASEMATE } = TZ_NAMESPACE;
  return {
    capacityOf: (uuid) => services.capacityOf(uuid) ?? DEFAULT_CAPACITY,
    properties: [
      { namespace: CASEMATE, name: CASEMATE_PROPERTY.ENGINE, value: textValue(trustvisor.engine) },
      { namespace: CASEMATE, name: CASEMATE_PROPERTY.EPHEMERAL, value: numberValue(trustvisor.ephemeral ? 1 : 0) },
    ],
    memory: memoryStore(trustvisor),
    openManager: (login) => services.openManager(login),
    openSession: (uuid, login, input, call) => services.openSession(uuid, login, input, call),
    close: () => services.clear(),
  };
}

async function install(options: TrustvisorDeviceOptions, standard: number, image: Uint8Array, signal: AbortSignal) {
  const { pal: parsed, signature } = await checkImage(options, image);
  signal.throwIfAborted();
  const capacity = Math.max(0, (parsed.parameters[1]?.size ?? 0) - 16);
  const pal = await orTzError('download a service', () => options.trustvisor.register(image));
  const uninstall = () => orTzError('remove a service', () => pal.unregister());
  const service = serviceOf(pal, { capacity, standard, uninstall, signature });
  return { uuid: measurementUuid(pal.measurement), service };
}

function serviceOf(
  pal: Pal,
  options: Pick<InstalledService, 'capacity' | 'uninstall'> & {
    readonly standard: number;
    readonly signature?: Awaited<ReturnType<typeof checkImage>>['signature'];
  },
): InstalledService {
  const { capacity, standard, signature, uninstall } = options;
  const { name, version, measurement, identity } = pal;
  const uuid = measurementUuid(measurement);
  return {
    capacity,
    properties: describeService({ uuid, name, version, measurement, identity, signature, capacity }),
    run: (command, input, call) => invoke(pal, command, input, call, standard),
    uninstall,
  };
}

/** What the application has registered is not the manager's to remove. */
function refuseUninstall(pal: Pal): () => Promise<void> {
  return async () => {
    throw denied(`remove service ${pal.name}: expected one downloaded here, got one of the application`);
  };
}

async function invoke(
  pal: Pal,
  command: number,
  input: Uint8Array,
  call: CallOptions,
  standard: number,
): Promise<ServiceReply> {
  const timeLimit = Math.min(Math.max(1, Math.ceil(call.timeLimit ?? standard)), LONGEST_TIME_LIMIT);
  const controller = idle.pop() ?? new AbortController();
  const stop = call.onCancel((reason) => controller.abort(reason));
  const { signal } = controller;
  const options =
    call.lend.length === 0 ? { timeLimit, signal } : { timeLimit, signal, lend: call.lend.map(lendingOf) };
  try {
    const result = await pal.invoke(command, recordsOf(input), options);
    return { returnCode: result.returnCode, output: buildBuffer(result.output) };
  } catch (error) {
    throw asTzError(`call ${pal.name}`, error);
  } finally {
    stop();
    if (!signal.aborted) idle.push(controller); // nobody listens to it any more
  }
}

function memoryStore(trustvisor: Trustvisor): MemoryStore {
  return {
    // The engine kvm maps pages: a range of whole pages lends nothing of its neighbours.
    alignment: trustvisor.engine === 'kvm' ? 4096 : 8,
    allocate: async (size) => {
      try {
        return new TrustvisorMemory(await trustvisor.allocateShared(size));
      } catch (error) {
        const failure = asTzError('share memory', error);
        if (!(failure instanceof TzError) || failure.code !== 'TZ_ERROR_ILLEGAL_ARGUMENT') throw failure;
        throw new TzError('TZ_ERROR_MEMORY', 'device', failure.message, { cause: error });
      }
    },
  };
}

/** A block of a Trustvisor's memory, with the errors of this package. */
class TrustvisorMemory implements DeviceMemory {
  readonly shared: SharedMemory;

  constructor(shared: SharedMemory) {
    this.shared = shared;
  }

  get size(): number {
    return this.shared.size;
  }

  write(offset: number, bytes: Uint8Array): void {
    translated('write shared memory', () => this.shared.write(offset, bytes));
  }

  read(offset: number, length: number): Uint8Array {
    return translated('read shared memory', () => this.shared.read(offset, length));
  }

  release(): void {
    translated('release shared memory', () => this.shared.release());
  }
}

function lendingOf({ memory, offset, length, flags }: LentMemory): Lending {
  if (!(memory instanceof TrustvisorMemory)) throw denied('lend memory: expected a block of this device, got another');
  return { memory: memory.shared, offset, length, access: ACCESS[flags] };
}

function translated<T>(verb: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw asTzError(verb, error);
  }
}

async function orTzError<T>(verb: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw asTzError(verb, error);
  }
}

function asTzError(verb: string, error: unknown): unknown {
  if (!(error instanceof TrustvisorError)) return error;
  const origin = error.code === 'fault' ? 'service' : error.code === 'protocol' ? 'communication' : 'device';
  return new TzError(CODES[error.code], origin, `${verb}: ${error.message}`, { cause: error });
}

/** Controllers that were not needed: making one takes longer than all else of a call on this side. */
const idle: AbortController[] = [];

const ACCESS = { 1: 'read', 2: 'write', 3: 'read-write' } as const;

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
