/** What the server protocols drive: one TPM with its power switch, locality line, state blobs and dynamic-launch sequence. */
import { Shutdown, Startup, TPM_CC, TPM_RC, TPM_SU } from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { concat, readU32, u16Bytes, u32Bytes } from '../bytes.js';
import { UtpmError } from '../error.js';
import type { UtpmSnapshot } from '../options.js';
import { decodePermanent } from '../permanent.js';
import type { VolatileStore } from '../state.js';
import type { DirectTpm } from '../utpm.js';
import { assertVolatile } from '../volatile.js';

/** Most bytes that a client may collect for one dynamic-launch measurement. */
const MAX_HASH_DATA = 1 << 20;

/** The sizes of the command buffer, in bytes, that swtpm allows. */
export const BUFFER_SIZE = { min: 0xaf8, max: 0x1000 } as const;

/** Which halves of the state there are. */
type StateKind = keyof UtpmSnapshot;

/** What can be chosen about a platform. */
export interface PlatformOptions {
  /** Where volatile state is kept between two runs, if anywhere. */
  readonly store?: VolatileStore;
  /** Take the power away without the TPM2_Shutdown that a client has left out. */
  readonly disableAutoShutdown?: boolean;
}

/** The platform around a TPM, off at first. Whoever reaches the control channel controls it. */
export interface Platform {
  /** The TPM. */
  readonly tpm: DirectTpm;
  /** Is the TPM powered and initialised? Commands to a TPM that is off are not run. */
  readonly isOn: boolean;
  /** The locality of commands on the swtpm data channel, 0 to 4. */
  locality: number;
  /** Powers the TPM on where it is off. */
  powerOn(): Promise<void>;
  /** Takes its power away: all volatile state goes. */
  powerOff(): Promise<void>;
  /** Off and on. */
  reset(): Promise<void>;
  /**
   * swtpm's INIT: stops the TPM where it runs, and powers it on with the blobs that `setBlob` left, or else with the volatile state that
   * is stored. Throws `UtpmError` `state-damaged`, `state-version` or `state-failed`; the TPM is then off.
   */
  initialise(options?: { readonly deleteVolatile?: boolean }): Promise<void>;
  /** swtpm's STOP: TPM2_Shutdown where the client has not sent it, and off. */
  stop(): Promise<void>;
  /** Runs TPM2_Startup. */
  startUp(type: 'clear' | 'state'): Promise<void>;
  /** Runs one command, which is copied where it has to wait; `undefined` while the TPM is off. */
  run(command: Uint8Array, locality: number): Promise<Uint8Array> | Uint8Array | undefined;
  /** `_TPM_Hash_Start`. */
  hashStart(): void;
  /** `_TPM_Hash_Data`; without an open sequence nothing happens. `false` where it grows too long. */
  hashData(data: Uint8Array): boolean;
  /** `_TPM_Hash_End`; without an open sequence nothing happens. */
  hashEnd(): Promise<void>;
  /** Stores the volatile state, to be gone on with after the next `initialise`. */
  storeVolatile(): Promise<void>;
  /** One half of the state of the TPM, which must be on. */
  getBlob(kind: StateKind): Promise<Uint8Array>;
  /** Leaves one half of the state for the next `initialise`; undefined takes it back. `false` where it is none. */
  setBlob(kind: StateKind, blob: Uint8Array | undefined): boolean;
}

/** Makes the platform of `tpm`. */
export function openPlatform(tpm: DirectTpm, { store, disableAutoShutdown = false }: PlatformOptions = {}): Platform {
  return new TpmPlatform(tpm, store, !disableAutoShutdown);
}

class TpmPlatform implements Platform {
  locality = 0;
  readonly tpm: DirectTpm;
  readonly #store: VolatileStore | undefined;
  readonly #shutsDown: boolean;
  #isOn = false;
  #lastCommand = 0;
  #hash: { parts: Uint8Array[]; length: number } | undefined;
  #blobs: Partial<UtpmSnapshot> = {};

  constructor(tpm: DirectTpm, store: VolatileStore | undefined, shutsDown: boolean) {
    this.tpm = tpm;
    this.#store = store;
    this.#shutsDown = shutsDown;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  async powerOn(): Promise<void> {
    this.#isOn = true;
  }

  // Without power there is no volatile state to go on with: what was stored of it is of an earlier run now.
  async powerOff(): Promise<void> {
    await this.#cutPower();
    await this.#store?.saveVolatile(undefined);
  }

  async reset(): Promise<void> {
    await this.powerOff();
    await this.powerOn();
  }

  async initialise({ deleteVolatile = false }: { readonly deleteVolatile?: boolean } = {}): Promise<void> {
    await this.stop();
    const { permanent, volatile = await this.#storedVolatile() } = this.#blobs;
    await this.tpm.powerCycle({ ...(permanent && { permanent }), ...(volatile && { volatile }) });
    this.#blobs = {};
    if (deleteVolatile || permanent !== undefined) await this.#store?.saveVolatile(undefined);
    this.#isOn = true;
  }

  async stop(): Promise<void> {
    if (this.#isOn && this.#shutsDown && this.#lastCommand !== TPM_CC.Shutdown) await this.#shutDown();
    await this.#cutPower();
  }

  async startUp(type: 'clear' | 'state'): Promise<void> {
    const startupType = type === 'clear' ? TPM_SU.CLEAR : TPM_SU.STATE;
    await this.run(commandOf(TPM_CC.Startup, encode(Startup.parameters, { startupType })), 0);
  }

  run(command: Uint8Array, locality: number): Promise<Uint8Array> | Uint8Array | undefined {
    if (!this.#isOn) return undefined;
    if (command.length >= 10) this.#lastCommand = readU32(command, 6);
    return this.tpm.answer(command, { locality });
  }

  hashStart(): void {
    this.#hash = { parts: [], length: 0 };
  }

  hashData(data: Uint8Array): boolean {
    if (this.#hash === undefined) return true;
    if (this.#hash.length + data.length > MAX_HASH_DATA) return false;
    this.#hash.parts.push(data.slice());
    this.#hash.length += data.length;
    return true;
  }

  async hashEnd(): Promise<void> {
    if (this.#hash === undefined) return;
    const data = concat(...this.#hash.parts);
    this.#hash = undefined;
    await this.tpm.hashSequence(data);
  }

  async storeVolatile(): Promise<void> {
    const { volatile } = await this.tpm.snapshot();
    await this.#store?.saveVolatile(volatile);
    volatile.fill(0);
  }

  async getBlob(kind: StateKind): Promise<Uint8Array> {
    const { [kind]: blob } = await this.tpm.snapshot();
    // Whoever takes the volatile state away goes on with it elsewhere; what was stored of it is not to come back.
    if (kind === 'volatile') await this.#store?.saveVolatile(undefined);
    return blob;
  }

  setBlob(kind: StateKind, blob: Uint8Array | undefined): boolean {
    if (blob !== undefined && !isBlob(kind, blob)) return false;
    const { [kind]: _, ...others } = this.#blobs;
    this.#blobs = blob === undefined ? others : { ...others, [kind]: blob };
    return true;
  }

  async #cutPower(): Promise<void> {
    this.#hash = undefined;
    if (this.#isOn) await this.tpm.powerCycle();
    this.#isOn = false;
  }

  // A permanent state that was brought in has nothing to do with what is stored here.
  async #storedVolatile(): Promise<Uint8Array | undefined> {
    return this.#blobs.permanent === undefined ? this.#store?.loadVolatile() : undefined;
  }

  // State is saved for whoever resumes; who starts afresh loses nothing by it. Where that is refused (the PCR banks are to change) a
  // plain shutdown is left; a TPM that was not started has nothing to shut down.
  async #shutDown(): Promise<void> {
    for (const shutdownType of [TPM_SU.STATE, TPM_SU.CLEAR]) {
      const response = await this.tpm.send(commandOf(TPM_CC.Shutdown, encode(Shutdown.parameters, { shutdownType })));
      const code = readU32(response, 6);
      if (code === TPM_RC.SUCCESS || code === TPM_RC.INITIALIZE) return;
    }
  }
}

function isBlob(kind: StateKind, blob: Uint8Array): boolean {
  try {
    if (kind === 'permanent') decodePermanent(blob);
    else assertVolatile(blob);
    return true;
  } catch (error) {
    if (error instanceof UtpmError) return false;
    throw error;
  }
}

/** TPM_ST_NO_SESSIONS. */
const NO_SESSIONS = 0x8001;

function commandOf(code: number, parameters: Uint8Array): Uint8Array {
  return concat(u16Bytes(NO_SESSIONS), u32Bytes(10 + parameters.length), u32Bytes(code), parameters);
}

/** A response that is a response code alone. */
export function responseOf(code: number): Uint8Array {
  return concat(u16Bytes(NO_SESSIONS), u32Bytes(10), u32Bytes(code));
}
