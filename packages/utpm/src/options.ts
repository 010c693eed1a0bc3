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
  /** Does the platform assert physical presence with it? Unless given, it does not. */
  readonly physicalPresence?: boolean;
}

/**
 * A TPM between two commands, as blobs of this package's own versioned form. Both hold secrets: whoever has them has the TPM.
 * Together they go on where the TPM was; the permanent one alone is a TPM that lost its power.
 */
export interface UtpmSnapshot {
  /** What is kept without power. */
  readonly permanent: Uint8Array;
  /** What a loss of power takes: PCRs, loaded objects and sessions, the clock since it was stored. */
  readonly volatile: Uint8Array;
}

/** A TPM 2.0 in process. */
export interface Utpm extends TpmTransport, AsyncDisposable {
  /** The command set it was opened with. */
  readonly profile: UtpmProfile;
  /** TPM_ESTABLISHED: has `hashSequence` run since this was last set to `false`? A power cycle leaves it, and volatile state has it. */
  established: boolean;
  /** The longest command in bytes, which the TPM tells as a property (TPM_PT_MAX_COMMAND_SIZE); 4096 at first. Longer ones are refused. */
  commandSize: number;
  /**
   * Runs one command and returns its response; malformed commands are answered with a response code, as any TPM does.
   * A command that changed permanent state is answered after the change is durable. Throws `UtpmError` `closed`, or the signal's reason.
   */
  send(command: Uint8Array, options?: UtpmSendOptions): Promise<Uint8Array>;
  /**
   * What the platform does at power-on, `_TPM_Init`: all volatile state is gone and TPM2_Startup is due. With blobs of a `snapshot`
   * the TPM becomes that of the snapshot: `permanent` replaces its state, in the store too, and with `volatile` it goes on without a
   * TPM2_Startup. Throws `UtpmError` `state-damaged` or `state-version` for a blob that is not whole or not of this TPM's permanent
   * state, and is then as it was.
   */
  powerCycle(from?: Partial<UtpmSnapshot>): Promise<void>;
  /** Its state at this moment, between two commands. */
  snapshot(): Promise<UtpmSnapshot>;
  /** `_TPM_Hash_Start`, `_TPM_Hash_Data` and `_TPM_Hash_End` (Part 3, 22.7 to 22.9) over `data`, at locality 4. */
  hashSequence(data: Uint8Array): Promise<void>;
  /** Shuts the TPM down in order unless the caller has done so, as TPM2_Shutdown(CLEAR) does, and lets go of the state. */
  close(): Promise<void>;
}
