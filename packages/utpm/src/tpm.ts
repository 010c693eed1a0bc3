/** The state of one TPM while it runs: permanent state, and what a power cycle wipes (Part 1, clause 37). */
import { type AnyCommand, TPM_ALG, TPM_CC, TPM_RH } from '@casemate/tpm';
import { EMPTY } from './bytes.js';
import type { UtpmCrypto } from './crypto.js';
import { HASHES, IMPLEMENTATION, isHash } from './implementation.js';
import type { TpmObject } from './object.js';
import { type PcrBank, resetBank } from './pcr-bank.js';
import {
  type AuthPolicy,
  type CommitState,
  type HierarchyState,
  type LockoutState,
  type NvIndexState,
  ORDERLY,
  type PermanentState,
  type PersistentObject,
  type SavedState,
} from './permanent.js';
import type { SavedContext, Session } from './session.js';

/** No policy. */
export const NO_POLICY: AuthPolicy = { alg: TPM_ALG.NULL, digest: EMPTY };

/** Permanent state as the running TPM changes it; nested values are replaced whole. */
export interface Permanent {
  orderly: PermanentState['orderly'];
  resetCount: number;
  totalResetCount: bigint;
  /** The clock when it was written last, in milliseconds. */
  clock: bigint;
  isClockSafe: boolean;
  owner: HierarchyState;
  endorsement: HierarchyState;
  platform: HierarchyState;
  lockout: LockoutState;
  disableClear: boolean;
  isEpsGenerated: boolean;
  pcrBanks: readonly number[];
  /** The highest value that any counter has had (Part 1, 37.2.4.2). */
  maxCounter: bigint;
  audit: { alg: number; counter: bigint; commands: ReadonlySet<number> };
  /** The commands that need physical presence where the platform authorises them (TPM2_PP_Commands), besides that command itself. */
  presenceCommands: ReadonlySet<number>;
  /** What TPM2_SetAlgorithmSet has set; it changes nothing else. */
  algorithmSet: number;
  /** The policy of the registers that have one, PCR 20 to 22 (TPM2_PCR_SetAuthPolicy). */
  pcrPolicy: AuthPolicy;
  readonly nv: Map<number, NvIndexState>;
  readonly objects: Map<number, PersistentObject>;
  saved: SavedState | undefined;
}

/** Which hierarchies are enabled (TPMA_STARTUP_CLEAR). */
interface Enables {
  owner: boolean;
  endorsement: boolean;
  platform: boolean;
  platformNv: boolean;
}

/** What a power cycle wipes. */
export interface Volatile {
  /** Has TPM2_Startup run? */
  isStarted: boolean;
  /** Was the TPM shut down in order before it was started (TPMA_STARTUP_CLEAR orderly)? */
  wasOrderly: boolean;
  /** What an H-CRTM measured before TPM2_Startup, or undefined. */
  hcrtm: Uint8Array | undefined;
  /** From which locality TPM2_Startup came, 0 or 3; 4 where an H-CRTM had measured before it. */
  startLocality: number;
  restartCount: number;
  clearCount: number;
  nullSeed: Uint8Array;
  nullProof: Uint8Array;
  platformAuth: Uint8Array;
  platformPolicy: AuthPolicy;
  enables: Enables;
  banks: readonly PcrBank[];
  pcrCounter: number;
  readonly objects: Map<number, TpmObject>;
  /** Persistent objects in loaded form, made when they are first used. */
  readonly evictCache: Map<number, TpmObject>;
  /** Loaded sessions by handle. */
  readonly sessions: Map<number, Session>;
  /** Saved sessions by handle. */
  readonly savedSessions: Map<number, SavedContext>;
  /** Counts saved session contexts. */
  contextCounter: bigint;
  /** Counts saved object contexts. */
  objectContextId: bigint;
  /** A sequence that the running command has completed: it goes when the response is made. */
  spentSequence?: number | undefined;
  /** The session that is the exclusive audit session, or 0. */
  exclusiveAudit: number;
  auditDigest: Uint8Array;
  /** The authorization value of PCR 20 to 22; undefined where it is empty. */
  pcrAuth?: Uint8Array | undefined;
  /** Has TPM2_PCR_Allocate chosen banks that are there after the next TPM Reset, so that these PCRs cannot be kept? */
  isReallocated?: boolean | undefined;
  /** What commits are made of; undefined before the first. */
  commits?: CommitState | undefined;
  /** Ticks of the platform's clock that make a millisecond of 30000 of them; undefined where TPM2_ClockRateAdjust has not run. */
  clockRate?: number | undefined;
  /** Has a dynamic launch happened? A power cycle alone does not clear it. */
  isEstablished: boolean;
  /** Does the platform assert physical presence with the running command? */
  isPresent?: boolean | undefined;
  /** `now()` when the TPM was powered on. */
  poweredOn: number;
  /** Milliseconds by which Clock leads Time, modulo 2^64: after TPM2_Clear it is behind. */
  clockOffset: bigint;
  isClockSafe: boolean;
  /** Changes when the time of policy tickets must not carry over (Part 1, 36.7). */
  timeEpoch: bigint;
  /** When the lockout counter was last lowered, in milliseconds of Time. */
  selfHealTime: number;
  /** When the lockout authorization failed, in milliseconds of Time. */
  lockoutTime: number;
  /** Has a command changed permanent state since it was stored? */
  isDirty: boolean;
  /** Did a command fail in a way that ends service (failure mode, Part 1, 12.4)? */
  hasFailed: boolean;
}

/** One TPM. */
export interface Tpm {
  readonly crypto: UtpmCrypto;
  readonly now: () => number;
  /** The commands of its profile, by code. */
  readonly commands: ReadonlyMap<number, AnyCommand>;
  readonly permanent: Permanent;
  volatile: Volatile;
  /** The longest command and response that the platform's buffer takes. */
  commandSize: number;
}

/** The volatile state of a TPM at power-on, before TPM2_Startup. */
export function powerOnState(crypto: UtpmCrypto, now: number, permanent: Permanent): Volatile {
  return {
    isStarted: false,
    wasOrderly: false,
    hcrtm: undefined,
    startLocality: 0,
    restartCount: 0,
    clearCount: 0,
    nullSeed: EMPTY,
    nullProof: EMPTY,
    platformAuth: EMPTY,
    platformPolicy: NO_POLICY,
    enables: { owner: true, endorsement: true, platform: true, platformNv: true },
    banks: [],
    pcrCounter: 0,
    objects: new Map(),
    evictCache: new Map(),
    sessions: new Map(),
    savedSessions: new Map(),
    contextCounter: 0n,
    objectContextId: 0n,
    exclusiveAudit: 0,
    auditDigest: EMPTY,
    poweredOn: now,
    clockOffset: 0n,
    isClockSafe: permanent.isClockSafe,
    timeEpoch: new DataView(crypto.random(8).buffer).getBigUint64(0),
    selfHealTime: 0,
    lockoutTime: 0,
    isEstablished: false,
    isDirty: false,
    hasFailed: false,
  };
}

/** Fresh banks for the allocated algorithms, as after TPM2_Startup(CLEAR) from `locality`. */
export function resetBanks(permanent: Permanent, locality: number, digestSize: (alg: number) => number): PcrBank[] {
  return permanent.pcrBanks.filter(isHash).map((alg) => resetBank(alg, digestSize(alg), locality));
}

/** The lockout hierarchy of a new TPM and of a new owner. */
export const NEW_LOCKOUT: LockoutState = {
  auth: EMPTY,
  policy: NO_POLICY,
  failedTries: 0,
  maxTries: 3,
  recoveryTime: 1000,
  lockoutRecovery: 1000,
  isAuthEnabled: 1,
};

/** The values that a new TPM starts life with; seeds that are given are copied, and their proofs follow from them. */
export function manufacture(
  crypto: UtpmCrypto,
  seeds: { readonly endorsement?: Uint8Array; readonly owner?: Uint8Array; readonly platform?: Uint8Array },
): Permanent {
  return {
    orderly: ORDERLY.CLEAR,
    resetCount: 0,
    totalResetCount: 0n,
    clock: 0n,
    isClockSafe: true,
    owner: newHierarchy(crypto, seeds.owner),
    endorsement: newHierarchy(crypto, seeds.endorsement),
    platform: newHierarchy(crypto, seeds.platform),
    lockout: NEW_LOCKOUT,
    disableClear: false,
    isEpsGenerated: seeds.endorsement === undefined,
    pcrBanks: HASHES,
    maxCounter: 0n,
    audit: { alg: IMPLEMENTATION.CONTEXT_HASH, counter: 0n, commands: new Set([TPM_CC.SetCommandCodeAuditStatus]) },
    presenceCommands: new Set(),
    algorithmSet: 0,
    pcrPolicy: NO_POLICY,
    nv: new Map(),
    objects: new Map(),
    saved: undefined,
  };
}

/** A hierarchy with a new or a given seed, no authorization value and no policy. */
export function newHierarchy(crypto: UtpmCrypto, seed?: Uint8Array): HierarchyState {
  return {
    seed: seed === undefined ? crypto.random(IMPLEMENTATION.SEED_SIZE) : seed.slice(),
    proof: seed === undefined ? crypto.random(IMPLEMENTATION.SEED_SIZE) : proofOf(crypto, seed),
    auth: EMPTY,
    policy: NO_POLICY,
  };
}

// A given seed stands for the same hierarchy again, and so its tickets and saved contexts are to be valid again.
function proofOf(crypto: UtpmCrypto, seed: Uint8Array): Uint8Array {
  return crypto.hmac(IMPLEMENTATION.CONTEXT_HASH, seed, new TextEncoder().encode('hierarchy proof'));
}

/** Permanent state in the form that is stored. */
export function toStored(permanent: Permanent): PermanentState {
  const {
    audit,
    saved,
    isClockSafe,
    disableClear,
    isEpsGenerated,
    presenceCommands,
    algorithmSet,
    pcrPolicy,
    nv,
    objects,
    ...plain
  } = permanent;
  return {
    ...plain,
    isClockSafe: Number(isClockSafe),
    disableClear: Number(disableClear),
    isEpsGenerated: Number(isEpsGenerated),
    auditAlg: audit.alg,
    auditCounter: audit.counter,
    auditCommands: [...audit.commands],
    nv: [...nv.values()],
    objects: [...objects.values()],
    saved,
    management: { presenceCommands: [...presenceCommands], algorithmSet, pcrPolicy },
  };
}

/** Permanent state out of the form that is stored. */
export function fromStored(stored: PermanentState): Permanent {
  const { auditAlg, auditCounter, auditCommands, management, nv, objects, saved, ...plain } = stored;
  return {
    ...plain,
    isClockSafe: stored.isClockSafe !== 0,
    disableClear: stored.disableClear !== 0,
    isEpsGenerated: stored.isEpsGenerated !== 0,
    audit: auditOf(auditAlg, auditCounter, auditCommands),
    presenceCommands: new Set(management.presenceCommands),
    algorithmSet: management.algorithmSet,
    pcrPolicy: management.pcrPolicy,
    nv: new Map(nv.map((index) => [index.nvIndex, index])),
    objects: new Map(objects.map((object) => [object.handle, object])),
    saved,
  };
}

// State of 0.1.0 has no audit, which a TPM never is without.
function auditOf(alg: number, counter: bigint, commands: readonly number[]): Permanent['audit'] {
  return {
    alg: alg === TPM_ALG.NULL ? IMPLEMENTATION.CONTEXT_HASH : alg,
    counter,
    commands: new Set([...commands, TPM_CC.SetCommandCodeAuditStatus]),
  };
}

/** Seed and proof of a hierarchy; of the null hierarchy they are volatile. */
export function hierarchySecrets(
  tpm: Tpm,
  hierarchy: number,
): { readonly seed: Uint8Array; readonly proof: Uint8Array } {
  switch (hierarchy) {
    case TPM_RH.OWNER:
      return tpm.permanent.owner;
    case TPM_RH.ENDORSEMENT:
      return tpm.permanent.endorsement;
    case TPM_RH.PLATFORM:
      return tpm.permanent.platform;
    default:
      return { seed: tpm.volatile.nullSeed, proof: tpm.volatile.nullProof };
  }
}

/** Is the hierarchy enabled? The null hierarchy always is. */
export function isHierarchyEnabled(tpm: Tpm, hierarchy: number): boolean {
  const { enables } = tpm.volatile;
  switch (hierarchy) {
    case TPM_RH.OWNER:
      return enables.owner;
    case TPM_RH.ENDORSEMENT:
      return enables.endorsement;
    case TPM_RH.PLATFORM:
      return enables.platform;
    default:
      return true;
  }
}

/** Notes that permanent state has changed, so that it is stored before the command is answered. */
export function markDirty(tpm: Tpm): void {
  tpm.volatile.isDirty = true;
}
