/** The client: takes commands as values, authorises, sends, checks and decodes them, one at a time. TPM 1.2 Main Part 1, clause 13. */
import { decode, encode, WireError } from '@casemate/wire';
import { Deadline } from '../deadline.js';
import { Lock, orAborted } from '../lock.js';
import { TpmError } from '../response-code.js';
import type { TpmTransport } from '../transport.js';
import type {
  AnyCommand12,
  AuthEntity,
  AuthField,
  CommandParameters12,
  CommandResponse12,
  OptionalAuthName,
  RequiredAuthName,
} from './command.js';
import { FlushSpecific, Oiap, Osap } from './commands/session.js';
import { TPM_ET, TPM_KH, TPM_RT } from './constants.js';
import { nobleCrypto12, type Tpm12Crypto } from './crypto.js';
import { decodeResponse12, encodeCommand12, type ResponseFrame12 } from './framing.js';
import { NON_FATAL, resultError, TPM_RESULT } from './result.js';
import {
  AuthSession,
  type AuthSlot,
  authoriseCommand,
  commandDigest,
  hideSecret,
  isAuthentic,
  osapSecret,
  responseDigest,
  type SessionUse12,
} from './session.js';

/**
 * How an entity is authorised: by its secret (20 bytes), for which a session is opened and closed again, or by a session
 * that is open: an OSAP session itself, or an OIAP session `with` the secret.
 */
export type Authorization12 = Uint8Array | AuthSession | SessionUse12;

/**
 * The request of a command in one flat object: handles, parameters, and authorisations by their names. New secrets are
 * given in the clear; they travel encrypted where the specification says so.
 */
export type Request12<C extends AnyCommand12> = CommandParameters12<C> & {
  readonly [N in RequiredAuthName<C>]: Authorization12;
} & { readonly [N in OptionalAuthName<C>]?: Authorization12 | undefined };

/** How a {@link Tpm12} works. */
export interface Tpm12Options {
  /** Default: `nobleCrypto12`. */
  readonly crypto?: Tpm12Crypto;
  /** Milliseconds that a command may take, time in the queue left out. Default 300 000: a TPM may search long for an RSA key. */
  readonly timeout?: number;
}

/** How one command is executed. */
export interface ExecuteOptions12 {
  /** Gives the command up, in the queue or under way; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What an OSAP session is about: the owner, the storage root key, a loaded key by its handle, or an NV index. */
export type OsapEntity = 'owner' | 'srk' | { readonly keyHandle: number } | { readonly nvIndex: number };

/** A TPM 1.2 behind a transport. Any number of callers may use it at once; their commands run one after another. */
export class Tpm12 {
  /** The crypto provider. */
  readonly crypto: Tpm12Crypto;
  readonly #transport: TpmTransport;
  readonly #deadline: Deadline;
  readonly #lock = new Lock();
  #settled: Promise<void> = Promise.resolve();

  /** Uses `transport` alone from now on; nothing is sent yet. */
  constructor(transport: TpmTransport, options: Tpm12Options = {}) {
    this.#transport = transport;
    this.crypto = options.crypto ?? nobleCrypto12;
    this.#deadline = new Deadline(options.timeout ?? 300_000);
  }

  /**
   * Runs one command and gives the response's handles and parameters in one flat object.
   *
   * Throws `TpmError`: `response` where the TPM refuses, `integrity` where a response's HMAC is wrong, `decode`, `timeout`,
   * `closed` and `transport` where the way to the TPM fails, `usage` for a request that cannot be. Throws `WireError`
   * (`bad-input`) for a parameter that cannot be encoded.
   */
  async execute<C extends AnyCommand12>(
    command: C,
    request: Request12<C>,
    options: ExecuteOptions12 = {},
  ): Promise<CommandResponse12<C>> {
    const plan = planCommand(command, request);
    const response = await this.#lock.run(() => this.#perform(plan, options.signal), options.signal);
    return response as CommandResponse12<C>; // decoded by the codecs of the same command
  }

  /** Opens a session in which any entity can be authorised, one secret a use: `session.with(secret)`. */
  openOiap(options: ExecuteOptions12 = {}): Promise<AuthSession> {
    return this.#lock.run(() => this.#oiap(options.signal), options.signal);
  }

  /** Opens a session for one entity, whose secret goes into it. A wrong secret shows at the first use. */
  openOsap(entity: OsapEntity, secret: Uint8Array, options: ExecuteOptions12 = {}): Promise<AuthSession> {
    const [type, value] = entityNumbers(entity);
    return this.#lock.run(() => this.#osap(type, value, secret, options.signal), options.signal);
  }

  /** Closes the transport when the commands under way are done. */
  close(): Promise<void> {
    return this.#lock.run(() => this.#transport.close());
  }

  /** The same as {@link Tpm12.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #perform(plan: Plan, signal: AbortSignal | undefined): Promise<Values> {
    const opened: AuthSession[] = [];
    try {
      const slots = await this.#openSlots(plan, opened, signal);
      return await this.#run(plan, slots, signal);
    } finally {
      // The TPM ends these by itself unless it never came to that.
      for (const session of opened) if (session.alive) await this.#end(session).catch(ignore);
    }
  }

  async #openSlots(plan: Plan, opened: AuthSession[], signal: AbortSignal | undefined): Promise<AuthSlot[]> {
    const slots: AuthSlot[] = [];
    for (const { field, authorization } of plan.auths) {
      const use = authorization instanceof Uint8Array ? undefined : toUse(authorization);
      if (use) assertProtocol(plan.command, field, use.session);
      const session = use?.session ?? (await this.#open(plan, field, authorization as Uint8Array, signal)); // no use: a secret
      if (!use) opened.push(session);
      const key = session.keyFor(use ? use.secret : (authorization as Uint8Array)); // no use: a secret
      slots.push({ session, key, nonceOdd: this.crypto.random(20), keep: use !== undefined });
    }
    return slots;
  }

  #open(plan: Plan, field: AuthField, secret: Uint8Array, signal: AbortSignal | undefined): Promise<AuthSession> {
    assertSecret(plan.command, field, secret);
    if (field.protocol !== 'osap') return this.#oiap(signal);
    const [type, value] = entityNumbers(entityOf(plan, field.entity));
    return this.#osap(type, value, secret, signal);
  }

  async #run(plan: Plan, slots: readonly AuthSlot[], signal: AbortSignal | undefined): Promise<Values> {
    const { command, handles } = plan;
    const parameters = encode(command.parameters, this.#hideSecrets(plan, slots));
    const digest = commandDigest(this.crypto, command.ordinal, parameters);
    const auths = slots.map((slot) => authoriseCommand(this.crypto, slot, digest));
    const bytes = encodeCommand12({ ordinal: command.ordinal, handles, parameters, auths });
    try {
      const response = await this.#exchange(command, auths.length, bytes, signal);
      if (response.returnCode !== TPM_RESULT.SUCCESS) throw resultError(command.name, response.returnCode);
      this.#accept(command, slots, response);
      return decodeValues(command, response);
    } catch (error) {
      // A refusal ends the sessions in the TPM, a non-fatal one apart; after anything else nobody knows their nonces.
      if (!isNonFatal(error)) for (const { session } of slots) session.lose();
      throw error;
    }
  }

  #hideSecrets(plan: Plan, slots: readonly AuthSlot[]): Values {
    const { secrets } = plan.command;
    const slot = slots[plan.auths.findIndex(({ field }) => field.name === secrets?.auth)];
    // Without the authorisation there is nothing to hide it with, and the TPM takes the secret as it is.
    if (secrets === undefined || slot === undefined) return plan.request;
    const hide = (name: string, nonce: Uint8Array) => {
      const secret = plan.request[name];
      if (!(secret instanceof Uint8Array)) return {}; // the codec refuses it
      return { [name]: hideSecret(this.crypto, slot.key, nonce, secret) };
    };
    const odd = secrets.odd === undefined ? {} : hide(secrets.odd, slot.nonceOdd);
    return { ...plan.request, ...hide(secrets.even, slot.session.nonceEven), ...odd };
  }

  #accept(command: AnyCommand12, slots: readonly AuthSlot[], response: ResponseFrame12): void {
    const digest = responseDigest(this.crypto, command.ordinal, response.parameters);
    for (const [i, slot] of slots.entries()) {
      const auth = response.auths[i];
      if (auth === undefined || !isAuthentic(this.crypto, slot, digest, auth)) {
        const which = command.auths[i]?.name ?? 'authorisation';
        throw new TpmError('integrity', `${command.name}: the HMAC of the response is wrong (${which})`);
      }
    }
    for (const [i, { session }] of slots.entries()) {
      const auth = response.auths[i];
      if (auth !== undefined) session.roll(auth);
    }
  }

  async #oiap(signal: AbortSignal | undefined): Promise<AuthSession> {
    const { authHandle, nonceEven } = await this.#simple(Oiap, {}, signal);
    return new AuthSession(authHandle, nonceEven, undefined, this.#flush);
  }

  async #osap(
    entityType: number,
    entityValue: number,
    secret: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<AuthSession> {
    const nonceOddOSAP = this.crypto.random(20);
    const response = await this.#simple(Osap, { entityType, entityValue, nonceOddOSAP }, signal);
    const shared = osapSecret(this.crypto, secret, response.nonceEvenOSAP, nonceOddOSAP);
    return new AuthSession(response.authHandle, response.nonceEven, shared, this.#flush);
  }

  /** Runs a command that takes no authorisation, from within the lock. */
  async #simple<C extends AnyCommand12>(
    command: C,
    request: CommandParameters12<C>,
    signal: AbortSignal | undefined,
  ): Promise<CommandResponse12<C>> {
    const response = await this.#run({ command, request: request as Values, handles: [], auths: [] }, [], signal);
    return response as CommandResponse12<C>; // decoded by the codecs of the same command
  }

  readonly #flush = (session: AuthSession): Promise<void> => this.#lock.run(() => this.#end(session));

  async #end(session: AuthSession): Promise<void> {
    session.lose();
    await this.#simple(FlushSpecific, { handle: session.handle, resourceType: TPM_RT.AUTH }, undefined);
  }

  /** Sends until the TPM does more than put the command off. The same bytes may be sent again: no nonce has rolled. */
  #exchange(
    command: AnyCommand12,
    auths: number,
    bytes: Uint8Array,
    outer: AbortSignal | undefined,
  ): Promise<ResponseFrame12> {
    const work = async (signal: AbortSignal): Promise<ResponseFrame12> => {
      for (let attempt = 0; ; attempt++) {
        const frame = decodeResponse12(command, auths, await this.#send(bytes, signal));
        if (attempt === MAX_RETRIES || !RETRYABLE.has(frame.returnCode)) return frame;
        await orAborted(pause(2 ** attempt), signal);
      }
    };
    return this.#deadline.run(command.name, work, outer);
  }

  /** Sends once the command before has settled in the transport, even where its caller has given it up. */
  #send(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const sent = this.#settled.then(() => this.#transport.send(bytes, { signal }));
    this.#settled = sent.then(ignore, ignore);
    return sent;
  }
}

type Values = Readonly<Record<string, unknown>>;

/** A command that is ready but for sessions, nonces and HMACs. */
interface Plan {
  readonly command: AnyCommand12;
  readonly request: Values;
  readonly handles: readonly number[];
  readonly auths: readonly { readonly field: AuthField; readonly authorization: Authorization12 }[];
}

function planCommand(command: AnyCommand12, request: Values): Plan {
  const handles = command.handles.map((name) => {
    const handle = request[name];
    if (typeof handle === 'number') return handle;
    throw new TpmError('usage', `plan ${command.name}: expected a handle for ${name}, got ${typeof handle}`);
  });
  const auths = command.auths.flatMap((field) => {
    const authorization = request[field.name];
    if (isAuthorization(authorization)) return [{ field, authorization }];
    if (authorization === undefined && field.optional) return [];
    throw new TpmError('usage', `plan ${command.name}: expected a secret or session for ${field.name}`);
  });
  encode(command.parameters, request); // refuses a parameter that does not fit before a session is opened for it
  return { command, request, handles, auths };
}

function isAuthorization(value: unknown): value is Authorization12 {
  if (value instanceof Uint8Array || value instanceof AuthSession) return true;
  return typeof value === 'object' && value !== null && 'session' in value && value.session instanceof AuthSession;
}

function toUse(authorization: AuthSession | SessionUse12): SessionUse12 {
  return authorization instanceof AuthSession ? { session: authorization } : authorization;
}

function assertProtocol(command: AnyCommand12, field: AuthField, session: AuthSession): void {
  if (field.protocol === 'any' || field.protocol === session.protocol) return;
  const kinds = `expected an ${field.protocol.toUpperCase()} session for ${field.name}`;
  throw new TpmError('usage', `authorise ${command.name}: ${kinds}, got ${session.protocol.toUpperCase()}`);
}

function assertSecret(command: AnyCommand12, field: AuthField, secret: Uint8Array): void {
  if (secret.length === 20) return;
  const problem = `expected a secret of 20 bytes for ${field.name}, got ${secret.length}`;
  throw new TpmError('usage', `authorise ${command.name}: ${problem}`);
}

function entityOf(plan: Plan, entity: AuthEntity): OsapEntity {
  switch (entity.kind) {
    case 'owner':
    case 'srk':
      return entity.kind;
    case 'key':
      return { keyHandle: plan.handles[plan.command.handles.indexOf(entity.handle)] ?? 0 };
    case 'nv':
      return { nvIndex: Number(plan.request[entity.parameter]) };
    case 'data':
      throw new TpmError('usage', `authorise ${plan.command.name}: there is no OSAP session for data`);
  }
}

function entityNumbers(entity: OsapEntity): readonly [type: number, value: number] {
  if (entity === 'owner') return [TPM_ET.OWNER, TPM_KH.OWNER];
  if (entity === 'srk') return [TPM_ET.SRK, TPM_KH.SRK];
  if ('nvIndex' in entity) return [TPM_ET.NV, entity.nvIndex];
  return entity.keyHandle === TPM_KH.SRK ? [TPM_ET.SRK, TPM_KH.SRK] : [TPM_ET.KEYHANDLE, entity.keyHandle];
}

function isNonFatal(error: unknown): boolean {
  return error instanceof TpmError && error.code === 'response' && ((error.response?.code ?? 0) & NON_FATAL) !== 0;
}

function decodeValues(command: AnyCommand12, response: ResponseFrame12): Values {
  try {
    const handles = command.responseHandles.map((name, i) => [name, response.handles[i] ?? 0]);
    return { ...Object.fromEntries(handles), ...decode(command.response, response.parameters) };
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new TpmError('decode', `decode response to ${command.name}: ${cause.message}`, { cause });
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function ignore(): void {
  // The outcome belongs to the caller of that command.
}

/** Pauses of 1, 2, 4 … 512 ms: about one second in all. */
const MAX_RETRIES = 10;
const RETRYABLE: ReadonlySet<number> = new Set([TPM_RESULT.RETRY, TPM_RESULT.DOING_SELFTEST]);
