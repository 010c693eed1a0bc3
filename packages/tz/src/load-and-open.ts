/** One service from its image to an open session, and back: the TEE-SDK's `TZESvcLoadAndOpen` and `TZEClose`, `tv_tz_init` and `tv_tz_teardown`. */
import type { Device } from './device.js';
import type { Login } from './login.js';
import { type DeviceOptions, openDevice } from './open-device.js';
import type { Session } from './session.js';
import type { Uuid } from './uuid.js';

/** The device to open, and how to log in to its manager and to the service. */
export type LoadOptions = DeviceOptions & {
  /** Shown to the service manager; PUBLIC unless given. */
  readonly managerLogin?: Login;
  /** Shown to the service; PUBLIC unless given. */
  readonly serviceLogin?: Login;
  /** Milliseconds for opening the session. */
  readonly openWithin?: number;
};

/** A device with one service and a session with it. `await using` closes all three. */
export interface LoadedService extends AsyncDisposable {
  /** The device. */
  readonly device: Device;
  /** The service, as the manager knows it. */
  readonly service: Uuid;
  /** The session. */
  readonly session: Session;
  /** Closes the session, removes the service and closes the device; all of it, and then throws the first error that there was. */
  close(): Promise<void>;
}

/** Opens a device, downloads `image`, and opens a session. Throws TzError; what was done by then is undone. */
export async function loadAndOpen(image: Uint8Array, options: LoadOptions): Promise<LoadedService> {
  const device = await openDevice(options);
  try {
    const service = await download(device, image, options.managerLogin);
    const limit = options.openWithin === undefined ? {} : { timeLimit: device.getTimeLimit(options.openWithin) };
    const login = options.serviceLogin === undefined ? {} : { login: options.serviceLogin };
    const session = await device.openSession(service, { ...login, ...limit });
    const close = () => closeAll({ device, service, session }, options.managerLogin);
    return { device, service, session, close, [Symbol.asyncDispose]: () => device[Symbol.asyncDispose]() };
  } catch (error) {
    await device[Symbol.asyncDispose]();
    throw error;
  }
}

async function download(device: Device, image: Uint8Array, login: Login | undefined): Promise<Uuid> {
  await using manager = await device.openManager(login === undefined ? {} : { login });
  return await manager.downloadService(image);
}

async function closeAll(
  { device, service, session }: Pick<LoadedService, 'device' | 'service' | 'session'>,
  login: Login | undefined,
): Promise<void> {
  try {
    await session.close();
    await using manager = await device.openManager(login === undefined ? {} : { login });
    await manager.removeService(service);
  } finally {
    await device[Symbol.asyncDispose]();
  }
}
