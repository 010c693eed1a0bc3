/** Sessions between a client and a service; TrustZone API 3.0, sections 6.1.4 to 6.1.6, 6.1.10 and 6.1.11. */
import type { DecodedValues, DecodeType } from './decode-as.js';
import type { DeviceMemory, MemoryStore, ServiceChannel } from './driver.js';
import { TzError, undefinedCall } from './error.js';
import { encodeBuffer, type TzValue } from './marshal.js';
import { Operation, type OperationTarget, type TzArgument } from './operation.js';
import { TZ_COMMAND, type TzMemoryFlags, type TzState } from './return-code.js';
import { isMemoryFlags, SharedMemory } from './shared-memory.js';
import { runAll } from './steps.js';
import type { TimeLimit } from './time-limit.js';

/** What a device and its session both see; made by `Device.prepareOpen`. */
export interface SessionLink {
  /** The state of the session. */
  state: TzState;
  /** The way to the service, once the session is open. */
  channel: ServiceChannel | undefined;
  /** Operations that are not released yet. */
  readonly operations: Set<Operation>;
  /** Blocks of shared memory that are not released yet. */
  readonly memories: Set<SharedMemory>;
  /** The device's shared memory, where it has it. */
  readonly memoryStore: MemoryStore | undefined;
  /** Bytes of records that a message may hold. */
  readonly capacity: number;
  /** Throws unless the limit was made by this session's device. */
  checkTimeLimit(limit: TimeLimit | undefined): void;
  /** Told once that the session has ended. */
  ended(): void;
}

/** How a command is invoked. */
export interface InvokeOptions {
  /** By when it must be over; made by the session's device. */
  readonly timeLimit?: TimeLimit;
  /** Cancels it. */
  readonly signal?: AbortSignal;
}

/** A session with one service. `await using` cancels what runs, releases shared memory, and closes it. */
export class Session implements AsyncDisposable {
  readonly #link: SessionLink;

  /** Made by `Device.prepareOpen` and `Device.openSession`. */
  constructor(link: SessionLink) {
    this.#link = link;
  }

  /** INVALID until its open operation succeeds, then OPEN, CLOSING once a close is prepared, UNDEFINED after its end. */
  get state(): TzState {
    return this.#link.state;
  }

  /** Prepares the call of `command`. Throws `TZ_ERROR_UNDEFINED` unless the session is OPEN, `TZ_ERROR_ILLEGAL_ARGUMENT`. */
  prepareInvoke(command: number, options: { readonly timeLimit?: TimeLimit } = {}): Operation {
    const link = this.#link;
    this.#assertOpen('prepareInvoke');
    assertCommand(command);
    link.checkTimeLimit(options.timeLimit);
    return adopt(link, {
      kind: 'invoke',
      capacity: link.capacity,
      timeLimit: options.timeLimit,
      owns: (memory) => link.memories.has(memory),
      assertPerformable: () => undefined,
      send: (input, call) => openChannel(link).invoke(command, input, call),
      released: (operation) => {
        link.operations.delete(operation);
      },
    });
  }

  /** Prepares the end of the session and puts it into CLOSING. Throws `TZ_ERROR_UNDEFINED` unless the session is OPEN. */
  prepareClose(): Operation {
    const link = this.#link;
    this.#assertOpen('prepareClose');
    link.state = 'CLOSING';
    return adopt(link, {
      kind: 'close',
      capacity: link.capacity,
      timeLimit: undefined,
      owns: () => false,
      assertPerformable: () => assertAlone(link),
      send: async () => {
        await endSession(link);
        return { returnCode: 0, output: encodeBuffer([]) };
      },
      released: (operation) => {
        link.operations.delete(operation);
        if (link.state === 'CLOSING') link.state = 'OPEN';
      },
    });
  }

  /**
   * Calls `command` with `values` and returns the values of the answer: prepare, encode, perform, decode and release in one. With
   * `returns` the answer's first records are decoded as these types. Throws TzError as `Operation.perform` does, and for an answer that
   * cannot be decoded.
   */
  invoke<const T extends readonly DecodeType[]>(
    command: number,
    values: readonly TzArgument[],
    options: InvokeOptions & { readonly returns: T },
  ): Promise<DecodedValues<T>>;
  /** The same, with every record of the answer. */
  invoke(command: number, values?: readonly TzArgument[], options?: InvokeOptions): Promise<readonly TzValue[]>;
  async invoke(
    command: number,
    values: readonly TzArgument[] = [],
    options: InvokeOptions & { readonly returns?: readonly DecodeType[] } = {},
  ): Promise<readonly unknown[]> {
    const operation = this.prepareInvoke(command, options);
    try {
      operation.encode(values);
      await operation.perform(options);
      return options.returns ? operation.decodeAs(options.returns) : operation.decode();
    } finally {
      operation.releaseOnce();
    }
  }

  /**
   * Makes a block of `length` zero bytes that operations of this session can lend to the service; `flags` say what for (`TZ_MEM`).
   * Throws `TZ_ERROR_MEMORY`, `TZ_ERROR_NOT_IMPLEMENTED` where the device shares no memory, `TZ_ERROR_ILLEGAL_ARGUMENT`, and
   * `TZ_ERROR_UNDEFINED` unless the session is OPEN, the flags are one of `TZ_MEM` and the length is not 0.
   */
  async allocateSharedMemory(length: number, flags: TzMemoryFlags): Promise<SharedMemory> {
    const store = this.#memoryStore('allocateSharedMemory', length, flags);
    return this.#keep(await store.allocate(length), flags, undefined);
  }

  /**
   * Makes a block of memory that the client has already. Where the device cannot use that itself, what the service may read is copied
   * when an operation is performed, and what it may write is copied back at its end: as much as the operation's references cover.
   * Throws as {@link allocateSharedMemory} does.
   */
  async registerSharedMemory(bytes: Uint8Array, flags: TzMemoryFlags): Promise<SharedMemory> {
    const store = this.#memoryStore('registerSharedMemory', bytes.length, flags);
    if (store.register) return this.#keep(store.register(bytes), flags, undefined);
    return this.#keep(await store.allocate(bytes.length), flags, bytes);
  }

  /** Closes the session: prepare, perform and release in one. Throws TzError; the session has ended all the same, unless operations are left. */
  async close(): Promise<void> {
    const operation = this.prepareClose();
    try {
      await operation.perform();
    } finally {
      operation.releaseOnce();
    }
  }

  /** Cancels and releases every operation, releases shared memory, then closes the session if it is open; whatever fails, and then throws that. */
  async [Symbol.asyncDispose](): Promise<void> {
    await runAll(this.#closing());
  }

  *#closing(): Iterable<() => unknown> {
    for (const operation of [...this.#link.operations]) yield () => operation[Symbol.asyncDispose]();
    for (const memory of [...this.#link.memories]) yield () => memory.release();
    if (this.#link.state === 'OPEN') yield () => this.close();
  }

  /** The device's shared memory, if the call is legal. */
  #memoryStore(call: string, length: number, flags: number): MemoryStore {
    this.#assertOpen(call);
    if (!isMemoryFlags(flags)) throw undefinedCall(call, 'flags SERVICE_RO, SERVICE_WO or SERVICE_RW', `${flags}`);
    if (length === 0) throw undefinedCall(call, 'a length of at least 1', '0');
    if (!Number.isInteger(length) || length < 0 || length > 0xffff_ffff) {
      const problem = `${call}: expected a length from 1 to 4294967295, got ${length}`;
      throw new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'api', problem);
    }
    if (this.#link.memoryStore) return this.#link.memoryStore;
    throw new TzError(
      'TZ_ERROR_NOT_IMPLEMENTED',
      'device',
      `${call}: expected a device with shared memory, got one without`,
    );
  }

  #keep(memory: DeviceMemory, flags: TzMemoryFlags, mirror: Uint8Array | undefined): SharedMemory {
    const { memories, state } = this.#link;
    if (state !== 'OPEN' && state !== 'CLOSING') {
      memory.release();
      throw undefinedCall('share memory', 'a session that stays open', state);
    }
    const block = new SharedMemory({ memory, flags, mirror, released: () => memories.delete(block) });
    memories.add(block);
    return block;
  }

  #assertOpen(call: string): void {
    if (this.#link.state !== 'OPEN') throw undefinedCall(call, 'a session in state OPEN', this.#link.state);
  }
}

/** Ends a session at its device; it has ended whatever the service says. */
export async function endSession(link: SessionLink): Promise<void> {
  const channel = openChannel(link);
  try {
    await channel.close();
  } finally {
    link.state = 'UNDEFINED';
    link.channel = undefined;
    link.ended();
  }
}

function adopt(link: SessionLink, target: OperationTarget): Operation {
  const operation = new Operation(target);
  link.operations.add(operation);
  return operation;
}

function openChannel(link: SessionLink): ServiceChannel {
  if (link.channel) return link.channel;
  throw undefinedCall('perform', 'an open session', link.state);
}

function assertAlone(link: SessionLink): void {
  const others = link.operations.size - 1;
  if (others > 0) throw undefinedCall('perform a close', 'a session without other operations', `${others} of them`);
  const blocks = link.memories.size;
  if (blocks > 0) throw undefinedCall('perform a close', 'a session without shared memory', `${blocks} blocks`);
}

function assertCommand(command: number): void {
  if (Number.isInteger(command) && command >= 0 && command < TZ_COMMAND.PROPERTIES) return;
  throw new TzError(
    'TZ_ERROR_ILLEGAL_ARGUMENT',
    'api',
    `prepare an invoke: expected a command from 0 to 0xfffffffc, got ${command}`,
  );
}
