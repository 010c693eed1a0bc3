/** The state of one micro-TPM: what a store keeps, and what goes with the power (Part 1, clause 37). */
import { concat, isEqual, u16Bytes, u32Bytes, u64Bytes } from '../bytes.js';
import { UtpmError } from '../error.js';
import type { UtpmSeeds } from '../options.js';
import { PCR_ATTRIBUTES } from '../pcr-bank.js';
import type { Command } from './command.js';
import { TPM_RH } from './constants.js';
import { hmac, type MicroCrypto, sha256 } from './crypto.js';
import { Input, Refusal, sized } from './octets.js';
import type { PublicArea } from './public-area.js';

/** A hierarchy: its authorization value is empty, and nothing changes it. */
export interface Hierarchy {
  /** What its primary objects are made of. */
  readonly seed: Uint8Array;
  /** What its tickets are made with. */
  readonly proof: Uint8Array;
}

/** An NV index. */
export interface NvIndex {
  readonly handle: number;
  readonly attributes: number;
  readonly authPolicy: Uint8Array;
  readonly auth: Uint8Array;
  readonly data: Uint8Array;
}

/** What is kept without power. */
export interface Permanent {
  readonly owner: Hierarchy;
  readonly endorsement: Hierarchy;
  readonly platform: Hierarchy;
  /** The clock when it was written last, in milliseconds. */
  clock: bigint;
  resetCount: number;
  /** Failed authorizations of protected entities that have not been forgiven yet. */
  failedTries: number;
  /** Was it shut down, and nothing done since? */
  isOrderly: boolean;
  /** Was a protected authorization checked since the start? Cutting the power then counts as a failed one. */
  isTried: boolean;
  /** The highest value that a counter has had that is gone. */
  maxCounter: bigint;
  readonly nv: Map<number, NvIndex>;
}

/** A loaded object. */
export interface MicroObject {
  readonly handle: number;
  readonly hierarchy: number;
  readonly area: PublicArea;
  /** The private scalar, or the sealed data. */
  readonly secret: Uint8Array;
  /** What a storage key protects its children with, and what hides the digest of sealed data. */
  readonly seed: Uint8Array;
  readonly auth: Uint8Array;
  readonly name: Uint8Array;
  readonly qualifiedName: Uint8Array;
}

/** What the policy commands have gathered in a session. */
export interface Policy {
  readonly digest: Uint8Array;
  /** The one command that it is for, or 0. */
  readonly commandCode: number;
  /** The PCR counter when TPM2_PolicyPCR ran. */
  readonly pcrCounter: number | undefined;
  readonly needsAuth: boolean;
}

/** The policy of a session that begins. */
export const NO_POLICY: Policy = {
  digest: new Uint8Array(32),
  commandCode: 0,
  pcrCounter: undefined,
  needsAuth: false,
};

/** A session. */
export interface Session {
  readonly handle: number;
  readonly type: 'hmac' | 'policy' | 'trial';
  readonly hasCipher: boolean;
  readonly key: Uint8Array;
  nonceTpm: Uint8Array;
  /** Name and authorization value of the entity that an HMAC session is bound to. */
  readonly bound: Uint8Array | undefined;
  /** Was that entity protected against guessing? */
  readonly isBoundProtected: boolean;
  policy: Policy;
}

/** One micro-TPM while it runs. */
export interface Micro {
  readonly crypto: MicroCrypto;
  readonly now: () => number;
  /** The commands, by code. */
  readonly commands: ReadonlyMap<number, Command>;
  readonly permanent: Permanent;
  /** TPM_RH_NULL's, new at each start. */
  readonly ephemeral: Hierarchy;
  readonly objects: Map<number, MicroObject>;
  readonly sessions: Map<number, Session>;
  readonly pcrs: Uint8Array[];
  pcrCounter: number;
  readonly poweredOn: number;
  readonly clockOffset: bigint;
  isClockSafe: boolean;
  /** When a failed authorization was last forgiven, in milliseconds since power-on. */
  healedAt: number;
  isStarted: boolean;
  hasFailed: boolean;
  /** Must permanent state be stored before the answer? */
  isDirty: boolean;
}

/** What outlives the power. */
type Fixed = Pick<Micro, 'crypto' | 'now' | 'commands' | 'permanent'>;

/** Permanent state changed. */
export function markDirty(tpm: Micro): void {
  tpm.isDirty = true;
}

/** The state at power-on. */
export function powerOn({ crypto, now, commands, permanent }: Fixed): Micro {
  return {
    ...{ crypto, now, commands, permanent, ephemeral: newHierarchy(crypto), objects: new Map(), sessions: new Map() },
    pcrs: PCR_ATTRIBUTES.map(({ drtm }) => new Uint8Array(32).fill(drtm ? 0xff : 0)),
    pcrCounter: 0,
    poweredOn: now(),
    // After a crash the clock goes on behind everything that it may have told.
    clockOffset: permanent.isOrderly ? permanent.clock : permanent.clock | (CLOCK_STEP - 1n),
    isClockSafe: permanent.isOrderly,
    healedAt: 0,
    ...{ isStarted: false, hasFailed: false, isDirty: false },
  };
}

/** Clock is written when it has gone on by this many milliseconds. */
const CLOCK_STEP = 4096n;

/** Milliseconds since power-on. */
export function timeOf(tpm: Micro): number {
  return Math.floor(tpm.now() - tpm.poweredOn);
}

/** Clock, for a command that tells it: what was told must not be told again after a crash. */
export function clockOf(tpm: Micro): bigint {
  const clock = tpm.clockOffset + BigInt(timeOf(tpm));
  if (clock / CLOCK_STEP !== tpm.permanent.clock / CLOCK_STEP) {
    tpm.permanent.clock = clock;
    tpm.isClockSafe = true;
    markDirty(tpm);
  }
  return clock;
}

/** A new TPM; seeds that are given stand for the same keys again. */
export function manufacture(crypto: MicroCrypto, seeds: UtpmSeeds): Permanent {
  return {
    owner: newHierarchy(crypto, seeds.owner),
    endorsement: newHierarchy(crypto, seeds.endorsement),
    platform: newHierarchy(crypto, seeds.platform),
    ...{ clock: 0n, resetCount: 0, failedTries: 0, isOrderly: true, isTried: false, maxCounter: 0n, nv: new Map() },
  };
}

function newHierarchy(crypto: MicroCrypto, given?: Uint8Array): Hierarchy {
  const seed = given?.slice() ?? crypto.random(64);
  return { seed, proof: hmac(crypto, seed, new TextEncoder().encode('hierarchy proof')) };
}

/** The hierarchy of a permanent handle. */
export function hierarchyOf({ permanent, ephemeral }: Micro, handle: number): Hierarchy {
  if (handle === TPM_RH.OWNER) return permanent.owner;
  if (handle === TPM_RH.ENDORSEMENT) return permanent.endorsement;
  return handle === TPM_RH.PLATFORM ? permanent.platform : ephemeral;
}

// --- the form in which it is stored: magic, version, the fields in order, SHA-256 over all that --------------------------------------------

const MAGIC = new TextEncoder().encode('CASEMATE-MICRO\0\x01');
const MAX_INDEXES = 512;

/** Permanent state as a blob, which holds secrets. */
export function encodeState(crypto: MicroCrypto, state: Permanent): Uint8Array {
  const hierarchies = [state.owner, state.endorsement, state.platform].flatMap(({ seed, proof }) => [seed, proof]);
  const flags = Uint8Array.of(Number(state.isOrderly) | (Number(state.isTried) << 1));
  const counts = [u64Bytes(state.clock), u64Bytes(state.maxCounter), u32Bytes(state.resetCount)];
  const indexes = [...state.nv.values()].flatMap(({ handle, attributes, authPolicy, auth, data }) => [
    ...[u32Bytes(handle), u32Bytes(attributes), sized(authPolicy), sized(auth), sized(data)],
  ]);
  const parts = [...hierarchies.map((part) => sized(part)), ...counts, u32Bytes(state.failedTries), flags];
  const body = concat(MAGIC, ...parts, u16Bytes(state.nv.size), ...indexes);
  return concat(body, sha256(crypto, body));
}

/** Permanent state from a blob. Throws `UtpmError` `state-damaged` or `state-version`. */
export function decodeState(crypto: MicroCrypto, blob: Uint8Array): Permanent {
  const body = blob.subarray(0, Math.max(0, blob.length - 32));
  if (!isEqual(body.subarray(0, MAGIC.length), MAGIC)) {
    throw new UtpmError('state-version', 'open a micro-TPM: expected its state of version 1, got another');
  }
  if (!isEqual(blob.subarray(body.length), sha256(crypto, body))) throw damaged();
  try {
    return readState(new Input(body.subarray(MAGIC.length)));
  } catch (error) {
    if (error instanceof Refusal) throw damaged();
    throw error;
  }
}

function damaged(): UtpmError {
  return new UtpmError('state-damaged', 'open a micro-TPM: expected a whole state, got a damaged one');
}

function readState(input: Input): Permanent {
  const hierarchy = (): Hierarchy => ({ seed: input.sized(64), proof: input.sized(64) });
  const [owner, endorsement, platform] = [hierarchy(), hierarchy(), hierarchy()];
  const [clock, maxCounter, resetCount, failedTries] = [input.u64(), input.u64(), input.u32(), input.u32()];
  const flags = input.u8();
  const nv = new Map<number, NvIndex>();
  const count = input.u16();
  if (count > MAX_INDEXES) throw damaged();
  for (let i = 0; i < count; i++) {
    const [handle, attributes] = [input.u32(), input.u32()];
    const [authPolicy, auth, data] = [input.sized(32), input.sized(32), input.sized(2048)];
    nv.set(handle, { handle, attributes, authPolicy, auth, data });
  }
  input.end();
  const counts = { clock, maxCounter, resetCount, failedTries };
  return { owner, endorsement, platform, ...counts, isOrderly: (flags & 1) !== 0, isTried: (flags & 2) !== 0, nv };
}
