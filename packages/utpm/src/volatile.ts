/** Volatile state as a blob: what a power cycle wipes (Part 1, clause 37.3), so that a run can go on in another process. */
import { array, type Codec, type Infer, sizedBytes, struct, u8, u16, u32, u64, WireError } from '@casemate/wire';
import { EMPTY } from './bytes.js';
import { RATE, timeOf } from './clock.js';
import { decodeObject, decodeSession, encodeObject, encodeSession } from './context.js';
import { digestSize, isHash } from './implementation.js';
import { PCR_COUNT, type PcrBank } from './pcr-bank.js';
import { AuthPolicy, CommitState, u8IfAny } from './permanent.js';
import { damaged, decodeStored, encodeStored, magicOf, type StoredForm } from './stored-form.js';
import type { Tpm, Volatile } from './tpm.js';

const digest = sizedBytes('digest', u16, { max: 64 });
const context = sizedBytes('context', u16, { max: 8192 });
const Bank = struct('PCR bank', { alg: u16, values: array('values', u8, digest, { max: PCR_COUNT }) });
const Loaded = struct('loaded object', { handle: u32, hierarchy: u32, context });
const LoadedSession = struct('loaded session', { handle: u32, context });
const Saved = struct('saved session', { handle: u32, counter: u64 });

const Extras = struct('further volatile state', {
  commits: CommitState,
  pcrAuth: digest,
  isReallocated: u8,
  clockRate: u32,
  startLocality: u8IfAny,
});
type Extras = Infer<typeof Extras>;

const NO_EXTRAS: Extras = {
  commits: { nonce: EMPTY, counter: 0n, open: new Uint8Array(16) },
  pcrAuth: EMPTY,
  isReallocated: 0,
  clockRate: RATE.nominal,
  startLocality: 0,
};

// What 0.1.0 stored ends where this begins.
const ExtrasIfAny: Codec<Extras> = { ...Extras, read: (r) => (r.remaining === 0 ? NO_EXTRAS : Extras.read(r)) };

const State = struct('volatile state', {
  // Which run of which TPM it belongs to: state of two moments must not be mixed.
  totalResetCount: u64,
  flags: u8,
  enables: u8,
  restartCount: u32,
  clearCount: u32,
  nullSeed: digest,
  nullProof: digest,
  platformAuth: digest,
  platformPolicy: AuthPolicy,
  banks: array('banks', u8, Bank, { max: 8 }),
  pcrCounter: u32,
  objects: array('objects', u8, Loaded, { max: 16 }),
  sessions: array('sessions', u8, LoadedSession, { max: 64 }),
  savedSessions: array('saved sessions', u8, Saved, { max: 64 }),
  contextCounter: u64,
  objectContextId: u64,
  exclusiveAudit: u32,
  auditDigest: digest,
  time: u64,
  clockOffset: u64,
  timeEpoch: u64,
  selfHealTime: u64,
  lockoutTime: u64,
  hcrtm: sizedBytes('H-CRTM data', u32, { max: 1 << 20 }),
  extras: ExtrasIfAny,
});
type State = Infer<typeof State>;

const FORM: StoredForm<State> = {
  what: "the TPM's volatile state",
  magic: magicOf('CASEMATE-VOLA'),
  version: 1,
  codec: State,
};

const FLAG = { isStarted: 1, wasOrderly: 2, isClockSafe: 4, hasFailed: 8, hasHcrtm: 16, isEstablished: 32 } as const;
const ENABLE = { owner: 1, endorsement: 2, platform: 4, platformNv: 8 } as const;

/** The volatile state of a TPM as it is now. */
export function encodeVolatile(tpm: Tpm): Uint8Array {
  const { volatile } = tpm;
  return encodeStored(FORM, {
    totalResetCount: tpm.permanent.totalResetCount,
    flags: bitsOf(FLAG, { ...volatile, hasHcrtm: volatile.hcrtm !== undefined }),
    enables: bitsOf(ENABLE, volatile.enables),
    restartCount: volatile.restartCount,
    clearCount: volatile.clearCount,
    nullSeed: volatile.nullSeed,
    nullProof: volatile.nullProof,
    platformAuth: volatile.platformAuth,
    platformPolicy: volatile.platformPolicy,
    banks: volatile.banks.map(({ alg, values }) => ({ alg, values: [...values] })),
    pcrCounter: volatile.pcrCounter,
    objects: [...volatile.objects.values()].map((object) => ({
      handle: object.handle,
      hierarchy: object.hierarchy,
      context: encodeObject(object),
    })),
    sessions: [...volatile.sessions.values()].map((session) => ({
      handle: session.handle,
      context: encodeSession(session),
    })),
    savedSessions: [...volatile.savedSessions].map(([handle, { counter }]) => ({ handle, counter })),
    contextCounter: volatile.contextCounter,
    objectContextId: volatile.objectContextId,
    exclusiveAudit: volatile.exclusiveAudit,
    auditDigest: volatile.auditDigest,
    time: timeOf(tpm),
    clockOffset: volatile.clockOffset,
    timeEpoch: volatile.timeEpoch,
    selfHealTime: BigInt(Math.trunc(volatile.selfHealTime)),
    lockoutTime: BigInt(Math.trunc(volatile.lockoutTime)),
    hcrtm: volatile.hcrtm ?? EMPTY,
    extras: {
      commits: volatile.commits ?? NO_EXTRAS.commits,
      pcrAuth: volatile.pcrAuth ?? EMPTY,
      isReallocated: Number(volatile.isReallocated === true),
      clockRate: volatile.clockRate ?? RATE.nominal,
      startLocality: volatile.startLocality,
    },
  });
}

/** The volatile state of a blob, for a TPM with this permanent state. Throws `UtpmError` `state-damaged` or `state-version`. */
export function decodeVolatile(base: Pick<Tpm, 'crypto' | 'now' | 'permanent'>, blob: Uint8Array): Volatile {
  const stored = decodeStored(FORM, blob);
  const { totalResetCount } = base.permanent;
  if (stored.totalResetCount !== totalResetCount) {
    throw damaged(FORM.what, `it is of start ${stored.totalResetCount} and the TPM is at ${totalResetCount}`);
  }
  try {
    return restored(base, stored);
  } catch (error) {
    if (error instanceof WireError) throw damaged(FORM.what, error.message, error);
    throw error;
  }
}

/** Throws `UtpmError` `state-damaged` or `state-version` where `blob` is no volatile state. */
export function assertVolatile(blob: Uint8Array): void {
  decodeStored(FORM, blob);
}

function restored(base: Pick<Tpm, 'crypto' | 'now'>, stored: State): Volatile {
  return {
    isStarted: (stored.flags & FLAG.isStarted) !== 0,
    wasOrderly: (stored.flags & FLAG.wasOrderly) !== 0,
    isClockSafe: (stored.flags & FLAG.isClockSafe) !== 0,
    hasFailed: (stored.flags & FLAG.hasFailed) !== 0,
    isEstablished: (stored.flags & FLAG.isEstablished) !== 0,
    enables: {
      owner: (stored.enables & ENABLE.owner) !== 0,
      endorsement: (stored.enables & ENABLE.endorsement) !== 0,
      platform: (stored.enables & ENABLE.platform) !== 0,
      platformNv: (stored.enables & ENABLE.platformNv) !== 0,
    },
    restartCount: stored.restartCount,
    clearCount: stored.clearCount,
    nullSeed: stored.nullSeed,
    nullProof: stored.nullProof,
    platformAuth: stored.platformAuth,
    platformPolicy: stored.platformPolicy,
    banks: banksOf(stored),
    pcrCounter: stored.pcrCounter,
    objects: new Map(
      stored.objects.map(({ handle, hierarchy, context }) => [
        handle,
        { ...decodeObject(base, hierarchy, context), handle },
      ]),
    ),
    evictCache: new Map(),
    sessions: new Map(stored.sessions.map(({ handle, context }) => [handle, decodeSession(handle, context)])),
    savedSessions: new Map(stored.savedSessions.map(({ handle, counter }) => [handle, { counter }])),
    contextCounter: stored.contextCounter,
    objectContextId: stored.objectContextId,
    exclusiveAudit: stored.exclusiveAudit,
    auditDigest: stored.auditDigest,
    // At this rate that much Time has passed.
    poweredOn: base.now() - (Number(stored.time) * stored.extras.clockRate) / RATE.nominal,
    clockOffset: stored.clockOffset,
    timeEpoch: stored.timeEpoch,
    selfHealTime: Number(stored.selfHealTime),
    lockoutTime: Number(stored.lockoutTime),
    hcrtm: (stored.flags & FLAG.hasHcrtm) !== 0 ? stored.hcrtm : undefined,
    startLocality: stored.extras.startLocality,
    commits: stored.extras.commits,
    pcrAuth: stored.extras.pcrAuth,
    isReallocated: stored.extras.isReallocated !== 0,
    clockRate: rateOf(stored.extras),
    isDirty: false,
  };
}

function rateOf({ clockRate }: Extras): number {
  if (Math.abs(clockRate - RATE.nominal) > RATE.limit) throw damaged(FORM.what, `its clock's rate is ${clockRate}`);
  return clockRate;
}

function banksOf({ banks }: State): PcrBank[] {
  for (const { alg, values } of banks) {
    const isWhole = isHash(alg) && values.length === PCR_COUNT && values.every((v) => v.length === digestSize(alg));
    if (!isWhole) throw damaged(FORM.what, `its PCR bank ${alg} is not whole`);
  }
  return banks.map(({ alg, values }) => ({ alg, values: [...values] }));
}

function bitsOf<K extends string>(
  bits: Readonly<Record<K, number>>,
  set: Readonly<Record<NoInfer<K>, boolean>>,
): number {
  let value = 0;
  for (const name in bits) if (set[name]) value |= bits[name];
  return value;
}
