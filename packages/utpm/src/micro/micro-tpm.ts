/** The micro-TPM as a transport: one command at a time, and its state stored before an answer. */
import type { TpmTransport } from '@casemate/tpm';
import { concat, isEqual, u16Bytes, u32Bytes } from '../bytes.js';
import { UtpmError } from '../error.js';
import type { UtpmSeeds, UtpmSendOptions } from '../options.js';
import type { UtpmState } from '../state.js';
import { TPM_CC, TPM_ST } from './constants.js';
import type { MicroCrypto } from './crypto.js';
import { COMMANDS, execute } from './execute.js';
import { shutDown } from './platform.js';
import { decodeState, encodeState, type Micro, manufacture, type Permanent, powerOn } from './state.js';

/** Options of `openMicroUtpm`; all have defaults. */
export interface MicroUtpmOptions {
  /** Where permanent state is kept; without it none outlives the micro-TPM. Its form is the micro-TPM's own. */
  readonly state?: UtpmState;
  /** Used when `state` is empty; where `state` already holds a TPM, its seeds must be these. */
  readonly seeds?: UtpmSeeds;
  /** The provider of cryptography. */
  readonly crypto?: MicroCrypto;
  /** `true` runs TPM2_Startup(CLEAR) at once; otherwise the TPM waits for the caller's TPM2_Startup. */
  readonly startup?: boolean;
  /** Milliseconds of a clock that never runs backwards; `performance.now` unless given. */
  readonly now?: () => number;
}

/** A micro-TPM in process. */
export interface MicroUtpm extends TpmTransport, AsyncDisposable {
  /** The command set. */
  readonly profile: 'micro';
  /**
   * Runs one command and returns its response; malformed commands are answered with a response code, as any TPM does.
   * A command that changed permanent state is answered after the change is durable. Throws `UtpmError` `closed` or `failed`, or the
   * signal's reason; a command that already runs is completed all the same. There is no physical presence.
   */
  send(command: Uint8Array, options?: Omit<UtpmSendOptions, 'physicalPresence'>): Promise<Uint8Array>;
  /**
   * As `send`, but answers at once: a promise comes only where another command is under way or the change has to be stored first, so
   * never where there is no `state` and `send` is not used beside it.
   * Of `command` nothing is kept. Throws, or rejects, as `send` does.
   */
  execute(command: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** `_TPM_Init`: all volatile state is gone and TPM2_Startup is due. */
  powerCycle(): Promise<void>;
  /** Shuts the TPM down in order and lets go of the state. */
  close(): Promise<void>;
}

/** Opens a micro-TPM. Throws `UtpmError` `bad-option`, `seed-mismatch`, `state-damaged`, `state-version`, and what the store throws. */
export async function openMicro(options: MicroUtpmOptions & { readonly crypto: MicroCrypto }): Promise<MicroUtpm> {
  const { crypto, state, seeds = {}, now = () => performance.now() } = options;
  for (const [name, seed] of Object.entries(seeds)) {
    if (seed === undefined || (seed.length >= 32 && seed.length <= 64)) continue;
    const problem = `expected a ${name} seed of 32 to 64 bytes, got ${seed.length}`;
    throw new UtpmError('bad-option', `open a micro-TPM: ${problem}`);
  }
  const stored = await state?.load();
  try {
    const permanent = stored === undefined ? manufacture(crypto, seeds) : decodeState(crypto, stored);
    if (stored !== undefined) assertSameSeeds(permanent, seeds);
    const tpm = new EmbeddedMicro(powerOn({ crypto, now, permanent, commands: COMMANDS }), state);
    if (stored === undefined) await tpm.store();
    if (options.startup === true) await tpm.send(STARTUP);
    return tpm;
  } catch (error) {
    await state?.close();
    throw error;
  }
}

const STARTUP = concat(u16Bytes(TPM_ST.NO_SESSIONS), u32Bytes(12), u32Bytes(TPM_CC.Startup), u16Bytes(0));

function assertSameSeeds(permanent: Permanent, seeds: UtpmSeeds): void {
  for (const name of ['endorsement', 'owner', 'platform'] as const) {
    const seed = seeds[name];
    if (seed === undefined || isEqual(seed, permanent[name].seed)) continue;
    throw new UtpmError('seed-mismatch', `open a micro-TPM: expected the stored ${name} seed, got another one`);
  }
}

// Owns the state: the only one who writes it, and the one who lets go of it.
class EmbeddedMicro implements MicroUtpm {
  readonly profile = 'micro';
  #tpm: Micro;
  readonly #state: UtpmState | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isClosed = false;

  constructor(tpm: Micro, state: UtpmState | undefined) {
    this.#tpm = tpm;
    this.#state = state;
  }

  async send(command: Uint8Array, options: Omit<UtpmSendOptions, 'physicalPresence'> = {}): Promise<Uint8Array> {
    const { signal, locality = 0 } = options;
    this.#assertOpen();
    signal?.throwIfAborted();
    const copy = new Uint8Array(command);
    const answer = this.#enqueue(() => this.#answer(copy, locality));
    return signal === undefined ? answer : orAbort(answer, signal);
  }

  execute(command: Uint8Array): Uint8Array | Promise<Uint8Array> {
    if (this.#waiting > 0) return this.send(command);
    this.#assertOpen();
    const response = execute(this.#tpm, command, 0);
    return this.#tpm.isDirty && this.#state ? this.#enqueue(() => this.#whenStored(response)) : response;
  }

  async powerCycle(): Promise<void> {
    this.#assertOpen();
    await this.#enqueue(() => {
      this.#tpm = powerOn(this.#tpm);
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#enqueue(async () => {
      const { isStarted, hasFailed, permanent } = this.#tpm;
      if (isStarted && !hasFailed && !permanent.isOrderly) shutDown(this.#tpm);
      if (this.#tpm.isDirty) await this.store();
      await this.#state?.close();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Writes permanent state, where there is a place for it. */
  async store(): Promise<void> {
    const blob = encodeState(this.#tpm.crypto, this.#tpm.permanent);
    this.#tpm.isDirty = false;
    try {
      await this.#state?.save(blob);
    } finally {
      blob.fill(0);
    }
  }

  #answer(command: Uint8Array, locality: number): Uint8Array | Promise<Uint8Array> {
    const response = execute(this.#tpm, command, locality);
    return this.#tpm.isDirty ? this.#whenStored(response) : response;
  }

  // What could not be stored must not be answered: the TPM fails and stays so until it is opened again from what is stored.
  async #whenStored(response: Uint8Array): Promise<Uint8Array> {
    try {
      await this.store();
      return response;
    } catch (cause) {
      this.#tpm.hasFailed = true;
      throw new UtpmError('failed', 'answer a command: expected its changes to be stored, and they were not', {
        cause,
      });
    }
  }

  #enqueue<T>(run: () => Promise<T> | T): Promise<T> {
    this.#waiting++;
    const result = this.#queue.then(run);
    const done = (): void => {
      this.#waiting--;
    };
    this.#queue = result.then(done, done);
    return result;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new UtpmError('closed', 'send a command: expected an open TPM, got a closed one');
  }
}

function orAbort<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
