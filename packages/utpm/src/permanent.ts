/** Permanent state: what Part 1, clause 37 keeps in NV, and the versioned, checksummed form in which a store keeps it. */
import { TPM_ALG } from '@casemate/tpm';
import {
  array,
  type Codec,
  type Infer,
  oneOf,
  optionalSized,
  sizedBytes,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '@casemate/wire';
import { decodeStored, encodeStored, magicOf, type StoredForm } from './stored-form.js';

/**
 * How the TPM was left: Part 1, 12.2.3. `NONE` is a TPM that was not shut down, or ran commands after that; `DA_USED` is one that also
 * checked an authorization which is protected against dictionary attacks.
 */
export const ORDERLY = { CLEAR: 0, STATE: 1, NONE: 0xffff, DA_USED: 0xfffe } as const;

const digest = sizedBytes('digest', u16, { max: 64 });
const secret = sizedBytes('secret', u16, { max: 64 });
const blob = sizedBytes('blob', u32, { max: 1 << 16 });

/** A policy with its hash algorithm; TPM_ALG_NULL and no bytes where there is none. */
export const AuthPolicy = struct('policy', { alg: u16, digest });
export type AuthPolicy = Infer<typeof AuthPolicy>;

/** What a hierarchy keeps: primary seed, proof, authorization value, policy. */
export const HierarchyState = struct('hierarchy', { seed: secret, proof: secret, auth: secret, policy: AuthPolicy });
export type HierarchyState = Infer<typeof HierarchyState>;

/** Dictionary-attack protection (Part 1, 19.8). */
export const LockoutState = struct('lockout', {
  auth: secret,
  policy: AuthPolicy,
  failedTries: u32,
  maxTries: u32,
  recoveryTime: u32,
  lockoutRecovery: u32,
  isAuthEnabled: u8,
});
export type LockoutState = Infer<typeof LockoutState>;

/** An NV index with its data, which are as long as `dataSize` says. */
export const NvIndexState = struct('NV index', {
  nvIndex: u32,
  nameAlg: u16,
  attributes: u32,
  authPolicy: digest,
  dataSize: u16,
  auth: secret,
  data: sizedBytes('NV data', u16, { max: 2048 }),
});
export type NvIndexState = Infer<typeof NvIndexState>;

/** A persistent object: its areas as the TPM marshals them. */
export const PersistentObject = struct('persistent object', {
  handle: u32,
  hierarchy: u32,
  attributes: u32,
  publicArea: blob,
  sensitiveArea: blob,
  qualifiedName: sizedBytes('name', u16, { max: 66 }),
});
export type PersistentObject = Infer<typeof PersistentObject>;

/** The PCRs of one bank that TPM2_Shutdown(STATE) keeps. */
const SavedBank = struct('saved PCRs', { alg: u16, values: array('values', u8, digest, { max: 24 }) });

/** A session that was saved when the TPM shut down: its handle and the counter of its context. */
const SavedSession = struct('saved session', { handle: u32, counter: u64 });

/** What the secret values of TPM2_Commit and TPM2_EC_Ephemeral are made of, and which of them are still to be used. */
export const CommitState = struct('commits', {
  nonce: secret,
  counter: u64,
  open: sizedBytes('open', u8, { max: 16 }),
});
export type CommitState = Infer<typeof CommitState>;

/** An octet that is 0 where what was stored earlier ends before it. */
export const u8IfAny: Codec<number> = { ...u8, read: (r) => (r.remaining === 0 ? 0 : u8.read(r)) };

const SavedExtras = struct('further saved state', { commits: CommitState, pcrAuth: secret, startLocality: u8IfAny });
type SavedExtras = Infer<typeof SavedExtras>;

const NO_EXTRAS: SavedExtras = {
  commits: { nonce: new Uint8Array(0), counter: 0n, open: new Uint8Array(16) },
  pcrAuth: new Uint8Array(0),
  startLocality: 0,
};

// State that 0.1.0 saved ends where this begins.
const SavedExtrasIfAny: Codec<SavedExtras> = {
  ...SavedExtras,
  read: (r) => (r.remaining === 0 ? NO_EXTRAS : SavedExtras.read(r)),
};

/** What TPM2_Shutdown(STATE) keeps and TPM2_Startup may restore. */
export const SavedState = struct('saved state', {
  restartCount: u32,
  clearCount: u32,
  nullSeed: secret,
  nullProof: secret,
  platformAuth: secret,
  platformPolicy: AuthPolicy,
  enables: u8,
  pcrCounter: u32,
  banks: array('banks', u8, SavedBank, { max: 8 }),
  contextCounter: u64,
  objectContextId: u64,
  sessions: array('sessions', u8, SavedSession, { max: 64 }),
  auditDigest: digest,
  extras: SavedExtrasIfAny,
});
export type SavedState = Infer<typeof SavedState>;

/** What TPM2_PP_Commands, TPM2_SetAlgorithmSet and TPM2_PCR_SetAuthPolicy have set. */
const Management = struct('management', {
  presenceCommands: array('commands that need physical presence', u16, u32, { max: 512 }),
  algorithmSet: u32,
  pcrPolicy: AuthPolicy,
});
type Management = Infer<typeof Management>;

const UNMANAGED: Management = {
  presenceCommands: [],
  algorithmSet: 0,
  pcrPolicy: { alg: TPM_ALG.NULL, digest: new Uint8Array(0) },
};

// State of 0.1.0 ends where this begins.
const ManagementIfAny: Codec<Management> = {
  ...Management,
  read: (r) => (r.remaining === 0 ? UNMANAGED : Management.read(r)),
};

const State = struct('permanent state', {
  orderly: oneOf('orderly', u16, Object.values(ORDERLY)),
  resetCount: u32,
  totalResetCount: u64,
  clock: u64,
  isClockSafe: u8,
  owner: HierarchyState,
  endorsement: HierarchyState,
  platform: HierarchyState,
  lockout: LockoutState,
  disableClear: u8,
  isEpsGenerated: u8,
  pcrBanks: array('PCR banks', u8, u16, { max: 8 }),
  maxCounter: u64,
  auditAlg: u16,
  auditCounter: u64,
  auditCommands: array('audited commands', u16, u32, { max: 512 }),
  nv: array('NV indexes', u16, NvIndexState, { max: 1024 }),
  objects: array('persistent objects', u16, PersistentObject, { max: 256 }),
  saved: optionalSized('saved state', u32, SavedState),
  management: ManagementIfAny,
});

/** Permanent state as one value. */
export type PermanentState = Infer<typeof State>;

const FORM: StoredForm<PermanentState> = {
  what: "the TPM's state",
  magic: magicOf('CASEMATE-UTPM'),
  version: 1,
  codec: State,
};

/** The blob that a store keeps: magic, version, SHA-256 of the rest, the state. */
export function encodePermanent(state: PermanentState): Uint8Array {
  return encodeStored(FORM, state);
}

/** Reads a blob. Throws `UtpmError` `state-damaged` or `state-version`. Whoever can write the store controls the blob. */
export function decodePermanent(stored: Uint8Array): PermanentState {
  return decodeStored(FORM, stored);
}
