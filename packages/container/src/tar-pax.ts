/** Extended headers of a tar archive: POSIX.1-2017 pax, "pax Extended Header", records of `LENGTH KEY=VALUE\n`. */
import { ContainerError } from './error.js';
import { utf8 } from './tar-header.js';

/** Records by their keys; a value is text here, though for some vendors it is bytes. */
export type PaxRecords = ReadonlyMap<string, string>;

/** The largest extended header that is read, in bytes. */
export const MAX_PAX = 1024 * 1024;

/** Encodes records in the given order. */
export function encodePax(records: PaxRecords): Uint8Array {
  const encoder = new TextEncoder();
  const lines = [...records].map(([key, value]) => {
    const body = encoder.encode(` ${key}=${value}\n`);
    return [encoder.encode(String(lengthWithItself(body.length))), body];
  });
  return concat(lines.flat());
}

/** The length of a record counts its own digits. */
function lengthWithItself(body: number): number {
  const digits = String(body).length;
  return String(body + digits).length === digits ? body + digits : body + digits + 1;
}

/** Parses records; whoever made the archive controls them. Keys of values that are no UTF-8 are left out. Throws `archive`. */
export function parsePax(data: Uint8Array): PaxRecords {
  const records = new Map<string, string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const digits = space < 0 || space - at > 8 ? '' : String.fromCharCode(...data.subarray(at, space));
    const length = /^[1-9]\d*$/.test(digits) ? Number(digits) : 0;
    const record = data.subarray(space + 1, at + length - 1);
    const equals = record.indexOf(0x3d);
    if (length <= digits.length + 2 || at + length > data.length || data[at + length - 1] !== 0x0a || equals < 1) {
      throw new ContainerError(
        'archive',
        `read pax header: expected LENGTH KEY=VALUE at byte ${at}, got something else`,
      );
    }
    const key = utf8('pax key', record.subarray(0, equals), at);
    if (!BINARY.test(key)) records.set(key, utf8('pax value', record.subarray(equals + 1), at));
    at += length;
  }
  return records;
}

/** Joins byte strings. */
function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Extended attributes and access control lists, whose values are bytes.
const BINARY = /^(?:SCHILY\.(?:xattr|acl)\.|LIBARCHIVE\.)/;
