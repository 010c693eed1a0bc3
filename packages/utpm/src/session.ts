/** Sessions: Part 1, clause 19.6 and the session context of clause 30. */
import { EMPTY } from './bytes.js';
import { zeroDigest } from './implementation.js';

/** The symmetric definition of a session (TPMT_SYM_DEF): none, XOR with a hash, or a block cipher in CFB mode with a key size. */
export type SessionCipher =
  | { readonly kind: 'none' }
  | { readonly kind: 'xor'; readonly hash: number }
  | { readonly kind: 'block'; readonly algorithm: number; readonly bits: number };

/** What kind of session it is (TPM_SE). */
export type SessionType = 'hmac' | 'policy' | 'trial';

/** What the policy commands have gathered; replaced whole. */
export interface PolicyState {
  /** policyDigest so far. */
  readonly digest: Uint8Array;
  /** The command that the policy is for, or 0. */
  readonly commandCode: number;
  /** What the parameters or names must hash to. */
  readonly bound: { readonly kind: 'cpHash' | 'nameHash' | 'template'; readonly digest: Uint8Array } | undefined;
  /** Bits of allowed localities, or an extended locality from 32 up; 0 for any. */
  readonly locality: number;
  /** When the policy expires in milliseconds of Time, or 0. */
  readonly timeout: bigint;
  /** The PCR update counter when PolicyPCR ran, or undefined. */
  readonly pcrCounter: number | undefined;
  /** Must the HMAC include the entity's authorization value? */
  readonly needsAuthValue: boolean;
  /** Must the entity's authorization value be given in the clear? */
  readonly needsPassword: boolean;
  /** Must physical presence be asserted? */
  readonly needsPresence: boolean;
  /** Must the NV index be written (true) or unwritten (false)? */
  readonly nvWritten: boolean | undefined;
}

/** One session. */
export interface Session {
  readonly handle: number;
  readonly type: SessionType;
  readonly authHash: number;
  readonly cipher: SessionCipher;
  readonly key: Uint8Array;
  nonceTpm: Uint8Array;
  /** Name and authorization value of the entity that it is bound to, joined. */
  readonly boundTo: Uint8Array | undefined;
  /** Was the entity that it is bound to subject to dictionary-attack protection? */
  readonly isDaBound: boolean;
  /** Was it the lockout authorization? */
  readonly isLockoutBound: boolean;
  policy: PolicyState;
  /** The audit digest, once the session has been used for audit. */
  auditDigest: Uint8Array | undefined;
  /** When its nonce was made, in milliseconds of Time. */
  startTime: bigint;
  /** The epoch of Time when its nonce was made. */
  epoch: bigint;
}

/** A session that has been saved: the counter of the one context that may be loaded again. */
export interface SavedContext {
  readonly counter: bigint;
}

/** The policy of a session that starts or whose nonce has rolled. */
export function emptyPolicy(authHash: number): PolicyState {
  return {
    digest: startOf(authHash),
    commandCode: 0,
    bound: undefined,
    locality: 0,
    timeout: 0n,
    pcrCounter: undefined,
    needsAuthValue: false,
    needsPassword: false,
    needsPresence: false,
    nvWritten: undefined,
  };
}

// A policy's digest is replaced and never written to, so that all policies can start from the same.
const starts = new Map<number, Uint8Array>();

function startOf(authHash: number): Uint8Array {
  const known = starts.get(authHash);
  if (known !== undefined) return known;
  const start = zeroDigest(authHash);
  starts.set(authHash, start);
  return start;
}

/** The bytes that a binding is compared by: an entity's name and authorization value. */
export function bindingOf(name: Uint8Array, auth: Uint8Array): Uint8Array {
  const joined = new Uint8Array(name.length + auth.length + 1);
  joined[0] = name.length;
  joined.set(name, 1);
  joined.set(auth, 1 + name.length);
  return joined;
}

/** Overwrites what is secret in a session that ends. */
export function wipeSession(session: Session): void {
  if (session.key.length > 0) session.key.fill(0);
  session.boundTo?.fill(0);
  session.nonceTpm = EMPTY;
}
