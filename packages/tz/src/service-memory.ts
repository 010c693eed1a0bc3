/** Lent memory as a service in this process sees it: bounded, and read and written only as it was lent; TrustZone API 3.0, section 4.4. */
import { TzError } from './error.js';
import { TZ_MEM, type TzMemoryFlags } from './return-code.js';

/** One reference of a call, for as long as the call lasts. */
export interface ServiceMemory {
  /** Bytes. */
  readonly length: number;
  /** What may be done. */
  readonly flags: TzMemoryFlags;
  /** A copy of `length` bytes from `offset`; throws TzError `TZ_ERROR_ACCESS_DENIED` where the memory is for writing alone, or the call is over. */
  read(offset: number, length: number): Uint8Array;
  /** Writes `bytes` at `offset`; throws TzError `TZ_ERROR_ACCESS_DENIED` where the memory is for reading alone, or the call is over. */
  write(offset: number, bytes: Uint8Array): void;
}

/** A range of memory in this process, and how to take it away from the service again. */
export function openServiceMemory(
  range: {
    readonly length: number;
    readonly flags: TzMemoryFlags;
  },
  source: { read(offset: number, length: number): Uint8Array; write(offset: number, bytes: Uint8Array): void },
): { readonly memory: ServiceMemory; readonly end: () => void } {
  let live = true;
  const assertUsable = (verb: string, flag: number, offset: number, length: number): void => {
    if (!live) throw denied(verb, 'a reference of a call that runs');
    if ((range.flags & flag) === 0) throw denied(verb, `a reference lent for that, got flags ${range.flags}`);
    if (isWithin(offset, length, range.length)) return;
    throw denied(verb, `a range within ${range.length} bytes, got ${length} at ${offset}`);
  };
  const memory: ServiceMemory = {
    ...range,
    read: (offset, length) => {
      assertUsable('read lent memory', TZ_MEM.SERVICE_RO, offset, length);
      return source.read(offset, length);
    },
    write: (offset, bytes) => {
      assertUsable('write lent memory', TZ_MEM.SERVICE_WO, offset, bytes.length);
      source.write(offset, bytes);
    },
  };
  return {
    memory,
    end: () => {
      live = false;
    },
  };
}

/** Whether `length` bytes from `offset` lie within `size`; all three may be any numbers. */
export function isWithin(offset: number, length: number, size: number): boolean {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length)) return false;
  return offset >= 0 && length >= 0 && length <= size - offset;
}

function denied(verb: string, expected: string): TzError {
  return new TzError('TZ_ERROR_ACCESS_DENIED', 'device', `${verb}: expected ${expected}`);
}
