/** Sessions between a client and a service; TrustZone API 3.0, sections 6.1.4 to 6.1.6. */
import type { ServiceChannel } from './driver.js';
import { TzError, undefinedCall } from './error.js';
import { encodeBuffer, type TzValue } from './marshal.js';
import { Operation } from './operation.js';
import { TZ_COMMAND, type TzState } from './return-code.js';
import type { TimeLimit } from './time-limit.js';

/** What a device and its session both see; made by `Device.prepareOpen`. */
export interface SessionLink {
  /** The state of the session. */
  state: TzState;
  /** The way to the service, once the session is open. */
  channel: ServiceChannel | undefined;
  /** Operations that are not released yet. */
  readonly operations: Set<Operation>;
  /** Bytes of records that a message may hold. */
  readonly capacity: number;
  /** Throws unless the limit was made by this session's device. */
  checkTimeLimit(limit: TimeLimit | undefined): void;
  /** Told once that the session has ended. */
  ended(): void;
}

/** A session with one service. `await using` cancels what runs and closes it. */
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
    return this.#adopt({
      kind: 'invoke',
      timeLimit: options.timeLimit,
      assertPerformable: () => undefined,
      send: (input, call) => openChannel(link).invoke(command, input, call),
      released: () => undefined,
    });
  }

  /** Prepares the end of the session and puts it into CLOSING. Throws `TZ_ERROR_UNDEFINED` unless the session is OPEN. */
  prepareClose(): Operation {
    const link = this.#link;
    this.#assertOpen('prepareClose');
    link.state = 'CLOSING';
    return this.#adopt({
      kind: 'close',
      timeLimit: undefined,
      assertPerformable: () => assertAlone(link),
      send: async () => {
        await endSession(link);
        return { returnCode: 0, output: encodeBuffer([]) };
      },
      released: () => {
        if (link.state === 'CLOSING') link.state = 'OPEN';
      },
    });
  }

  /**
   * Calls `command` with `values` and returns the values of the answer: prepare, encode, perform, decode and release in one.
   * Throws TzError as `Operation.perform` does, and for an answer that cannot be decoded.
   */
  async invoke(
    command: number,
    values: readonly TzValue[] = [],
    options: { readonly timeLimit?: TimeLimit; readonly signal?: AbortSignal } = {},
  ): Promise<readonly TzValue[]> {
    await using operation = this.prepareInvoke(command, options);
    operation.encode(values);
    await operation.perform(options);
    return operation.decode();
  }

  /** Closes the session: prepare, perform and release in one. Throws TzError; the session has ended all the same, unless operations are left. */
  async close(): Promise<void> {
    const operation = this.prepareClose();
    try {
      await operation.perform();
    } finally {
      operation.release();
    }
  }

  /** Cancels and releases every operation, then closes the session if it is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const operation of [...this.#link.operations]) await operation[Symbol.asyncDispose]();
    if (this.#link.state === 'OPEN') await this.close();
  }

  #adopt(target: Omit<ConstructorParameters<typeof Operation>[0], 'capacity'>): Operation {
    const { operations, capacity } = this.#link;
    const released = (operation: Operation) => {
      operations.delete(operation);
      target.released(operation);
    };
    const operation = new Operation({ ...target, capacity, released });
    operations.add(operation);
    return operation;
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

function openChannel(link: SessionLink): ServiceChannel {
  if (link.channel) return link.channel;
  throw undefinedCall('perform', 'an open session', link.state);
}

function assertAlone(link: SessionLink): void {
  const others = link.operations.size - 1;
  if (others > 0) throw undefinedCall('perform a close', 'a session without other operations', `${others} of them`);
}

function assertCommand(command: number): void {
  const reserved = command === TZ_COMMAND.OPEN || command === TZ_COMMAND.CLOSE;
  if (Number.isInteger(command) && command >= 0 && command <= 0xffff_ffff && !reserved) return;
  throw new TzError(
    'TZ_ERROR_ILLEGAL_ARGUMENT',
    'api',
    `prepare an invoke: expected a command from 0 to 0xfffffffd, got ${command}`,
  );
}
