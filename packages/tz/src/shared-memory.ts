/** Blocks of shared memory and the references to them that live; TrustZone API 3.0, sections 4.4, 5.4.5 and 6.1.10 to 6.1.12. */
import type { DeviceMemory, LentMemory } from './driver.js';
import { TzError, undefinedCall } from './error.js';
import { TZ_MEM, type TzErrorCode, type TzMemoryFlags, type TzState } from './return-code.js';
import { isWithin } from './service-memory.js';

/** What a block is made of; made by `Session`. */
export interface SharedMemoryTarget {
  /** The block at the device. */
  readonly memory: DeviceMemory;
  /** What services may do with it. */
  readonly flags: TzMemoryFlags;
  /** The client's own memory behind it, where that has to be copied to the device and back. */
  readonly mirror: Uint8Array | undefined;
  /** Told once that the block is released. */
  released(memory: SharedMemory): void;
}

/** A range of a block that an operation refers to. It lives until the operation has been performed, or is released. */
export interface LiveRange extends LentMemory {
  /** Copies the client's memory to the device, where the block is a registered one and the service may read it. */
  begin(): void;
  /** Ends the reference; after a call that took place, copies what the service may have written to the client's memory. */
  end(happened: boolean): void;
}

/** A range of a block, to be lent by an operation that encodes it; made by `SharedMemory.range`. Nothing is lent yet. */
export interface MemoryRange {
  /** The block. */
  readonly memory: SharedMemory;
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** What the service may do. */
  readonly flags: TzMemoryFlags;
}

/** A block of memory that a session's services may be lent; `using` releases it. */
export class SharedMemory implements Disposable {
  readonly #target: SharedMemoryTarget;
  readonly #live = new Set<LiveRange>();
  #state: TzState = 'OPEN';

  /** Made by `Session.allocateSharedMemory` and `Session.registerSharedMemory`. */
  constructor(target: SharedMemoryTarget) {
    this.#target = target;
  }

  /** OPEN until it is released, then UNDEFINED. */
  get state(): TzState {
    return this.#state;
  }

  /** Bytes. */
  get length(): number {
    return this.#target.memory.size;
  }

  /** What services may do with it: one of `TZ_MEM`. */
  get flags(): TzMemoryFlags {
    return this.#target.flags;
  }

  /** References that live. */
  get references(): number {
    return this.#live.size;
  }

  /**
   * Puts `bytes` at `offset`. Throws `TZ_ERROR_UNDEFINED` where a reference to them lives, or the block is released,
   * `TZ_ERROR_ILLEGAL_ARGUMENT` beyond its end.
   */
  write(offset: number, bytes: Uint8Array): void {
    this.#assertFree('write', offset, bytes.length);
    const { memory, mirror } = this.#target;
    if (mirror) mirror.set(bytes, offset);
    else memory.write(offset, bytes);
  }

  /** A copy of `length` bytes from `offset`, of all unless given. Throws as {@link write} does. */
  read(offset = 0, length = this.length - offset): Uint8Array {
    this.#assertFree('read', offset, length);
    const { memory, mirror } = this.#target;
    return mirror ? mirror.slice(offset, offset + length) : memory.read(offset, length);
  }

  /** Describes `length` bytes from `offset`, the whole block unless given, for `Session.invoke` and `Operation.encode`. */
  range(offset = 0, length = this.length - offset, flags = this.flags): MemoryRange {
    return { memory: this, offset, length, flags };
  }

  /** Frees the block. Throws `TZ_ERROR_UNDEFINED` while a reference to it lives, and after a release. */
  release(): void {
    this.#assertOpen('release');
    if (this.#live.size > 0) throw undefinedCall('release', 'shared memory without references', `${this.#live.size}`);
    this.#state = 'UNDEFINED';
    this.#target.memory.release();
    this.#target.released(this);
  }

  /** Releases the block if it is not yet. Throws `TZ_ERROR_UNDEFINED` while a reference to it lives. */
  [Symbol.dispose](): void {
    if (this.#state === 'OPEN') this.release();
  }

  /** Refers to a range, for an operation; or the encoder's error. Throws `TZ_ERROR_UNDEFINED` after a release. */
  refer(offset: number, length: number, flags: TzMemoryFlags): LiveRange | TzErrorCode {
    this.#assertOpen('encodeMemoryReference');
    if (!isMemoryFlags(flags) || (flags & ~this.flags) !== 0) return 'TZ_ERROR_ENCODE_FORMAT';
    if (length === 0 || !isWithin(offset, length, this.length)) return 'TZ_ERROR_ENCODE_FORMAT';
    if (this.#overlaps(offset, length)) return 'TZ_ERROR_ENCODE_FORMAT';
    const { memory, mirror } = this.#target;
    const range: LiveRange = {
      memory,
      offset,
      length,
      flags,
      begin: () => {
        if (mirror && flags & TZ_MEM.SERVICE_RO) memory.write(offset, mirror.subarray(offset, offset + length));
      },
      end: (happened) => {
        if (!this.#live.delete(range)) return;
        if (happened && mirror && flags & TZ_MEM.SERVICE_WO) mirror.set(memory.read(offset, length), offset);
      },
    };
    this.#live.add(range);
    return range;
  }

  #overlaps(offset: number, length: number): boolean {
    for (const range of this.#live) {
      if (offset < range.offset + range.length && range.offset < offset + length) return true;
    }
    return false;
  }

  #assertFree(call: string, offset: number, length: number): void {
    this.#assertOpen(call);
    if (!isWithin(offset, length, this.length)) {
      const problem = `${call} shared memory: expected a range within ${this.length} bytes, got ${length} at ${offset}`;
      throw new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'api', problem);
    }
    if (this.#overlaps(offset, length)) throw undefinedCall(call, 'bytes without a reference', 'a range that is lent');
  }

  #assertOpen(call: string): void {
    if (this.#state !== 'OPEN') throw undefinedCall(call, 'shared memory in state OPEN', this.#state);
  }
}

/** Whether `flags` is exactly one of `TZ_MEM`. */
export function isMemoryFlags(flags: number): flags is TzMemoryFlags {
  return flags === TZ_MEM.SERVICE_RO || flags === TZ_MEM.SERVICE_WO || flags === TZ_MEM.SERVICE_RW;
}
