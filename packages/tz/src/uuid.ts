/** Service UUIDs: RFC 9562 text form, and the UUID that a PAL's measurement gives. */
import { TzError } from './error.js';

declare const uuidBrand: unique symbol;

/** A UUID in lower-case text form; made by {@link uuid} alone. */
export type Uuid = string & { readonly [uuidBrand]: true };

/** Checks the text form of a UUID; throws {@link TzError} `TZ_ERROR_ILLEGAL_ARGUMENT`. */
export function uuid(text: string): Uuid {
  const lower = text.toLowerCase();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(lower)) return lower as Uuid; // checked by this line
  throw new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'api', `parse a UUID: expected 8-4-4-4-12 hex digits, got ${text}`);
}

/** The UUID of the service with `measurement`: a version 8 UUID of its first 122 bits (RFC 9562, section 5.8). */
export function measurementUuid(measurement: Uint8Array): Uuid {
  if (measurement.length < 16) {
    throw new TzError(
      'TZ_ERROR_ILLEGAL_ARGUMENT',
      'api',
      `name a service: expected at least 16 bytes of measurement, got ${measurement.length}`,
    );
  }
  const b = measurement.slice(0, 16);
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x80;
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(b, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return uuid(hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'));
}
