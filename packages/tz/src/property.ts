/** Properties of devices and services; TrustZone API 3.0, sections 5.3.5, 5.5.4, 5.5.5 and 6.1.13. */
import { shortBuffer, TzError } from './error.js';
import type { TzValue } from './marshal.js';
import { TZ_NAMESPACE, TZ_PROPERTY } from './return-code.js';
import type { Uuid } from './uuid.js';

/** What a property is called; both are unsigned 32-bit integers. */
export interface PropertyName {
  /** One of `TZ_NAMESPACE`, or any number below 0xf0000000. */
  readonly namespace: number;
  /** A number within the namespace. */
  readonly name: number;
}

/** A property with its value. */
export interface Property extends PropertyName {
  /** Bytes; which, says whoever defined the property. */
  readonly value: Uint8Array;
}

/** The names of `properties`, in their order. Throws `TZ_ERROR_SHORT_BUFFER` where they are more than `capacity`. */
export function propertyNames(properties: readonly Property[], capacity: number | undefined): readonly PropertyName[] {
  assertRoom('list properties', properties.length, capacity);
  return properties.map(({ namespace, name }) => ({ namespace, name }));
}

/** The value of one of `properties`; throws `TZ_ERROR_ACCESS_DENIED` where there is none of that name. */
export function propertyValue(properties: readonly Property[], wanted: PropertyName): Uint8Array {
  const found = properties.find((property) => isSame(property, wanted));
  if (found) return found.value.slice();
  const problem = `get property ${describe(wanted)}: expected one of ${properties.length}, got none of that name`;
  throw new TzError('TZ_ERROR_ACCESS_DENIED', 'device', problem);
}

/** Copies `value` into `buffer` and returns its length; a `null` buffer only asks for it. Throws `TZ_ERROR_SHORT_BUFFER`, having copied nothing. */
export function copyProperty(value: Uint8Array, buffer: Uint8Array | null): number {
  if (buffer === null) return value.length;
  if (buffer.length < value.length) throw shortBuffer('get a property', value.length, buffer.length);
  buffer.set(value);
  return value.length;
}

/** Throws `TZ_ERROR_SHORT_BUFFER` where `capacity` entries are given and more are needed. */
export function assertRoom(call: string, needed: number, capacity: number | undefined): void {
  if (capacity !== undefined && needed > capacity) throw shortBuffer(call, needed, capacity);
}

/** The mandatory properties of a service (section 5.5.4), for drivers. */
export function mandatoryProperties(service: {
  readonly uuid: Uuid;
  readonly name: string;
  readonly vendor: string;
}): readonly Property[] {
  const { SVC_UUID, SVC_NAME, SVC_VENDOR } = TZ_PROPERTY;
  const namespace = TZ_NAMESPACE.SERVICE;
  return [
    { namespace, name: SVC_UUID, value: uuidBytes(service.uuid) },
    { namespace, name: SVC_NAME, value: textValue(service.name) },
    { namespace, name: SVC_VENDOR, value: textValue(service.vendor) },
  ];
}

/**
 * What a client may see: first the device's properties, then those of the service that are in no reserved namespace and that the device
 * does not know itself. An SVC_VENDOR of the service takes the place of an empty one.
 */
export function mergeProperties(device: readonly Property[], service: readonly Property[]): readonly Property[] {
  const vendor = service.find((property) => isVendor(property) && property.value.at(-1) === 0);
  const known = device.map((property) =>
    isVendor(property) && property.value.length <= 1 ? (vendor ?? property) : property,
  );
  const own = service.filter(
    (property) =>
      isVisible(property) &&
      property.namespace !== TZ_NAMESPACE.CASEMATE &&
      !known.some((each) => isSame(each, property)),
  );
  return [...known, ...own.filter((property, i) => own.findIndex((each) => isSame(each, property)) === i)];
}

/** Whether a client may see a service's property of that name: CONFIG is never shown, and the others above SERVICE are no service's. */
export function isVisible({ namespace }: PropertyName): boolean {
  return namespace <= TZ_NAMESPACE.SERVICE && namespace !== TZ_NAMESPACE.SYSTEM;
}

/** The properties in a service's answer to `TZ_COMMAND.PROPERTIES`; what is malformed, and what follows it, counts for nothing. */
export function parseProperties(records: readonly TzValue[]): readonly Property[] {
  const properties: Property[] = [];
  for (let at = 0; at + 2 < records.length && properties.length < MAX_PROPERTIES; at += 3) {
    const [namespace, name, value] = records.slice(at, at + 3);
    if (typeof namespace !== 'number' || typeof name !== 'number' || typeof value === 'number') break;
    properties.push({ namespace, name, value: value ?? new Uint8Array(0) });
  }
  return properties;
}

/** The value of a text property: UTF-8, zero-terminated. */
export function textValue(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/** The value of a number property: a little-endian u32. */
export function numberValue(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

const MAX_PROPERTIES = 256;

function isVendor({ namespace, name }: PropertyName): boolean {
  return namespace === TZ_NAMESPACE.SERVICE && name === TZ_PROPERTY.SVC_VENDOR;
}

function isSame(a: PropertyName, b: PropertyName): boolean {
  return a.namespace === b.namespace && a.name === b.name;
}

function describe({ namespace, name }: PropertyName): string {
  return `${name} of namespace 0x${namespace.toString(16).padStart(8, '0')}`;
}

function uuidBytes(uuid: Uuid): Uint8Array {
  return Uint8Array.from(uuid.replaceAll('-', '').match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}
