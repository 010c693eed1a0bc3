import { expect } from 'vitest';
import { type Device, type DeviceDriver, openDevice, type Uuid, uuid } from '../../src/index.js';

/** A device to judge, with the probe installed as `service`. */
export interface Subject {
  readonly driver: DeviceDriver;
  readonly device: Device;
  readonly service: Uuid;
}

/** What a device is able to do. */
export interface Abilities {
  /** Whether a service that runs can be stopped. */
  readonly stop: boolean;
  /** The image of the probe; `undefined` where the service is there from the start. */
  readonly image: () => Uint8Array | undefined;
  /** What comes of a service that writes where it may only read. */
  readonly forbiddenWrite: 'refused' | 'lost' | 'fault';
  /** Whether services have addresses. */
  readonly addresses: boolean;
}

/** Opens the driver's device and installs the probe. */
export async function openSubject(driver: DeviceDriver, image: Uint8Array): Promise<Subject> {
  const device = await openDevice({ driver });
  await using manager = await device.openManager();
  return { driver, device, service: await manager.downloadService(image) };
}

export const UNDEFINED = expect.objectContaining({ code: 'TZ_ERROR_UNDEFINED', number: 18, origin: 'api' });
export const NOBODY = uuid('00000000-0000-0000-0000-000000000000');

/** An error with that code. */
export function code(name: string, more: Record<string, unknown> = {}): Error {
  return expect.objectContaining({ name: 'TzError', code: name, ...more });
}
