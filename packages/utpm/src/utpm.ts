/** The TPM as a transport: one command at a time, state stored before an answer, power cycles. */
import { Startup, TPM_CC, TPM_RC, TPM_SU } from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { concat, isEqual, u16Bytes, u32Bytes } from './bytes.js';
import { clockOf, isShutDown, startClock } from './clock.js';
import { measureLaunch } from './commands/integrity.js';
import { shutDown } from './commands/startup.js';
import type { UtpmCrypto } from './crypto.js';
import { UtpmError } from './error.js';
import { execute, type Handlers, tableOf } from './execute.js';
import type { Handler } from './handler.js';
import { IMPLEMENTATION } from './implementation.js';
import type { Utpm, UtpmOptions, UtpmProfile, UtpmSeeds, UtpmSendOptions, UtpmSnapshot } from './options.js';
import { decodePermanent, encodePermanent } from './permanent.js';
import { memoryState, type UtpmState } from './state.js';
import { fromStored, manufacture, type Permanent, powerOnState, type Tpm, toStored } from './tpm.js';
import { decodeVolatile, encodeVolatile } from './volatile.js';

/** A response with TPM_RC_COMMAND_SIZE. */
const TOO_LONG = /* @__PURE__ */ concat(u16Bytes(0x8001), u32Bytes(10), u32Bytes(TPM_RC.COMMAND_SIZE));
const SEED_BYTES = { min: 32, max: 64 };

/** The command sets that an entry point has, the first of them its default: what an entry point leaves out is not in its bundle. */
export type Profiles = readonly (readonly [UtpmProfile, readonly Handler[]])[];

/** A TPM whose answers need not be waited for where they are there at once. */
export interface DirectTpm extends Utpm {
  /** `send` without a promise where none is needed; throws what `send` rejects with. */
  answer(command: Uint8Array, options?: UtpmSendOptions): Promise<Uint8Array> | Uint8Array;
}

/** Makes the `openUtpm` of an entry point, which has a default provider and profiles of its own. */
export function openerWith(crypto: UtpmCrypto, profiles: Profiles): (options?: UtpmOptions) => Promise<DirectTpm> {
  return (options = {}) => open({ ...options, crypto: options.crypto ?? crypto }, profiles);
}

async function open(options: UtpmOptions & { readonly crypto: UtpmCrypto }, profiles: Profiles): Promise<DirectTpm> {
  const { crypto, state = memoryState(), seeds = {}, now = stopwatch() } = options;
  const [profile, list] = profileOf(options.profile, profiles);
  assertSeeds(seeds);
  const stored = await state.load();
  try {
    const permanent = stored === undefined ? manufacture(crypto, seeds) : fromStored(decodePermanent(stored));
    if (stored !== undefined) assertSameSeeds(permanent, seeds);
    const handlers = tableOf(list);
    const commands = new Map([...handlers].map(([code, { command }]) => [code, command]));
    const volatile = powerOnState(crypto, now(), permanent);
    const tpm: Tpm = { crypto, now, commands, permanent, volatile, commandSize: IMPLEMENTATION.MAX_COMMAND_SIZE };
    startClock(tpm);
    const utpm = new EmbeddedTpm(tpm, state, handlers, profile);
    if (stored === undefined) await utpm.store();
    if (options.startup === true) await utpm.startUp();
    return utpm;
  } catch (error) {
    await state.close();
    throw error;
  }
}

// Each look at the global by its name is a call of its own.
function stopwatch(): () => number {
  const clock = performance;
  return () => clock.now();
}

function assertSeeds(seeds: UtpmSeeds): void {
  for (const [name, seed] of Object.entries(seeds)) {
    if (seed === undefined || (seed.length >= SEED_BYTES.min && seed.length <= SEED_BYTES.max)) continue;
    throw new UtpmError('bad-option', `open a TPM: expected a ${name} seed of 32 to 64 bytes, got ${seed.length}`);
  }
}

function assertSameSeeds(permanent: Permanent, seeds: UtpmSeeds): void {
  for (const name of ['endorsement', 'owner', 'platform'] as const) {
    const seed = seeds[name];
    if (seed === undefined || isEqual(seed, permanent[name].seed)) continue;
    throw new UtpmError('seed-mismatch', `open a TPM: expected the stored ${name} seed, got another one`);
  }
}

function profileOf(wanted: UtpmProfile | undefined, profiles: Profiles): Profiles[number] {
  const found = wanted === undefined ? profiles[0] : profiles.find(([name]) => name === wanted);
  if (found !== undefined) return found;
  const names = profiles.map(([name]) => name).join(' or ');
  throw new UtpmError('bad-option', `open a TPM: expected profile ${names}, got ${wanted}`);
}

// Owns the state: the only one who writes it, and the one who lets go of it.
class EmbeddedTpm implements DirectTpm {
  readonly profile: UtpmProfile;
  #tpm: Tpm;
  readonly #state: UtpmState;
  readonly #handlers: Handlers;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isClosed = false;

  constructor(tpm: Tpm, state: UtpmState, handlers: Handlers, profile: UtpmProfile) {
    this.#tpm = tpm;
    this.#state = state;
    this.#handlers = handlers;
    this.profile = profile;
  }

  get established(): boolean {
    return this.#tpm.volatile.isEstablished;
  }

  set established(isEstablished: boolean) {
    this.#tpm.volatile.isEstablished = isEstablished;
  }

  get commandSize(): number {
    return this.#tpm.commandSize;
  }

  set commandSize(bytes: number) {
    this.#tpm.commandSize = bytes;
  }

  async send(command: Uint8Array, options?: UtpmSendOptions): Promise<Uint8Array> {
    return this.answer(command, options);
  }

  answer(command: Uint8Array, options: UtpmSendOptions = {}): Promise<Uint8Array> | Uint8Array {
    this.#assertOpen();
    options.signal?.throwIfAborted();
    // Nothing is under way most of the time, and then nothing needs to wait, nor to be copied for later. (The slice() of a Buffer is none.)
    const answer = this.#waiting === 0 ? this.#run(command, options) : this.#runLater(new Uint8Array(command), options);
    if (!(answer instanceof Promise)) return answer;
    if (this.#waiting === 0) this.#enqueue(() => answer).catch(() => undefined);
    return options.signal === undefined ? answer : orAbort(answer, options.signal);
  }

  async powerCycle(from: Partial<UtpmSnapshot> = {}): Promise<void> {
    this.#assertOpen();
    await this.#enqueue(() => this.#powerOn(from));
  }

  async snapshot(): Promise<UtpmSnapshot> {
    this.#assertOpen();
    return this.#enqueue(() => ({
      permanent: encodePermanent(toStored(this.#tpm.permanent)),
      volatile: encodeVolatile(this.#tpm),
    }));
  }

  async hashSequence(data: Uint8Array): Promise<void> {
    await this.#enqueue(() => measureLaunch(this.#tpm, data));
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#enqueue(async () => {
      // A caller who closes has ended in order, which is what TPM2_Shutdown is there to say; to say it again would undo a TPM2_Shutdown(STATE).
      const { isStarted, hasFailed } = this.#tpm.volatile;
      if (isStarted && !hasFailed && !isShutDown(this.#tpm)) shutDown(this.#tpm, TPM_SU.CLEAR);
      if (this.#tpm.volatile.isDirty) await this.store();
      await this.#state.close();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs TPM2_Startup(CLEAR). */
  async startUp(): Promise<void> {
    const parameters = encode(Startup.parameters, { startupType: TPM_SU.CLEAR });
    const size = 10 + parameters.length;
    await this.send(concat(u16Bytes(0x8001), u32Bytes(size), u32Bytes(TPM_CC.Startup), parameters));
  }

  /** Writes permanent state. */
  async store(): Promise<void> {
    const blob = encodePermanent(toStored(this.#tpm.permanent));
    this.#tpm.volatile.isDirty = false;
    try {
      await this.#state.save(blob);
    } finally {
      blob.fill(0);
    }
  }

  #runLater(command: Uint8Array, options: UtpmSendOptions): Promise<Uint8Array> {
    return this.#enqueue(() => this.#run(command, options));
  }

  #run(command: Uint8Array, options: UtpmSendOptions): Promise<Uint8Array> | Uint8Array {
    if (command.length > this.#tpm.commandSize) return TOO_LONG.slice();
    this.#tpm.volatile.isPresent = options.physicalPresence === true;
    const response = execute(this.#tpm, this.#handlers, command, options.locality ?? 0);
    if (!this.#tpm.volatile.isDirty) return response;
    return this.#storeThen(response);
  }

  // What could not be stored must not be answered: the TPM fails until it is powered on or opened again, from what is stored.
  async #storeThen(response: Uint8Array): Promise<Uint8Array> {
    try {
      await this.store();
      return response;
    } catch (cause) {
      this.#tpm.volatile.hasFailed = true;
      throw new UtpmError('failed', 'answer a command: expected its changes to be stored, and they were not', {
        cause,
      });
    }
  }

  #enqueue<T>(run: () => Promise<T> | T): Promise<T> {
    this.#waiting++;
    const result = this.#queue.then(run);
    this.#queue = result.then(
      () => {
        this.#waiting--;
      },
      () => {
        this.#waiting--;
      },
    );
    return result;
  }

  async #powerOn(from: Partial<UtpmSnapshot>): Promise<void> {
    const permanent = from.permanent === undefined ? await this.#kept() : fromStored(decodePermanent(from.permanent));
    const base = { ...this.#tpm, permanent };
    const volatile =
      from.volatile === undefined
        ? { ...powerOnState(base.crypto, base.now(), permanent), isEstablished: this.established }
        : decodeVolatile(base, from.volatile);
    this.#tpm = { ...base, volatile };
    if (from.volatile === undefined) startClock(this.#tpm);
    if (from.permanent !== undefined) await this.store();
  }

  // What a failure has left in memory cannot be trusted; what is stored can.
  async #kept(): Promise<Permanent> {
    const { permanent, volatile } = this.#tpm;
    const stored = volatile.hasFailed ? await this.#state.load() : undefined;
    if (stored !== undefined) return fromStored(decodePermanent(stored));
    permanent.clock = clockOf(this.#tpm);
    return permanent;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new UtpmError('closed', 'send a command: expected an open TPM, got a closed one');
  }
}

function orAbort(answer: Promise<Uint8Array>, signal: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
