/** What can be chosen when a TPM is opened. */
import type { TpmTransport } from '@casemate/tpm';
import type { UtpmCrypto } from './crypto.js';
import type { UtpmState } from './state.js';

/** Which commands the TPM has: all that are implemented, or the few that a PAL's micro-TPM needs. */
export type UtpmProfile = 'full' | 'micro';

/**
 * Primary seeds to manufacture a TPM with, each of 32 to 64 bytes of full entropy; what is left out is drawn at random.
 * A TPM with the same seed derives the same primary keys from the same templates. Seeds are secrets.
 */
export interface UtpmSeeds {
  /** The endorsement primary seed (EPS). */
  readonly endorsement?: Uint8Array;
  /** The storage primary seed (SPS), of the owner hierarchy. */
  readonly owner?: Uint8Array;
  /** The platform primary seed (PPS). */
  readonly platform?: Uint8Array;
}

/** Options of `openUtpm`; all have defaults. */
export interface UtpmOptions {
  /** Where permanent state is kept; a new `memoryState()` unless given. */
  readonly state?: UtpmState;
  /** `full` unless given. */
  readonly profile?: UtpmProfile;
  /** Used when `state` is empty; where `state` already holds a TPM, its seeds must be these. */
  readonly seeds?: UtpmSeeds;
  /** The provider of cryptography; `nobleUtpmCrypto` unless given. */
  readonly crypto?: UtpmCrypto;
  /** `true` runs TPM2_Startup(CLEAR) at once; otherwise the TPM waits for the caller's TPM2_Startup. */
  readonly startup?: boolean;
  /** Milliseconds of a clock that never runs backwards; `performance.now` unless given. */
  readonly now?: () => number;
}

/** What a sender may say about one command. */
export interface UtpmSendOptions {
  /** Aborts the wait for an answer; a command that already runs is completed all the same. */
  readonly signal?: AbortSignal;
  /** The locality from which the command comes, 0 to 4; 0 unless given. */
  readonly locality?: number;
}

/** A TPM 2.0 in process. */
export interface Utpm extends TpmTransport, AsyncDisposable {
  /** The command set it was opened with. */
  readonly profile: UtpmProfile;
  /**
   * Runs one command and returns its response; malformed commands are answered with a response code, as any TPM does.
   * A command that changed permanent state is answered after the change is durable. Throws `UtpmError` `closed`, or the signal's reason.
   */
  send(command: Uint8Array, options?: UtpmSendOptions): Promise<Uint8Array>;
  /** What the platform does at power-on, `_TPM_Init`: all volatile state is gone and TPM2_Startup is due. */
  powerCycle(): Promise<void>;
  /** `_TPM_Hash_Start`, `_TPM_Hash_Data` and `_TPM_Hash_End` (Part 3, 22.7 to 22.9) over `data`, at locality 4. */
  hashSequence(data: Uint8Array): Promise<void>;
  /** Lets go of the state; a TPM that was not shut down counts as interrupted at its next start. */
  close(): Promise<void>;
}
