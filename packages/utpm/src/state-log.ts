/**
 * The file that a state directory keeps: the state, and behind it what changed since, so that one small write is enough for a change.
 * The layout is our own: magic, version, records, and zeros up to a multiple of 64 KiB. A record is its payload's length, the same with all
 * bits inverted, a checksum that covers all records before it too, and the payload: of the first the whole state, of each other one the
 * changes to the state before it.
 */
import { createHash } from 'node:crypto';
import { concat, isEqual, readU32, u16Bytes, u32Bytes } from './bytes.js';
import { UtpmError } from './error.js';

const MAGIC = new TextEncoder().encode('CASEMATE-UTPM-LOG\0');
const VERSION = 1;
const HEADER = MAGIC.length + 2;
const CHECKSUM = 32;
const LENGTHS = 8;
const RECORD_HEADER = LENGTHS + CHECKSUM;
/** Zeros to write into: overwriting blocks that a file has needs no journal entry of the file system, which is half of a flush. */
const BLOCK = 1 << 16;
/** What a disk writes as a whole or not at all. */
const SECTOR = 512;

/** A state with the place in its file where the next record goes. */
export interface StateLog {
  readonly state: Uint8Array;
  readonly checksum: Uint8Array;
  readonly end: number;
}

/** The bytes of a new file that holds `state`, and what is known about it. */
export function startLog(state: Uint8Array): { readonly file: Uint8Array; readonly log: StateLog } {
  const checksum = checksumOf(new Uint8Array(CHECKSUM), state);
  const records = concat(MAGIC, u16Bytes(VERSION), recordOf(checksum, state));
  const file = new Uint8Array((Math.floor(records.length / BLOCK) + 1) * BLOCK);
  file.set(records);
  return { file, log: { state: state.slice(), checksum, end: records.length } };
}

/** The record that makes `state` the state of the file, to be written at `log.end`; undefined where the file has no room for it. */
export function nextRecord(
  log: StateLog,
  state: Uint8Array,
): { readonly record: Uint8Array; readonly log: StateLog } | undefined {
  const payload = changesBetween(log.state, state);
  const end = log.end + RECORD_HEADER + payload.length;
  if (end > Math.ceil(log.end / BLOCK) * BLOCK) return undefined;
  const checksum = checksumOf(log.checksum, payload);
  const record = recordOf(checksum, payload);
  payload.fill(0);
  return { record, log: { state: state.slice(), checksum, end } };
}

function recordOf(checksum: Uint8Array, payload: Uint8Array): Uint8Array {
  return concat(u32Bytes(payload.length), u32Bytes(~payload.length), checksum, payload);
}

/**
 * The state that a file holds. A file that is no log is the state itself, in the form that 0.1.0 wrote. Throws `UtpmError` `state-damaged`
 * or `state-version`. Whoever can write the directory controls the file.
 */
export function readLog(file: Uint8Array): Uint8Array {
  if (!isEqual(file.subarray(0, MAGIC.length), MAGIC)) return file.slice();
  if (file.length % BLOCK !== 0) throw damaged(`it is ${file.length} bytes long, not a multiple of ${BLOCK}`);
  const version = ((file[MAGIC.length] ?? 0) << 8) | (file[MAGIC.length + 1] ?? 0);
  if (version !== VERSION) {
    throw new UtpmError('state-version', `read the TPM's state: expected log version ${VERSION}, got ${version}`);
  }
  let found = recordAt(file, HEADER, new Uint8Array(CHECKSUM));
  if (found === undefined) throw damaged('its first record does not match its checksum');
  let state: Uint8Array = found.payload.slice();
  for (;;) {
    const next = recordAt(file, found.end, found.checksum);
    if (next === undefined) break;
    const before = state;
    state = applyChanges(before, next.payload);
    before.fill(0);
    found = next;
  }
  assertTail(file, found.end);
  return state;
}

interface LogRecord {
  readonly payload: Uint8Array;
  readonly checksum: Uint8Array;
  readonly end: number;
}

function recordAt(file: Uint8Array, at: number, previous: Uint8Array): LogRecord | undefined {
  const end = endOfRecord(file, at);
  if (end === undefined || end > file.length) return undefined;
  const checksum = file.slice(at + LENGTHS, at + RECORD_HEADER);
  const payload = file.subarray(at + RECORD_HEADER, end);
  return isEqual(checksum, checksumOf(previous, payload)) ? { payload, checksum, end } : undefined;
}

function endOfRecord(file: Uint8Array, at: number): number | undefined {
  if (at + RECORD_HEADER > file.length) return undefined;
  const length = readU32(file, at);
  return readU32(file, at + 4) === ~length >>> 0 ? at + RECORD_HEADER + length : undefined;
}

// Behind the last record there are zeros, or a record that was being written when the process or the machine ended: nobody was answered
// then. That one lacks at least one sector. Anything else was answered, and has been damaged since.
function assertTail(file: Uint8Array, at: number): void {
  const used = file.findLastIndex((byte) => byte !== 0) + 1;
  if (used <= at) return;
  const end = endOfRecord(file, at) ?? used;
  if (used > end || end > file.length || !lacksSector(file, at, end)) {
    throw damaged(`the record at offset ${at} does not match its checksum`);
  }
}

function lacksSector(file: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const next = Math.min((Math.floor(at / SECTOR) + 1) * SECTOR, end);
    if (file.subarray(at, next).every((byte) => byte === 0)) return true;
    at = next;
  }
  return false;
}

function checksumOf(previous: Uint8Array, payload: Uint8Array): Uint8Array {
  return new Uint8Array(
    createHash('sha256').update(previous).update(u32Bytes(payload.length)).update(payload).digest(),
  );
}

/** Equal bytes between two changes that are not worth a change of their own. */
const WORTH = 12;

/** What makes `after` of `before`: for each change its offset in `before`, how many bytes go, how many come, and those. */
function changesBetween(before: Uint8Array, after: Uint8Array): Uint8Array {
  if (before.length !== after.length) return oneChange(before, after);
  const changes: Uint8Array[] = [];
  for (let at = 0; at < after.length; at++) {
    if (before[at] === after[at]) continue;
    let end = at + 1;
    for (let same = 0; end < after.length && same < WORTH; end++) same = before[end] === after[end] ? same + 1 : 0;
    changes.push(u32Bytes(at), u32Bytes(end - at), u32Bytes(end - at), after.subarray(at, end));
    at = end;
  }
  // A payload is never empty: a length of zero is the end of the log.
  return changes.length > 0 ? concat(...changes) : oneChange(before, after);
}

function oneChange(before: Uint8Array, after: Uint8Array): Uint8Array {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < shorter - start && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const inserted = after.subarray(start, after.length - tail);
  return concat(u32Bytes(start), u32Bytes(before.length - start - tail), u32Bytes(inserted.length), inserted);
}

function applyChanges(before: Uint8Array, changes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  let kept = 0;
  for (let at = 0; at < changes.length; ) {
    if (changes.length - at < 12) throw damaged('a change is cut off');
    const [offset, removed, inserted] = [readU32(changes, at), readU32(changes, at + 4), readU32(changes, at + 8)];
    const next = at + 12 + inserted;
    if (offset < kept || offset + removed > before.length || next > changes.length)
      throw damaged('a change is malformed');
    parts.push(before.subarray(kept, offset), changes.subarray(at + 12, next));
    kept = offset + removed;
    at = next;
  }
  return concat(...parts, before.subarray(kept));
}

function damaged(why: string): UtpmError {
  return new UtpmError(
    'state-damaged',
    `read the TPM's state: expected a stored state, but ${why}; it was left as it is`,
  );
}
