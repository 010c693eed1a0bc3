/** The client: takes commands as values, authorises, sends, checks and decodes them, one at a time (Part 1, section 18). */
import { decode, encode, WireError } from '@casemate/wire';
import { type Entity, type HandleInput, toEntity } from './authorization.js';
import {
  acceptResponse,
  authAfterCommand,
  authorise,
  type CommandPlan,
  loseSessions,
  planSlots,
} from './authorization-area.js';
import { u32Bytes } from './bytes.js';
import type { AnyCommand, CommandResponse, HandleName, RequestParameters } from './command.js';
import { TPM_RC } from './constants/responses.js';
import type { TpmCrypto } from './crypto.js';
import { decodeResponse, encodeCommand, type ResponseFrame } from './framing.js';
import { Lock, orAborted } from './lock.js';
import { TpmError } from './response-code.js';
import type { Session, SessionUse } from './session.js';
import type { TpmTransport } from './transport.js';

/** The request of a command in one flat object: a handle argument for each handle, and the parameters. */
export type Request<C extends AnyCommand> = { readonly [N in HandleName<C>]: HandleInput } & RequestParameters<C>;

/** How a {@link Tpm} works. */
export interface TpmOptions {
  /** Used by sessions, Names and everything else that computes. Default: `nobleCrypto`, which is loaded only where it is needed. */
  readonly crypto?: TpmCrypto;
  /** Milliseconds that a command may take, time in the queue left out. Default 300 000, the longest that the PC Client profile allows. */
  readonly timeout?: number;
}

/** How one command is executed. */
export interface ExecuteOptions {
  /**
   * Sessions that authorise no handle: for parameter encryption, for audit, and so that the response's HMAC is checked.
   * One that has nothing to encrypt in this command takes part as an audit session.
   */
  readonly sessions?: readonly SessionUse[];
  /** Gives the command up, in the queue or under way; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A TPM behind a transport. Any number of callers may use it at once; their commands run one after another. */
export class Tpm {
  /** The crypto provider that was chosen, if one was. */
  readonly crypto: TpmCrypto | undefined;
  readonly #transport: TpmTransport;
  readonly #timeout: number;
  readonly #lock = new Lock();
  #settled: Promise<void> = Promise.resolve();

  /** Uses `transport` alone from now on; nothing is sent yet. */
  constructor(transport: TpmTransport, options: TpmOptions = {}) {
    this.#transport = transport;
    this.#timeout = options.timeout ?? 300_000;
    this.crypto = options.crypto;
  }

  /**
   * Runs one command and gives the response's handles and parameters in one flat object.
   *
   * A handle is a number, or an entity `{ handle, name, authValue, auth }`; without `auth` its `authValue`, else the
   * empty value, is sent as the password. Where a session takes part, every handle needs its Name, the response's HMAC is
   * checked, and the first parameters are encrypted as the session's attributes say.
   *
   * Throws `TpmError`: `response` where the TPM refuses, `integrity` where a response's HMAC or shape is wrong, `decode`,
   * `timeout`, `closed` and `transport` where the way to the TPM fails, `usage` for a request that cannot be.
   * Throws `WireError` (`bad-input`) for a parameter that cannot be encoded.
   */
  async execute<C extends AnyCommand>(
    command: C,
    request: Request<C>,
    options: ExecuteOptions = {},
  ): Promise<CommandResponse<C>> {
    const plan = planCommand(command, request, options.sessions ?? []);
    const response = await this.#lock.run(() => this.#perform(plan, options.signal), options.signal);
    return response as CommandResponse<C>; // decoded by the codecs of the same command
  }

  /** Closes the transport when the commands under way are done. */
  close(): Promise<void> {
    return this.#lock.run(() => this.#transport.close());
  }

  /** The same as {@link Tpm.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #perform(plan: CommandPlan, signal: AbortSignal | undefined): Promise<Values> {
    const bytes = encodeCommand(authorise(plan));
    const response = await this.#exchange(plan, bytes, signal);
    if (response.responseCode !== TPM_RC.SUCCESS) throw TpmError.fromResponse(plan.command.name, response.responseCode);
    const parameters = accept(plan, response);
    notePolicy(plan);
    return decodeValues(plan.command, response.handles, parameters);
  }

  /** Sends until the TPM does more than put the command off. The same bytes may be sent again: no nonce has rolled. */
  async #exchange(plan: CommandPlan, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<ResponseFrame> {
    const { name } = plan.command;
    const expired = new TpmError('timeout', `execute ${name}: expected a response within ${this.#timeout} ms`);
    const limit = withTimeout(this.#timeout, expired, signal);
    try {
      for (let attempt = 0; ; attempt++) {
        const response = decodeResponse(plan.command, await orAborted(this.#send(bytes, limit.signal), limit.signal));
        if (attempt === MAX_RETRIES || !RETRYABLE.has(response.responseCode)) return response;
        await orAborted(pause(2 ** attempt), limit.signal);
      }
    } catch (error) {
      loseSessions(plan);
      throw error;
    } finally {
      limit.clear();
    }
  }

  /** Sends once the command before has settled in the transport, even where its caller has given it up. */
  #send(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const sent = this.#settled.then(() => this.#transport.send(bytes, { signal }));
    this.#settled = sent.then(ignore, ignore);
    return sent;
  }
}

type Values = Readonly<Record<string, unknown>>;

function planCommand(command: AnyCommand, request: Values, extra: readonly SessionUse[]): CommandPlan {
  const entities = command.handles.map(({ name, codec }) => {
    const entity = toEntity(handleInput(command, name, request[name]));
    encode(codec, entity.handle); // refuses a handle of the wrong kind before anything is sent
    return entity;
  });
  const slots = planSlots(command, entities, extra);
  const parameters = encode(command.parameters, request);
  return { command, entities, slots, parameters, newAuth: authAfterCommand(command.code, request, entities[0]) };
}

function handleInput(command: AnyCommand, name: string, input: unknown): HandleInput {
  if (typeof input === 'number') return input;
  if (typeof input === 'object' && input !== null && 'handle' in input && typeof input.handle === 'number') {
    return input as Entity; // has a handle; its other members are optional and checked where they are used
  }
  throw new TpmError('usage', `plan ${command.name}: expected a handle for ${name}, got ${typeof input}`);
}

function accept(plan: CommandPlan, response: ResponseFrame): Uint8Array {
  try {
    return acceptResponse(plan, response);
  } catch (error) {
    loseSessions(plan);
    throw error;
  }
}

/** A policy command changes what its session's HMAC covers; the session is its handle `policySession`. */
function notePolicy(plan: CommandPlan): void {
  for (const entity of plan.entities) {
    if ('kind' in entity && entity.kind === 'session') (entity as Session).notePolicy(plan.command.code); // by its tag
  }
}

function decodeValues(command: AnyCommand, handles: readonly number[], parameters: Uint8Array): Values {
  try {
    const values = command.responseHandles.map(({ name, codec }, i) => [
      name,
      decode(codec, u32Bytes(handles[i] ?? 0)),
    ]);
    return { ...Object.fromEntries(values), ...decode(command.response, parameters) };
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new TpmError('decode', `decode response to ${command.name}: ${cause.message}`, { cause });
  }
}

interface Limit {
  readonly signal: AbortSignal;
  readonly clear: () => void;
}

function withTimeout(milliseconds: number, reason: TpmError, outer: AbortSignal | undefined): Limit {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(reason), milliseconds);
  const forward = (): void => controller.abort(outer?.reason);
  if (outer?.aborted) forward();
  outer?.addEventListener('abort', forward, { once: true });
  const clear = (): void => {
    clearTimeout(timer);
    outer?.removeEventListener('abort', forward);
  };
  return { signal: controller.signal, clear };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function ignore(): void {
  // The outcome belongs to the caller of that command.
}

/** Pauses of 1, 2, 4 … 512 ms: about one second in all. */
const MAX_RETRIES = 10;
const RETRYABLE: ReadonlySet<number> = new Set([TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING, TPM_RC.NV_RATE]);
