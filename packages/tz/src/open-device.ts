/** Which device to open: by name or by a driver; TrustZone API 3.0, section 6.1.1. */
import { type Device, openDriver } from './device.js';
import type { DeviceDriver } from './driver.js';
import { type NullDeviceOptions, nullDriver } from './null-device.js';
import { type TrustvisorDeviceOptions, trustvisorDriver } from './trustvisor-device.js';

/** A device by its name and what it needs, the default being `trustvisor`; or a driver of the caller's own. */
export type DeviceOptions =
  | (TrustvisorDeviceOptions & { readonly name?: 'trustvisor' })
  | (NullDeviceOptions & { readonly name: 'null' })
  | { readonly driver: DeviceDriver };

/** Opens a device. Throws TzError: what the driver throws, `TZ_ERROR_COMMUNICATION` around any other error. */
export function openDevice(options: DeviceOptions): Promise<Device> {
  if ('driver' in options) return openDriver(options.driver);
  return openDriver(options.name === 'null' ? nullDriver(options) : trustvisorDriver(options));
}
