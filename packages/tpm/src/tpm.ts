/** The client: takes commands as values, authorises, sends, checks and decodes them, one at a time (Part 1, section 18). */
import { decode, encode, WireError } from '@casemate/wire';
import { type Entity, type HandleInput, toEntity } from './authorization.js';
import {
  acceptResponse,
  assertAuthCount,
  authAfterCommand,
  authorise,
  type CommandPlan,
  loseSessions,
  passwordAuths,
  planSlots,
} from './authorization-area.js';
import { u32At, u32Bytes } from './bytes.js';
import type { AnyCommand, CommandResponse, HandleName, RequestParameters } from './command.js';
import { TPM_RC } from './constants/responses.js';
import type { TpmCrypto } from './crypto.js';
import { Deadline } from './deadline.js';
import { decodeAnswer, decodeResponse, encodeCommand, encodeRequest, type ResponseFrame } from './framing.js';
import { Lock } from './lock.js';
import { TpmError } from './response-code.js';
import type { Session, SessionUse } from './session.js';
import type { TpmTransport } from './transport.js';

/** The request of a command in one flat object: a handle argument for each handle, and the parameters. */
export type Request<C extends AnyCommand> = { readonly [N in HandleName<C>]: HandleInput } & RequestParameters<C>;

/** How a {@link Tpm} works. */
export interface TpmOptions {
  /** Used by sessions, Names and everything else that computes. Default: {@link defaultCrypto}. */
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
  readonly #deadline: Deadline;
  /** The callers, one command at a time. */
  readonly #callers = new Lock();
  /** The transport, which may still be busy with a command that its caller has given up. */
  readonly #line = new Lock();

  /** Uses `transport` alone from now on; nothing is sent yet. */
  constructor(transport: TpmTransport, options: TpmOptions = {}) {
    this.#transport = transport;
    this.#deadline = new Deadline(options.timeout ?? 300_000);
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
    const plan = planCommand(command, request, options.sessions ?? NONE);
    const response = await this.#callers.run(() => this.#perform(plan, options.signal), options.signal);
    return response as CommandResponse<C>; // decoded by the codecs of the same command
  }

  /** Closes the transport when the commands under way are done. */
  close(): Promise<void> {
    return this.#callers.run(() => {
      this.#deadline.close();
      return this.#transport.close();
    });
  }

  /** The same as {@link Tpm.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #perform(plan: Plan, signal: AbortSignal | undefined): Promise<Values> {
    const values = await (plan.kind === 'plain' ? this.#performPlain(plan, signal) : this.#performIn(plan, signal));
    notePolicy(plan);
    return values;
  }

  /** Without sessions, a command is encoded before its turn comes, and its response decoded in one go. */
  async #performPlain({ command, bytes, authCount }: PlainPlan, signal: AbortSignal | undefined): Promise<Values> {
    const response = decodeAnswer(command, await this.#exchange(command, bytes, signal), COPY);
    assertSuccess(command, response.responseCode);
    assertAuthCount(command, authCount, response.auths.length);
    return withHandles(command, response.handles, response.parameters ?? {});
  }

  /** In sessions, nothing that a response holds is looked at before its HMACs have been checked. */
  async #performIn(plan: CommandPlan, signal: AbortSignal | undefined): Promise<Values> {
    const { command } = plan;
    const bytes = encodeCommand(authorise(plan));
    const response = await this.#exchange(command, bytes, signal)
      .then((received) => decodeResponse(command, received))
      .catch((error) => lose(plan, error));
    assertSuccess(command, response.responseCode);
    return decodeValues(command, response.handles, accept(plan, response));
  }

  /** Sends until the TPM does more than put the command off. The same bytes may be sent again: no nonce has rolled. */
  #exchange(command: AnyCommand, bytes: Uint8Array, outer: AbortSignal | undefined): Promise<Uint8Array> {
    const attempts = async (signal: AbortSignal): Promise<Uint8Array> => {
      let response = await this.#send(bytes, signal);
      for (let attempt = 0; attempt < MAX_RETRIES && isPutOff(response); attempt++) {
        await pause(2 ** attempt);
        signal.throwIfAborted();
        response = await this.#send(bytes, signal);
      }
      return response;
    };
    return this.#deadline.run(command.name, attempts, outer);
  }

  /** Sends once the command before has settled in the transport, even where its caller has given it up. */
  #send(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return this.#line.run(() => this.#transport.send(bytes, { signal }), signal);
  }
}

type Values = Readonly<Record<string, unknown>>;

/** A command that no session takes part in, as the bytes to send. */
interface PlainPlan {
  readonly kind: 'plain';
  readonly command: AnyCommand;
  readonly entities: readonly Entity[];
  readonly bytes: Uint8Array;
  readonly authCount: number;
}

type Plan = PlainPlan | (CommandPlan & { readonly kind: 'in-sessions' });

function planCommand(command: AnyCommand, request: Values, extra: readonly SessionUse[]): Plan {
  const entities = command.handles.map(({ name, codec }) => {
    const entity = toEntity(handleInput(command, name, request[name]));
    encode(codec, entity.handle); // refuses a handle of the wrong kind before anything is sent
    return entity;
  });
  const slots = planSlots(command, entities, extra);
  const passwords = passwordAuths(slots);
  if (!passwords) {
    const parameters = encode(command.parameters, request);
    const newAuth = authAfterCommand(command.code, request, entities[0]);
    return { kind: 'in-sessions', command, entities, slots, parameters, newAuth };
  }
  const handles = entities.map(({ handle }) => handle);
  const bytes = encodeRequest(command, { handles, auths: passwords, parameters: request });
  return { kind: 'plain', command, entities, bytes, authCount: slots.length };
}

function handleInput(command: AnyCommand, name: string, input: unknown): HandleInput {
  if (typeof input === 'number') return input;
  if (typeof input === 'object' && input !== null && 'handle' in input && typeof input.handle === 'number') {
    return input as Entity; // has a handle; its other members are optional and checked where they are used
  }
  throw new TpmError('usage', `plan ${command.name}: expected a handle for ${name}, got ${typeof input}`);
}

/** Whether a response is no more than the request to come again: a well-formed header with one of the codes for that. */
function isPutOff(response: Uint8Array): boolean {
  return response.length === 10 && u32At(response, 2) === 10 && RETRYABLE.has(u32At(response, 6));
}

function assertSuccess(command: AnyCommand, responseCode: number): void {
  if (responseCode !== TPM_RC.SUCCESS) throw TpmError.fromResponse(command.name, responseCode);
}

function accept(plan: CommandPlan, response: ResponseFrame): Uint8Array {
  try {
    return acceptResponse(plan, response);
  } catch (error) {
    return lose(plan, error);
  }
}

/** Ends the sessions of a command of which nobody knows whether the TPM ran it. */
function lose(plan: CommandPlan, error: unknown): never {
  loseSessions(plan);
  throw error;
}

/** A policy command changes what its session's HMAC covers; the session is its handle `policySession`. */
function notePolicy(plan: Plan): void {
  for (const entity of plan.entities) {
    if ('kind' in entity && entity.kind === 'session') (entity as Session).notePolicy(plan.command.code); // by its tag
  }
}

function decodeValues(command: AnyCommand, handles: readonly number[], parameters: Uint8Array): Values {
  return withHandles(
    command,
    handles,
    typed(command, () => decode(command.response, parameters)),
  );
}

function withHandles(command: AnyCommand, handles: readonly number[], parameters: Values): Values {
  if (handles.length === 0) return parameters;
  const named = command.responseHandles.map(({ name, codec }, i) => {
    const handle = u32Bytes(handles[i] ?? 0);
    return [name, typed(command, () => decode(codec, handle))] as const;
  });
  return { ...Object.fromEntries(named), ...parameters };
}

/** What `decoded` gives; what it refuses becomes a `TpmError`. */
function typed<T>(command: AnyCommand, decoded: () => T): T {
  try {
    return decoded();
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new TpmError('decode', `decode response to ${command.name}: ${cause.message}`, { cause });
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

const NONE: readonly never[] = [];

/** A value that is given out owns its bytes, whatever becomes of the response. */
const COPY = { copy: true } as const;

/** Pauses of 1, 2, 4 … 512 ms: about one second in all. */
const MAX_RETRIES = 10;
const RETRYABLE: ReadonlySet<number> = new Set([TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING, TPM_RC.NV_RATE]);
