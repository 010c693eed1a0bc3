/** Authorisation sessions: OIAP, OSAP, rolling nonces, and new secrets under the ADIP. TPM 1.2 Main Part 1, clause 13. */
import { concat, equalBytes, u32Bytes } from '../bytes.js';
import { TpmError } from '../response-code.js';
import { hmacSha1, sha1, type Tpm12Crypto } from './crypto.js';
import type { AuthCommand12, AuthResponse12 } from './structures/authorization.js';

/** An open session. It is made by `openOiap` and `openOsap`, and belongs to one client. */
export class AuthSession {
  /** The protocol that opened it. */
  readonly protocol: 'oiap' | 'osap';
  /** The TPM's number for it. */
  readonly handle: number;
  readonly #shared: Uint8Array | undefined;
  readonly #flush: (session: AuthSession) => Promise<void>;
  #nonceEven: Uint8Array;
  #alive = true;

  /** `shared` is the secret of an OSAP session, from which all its HMACs are made. */
  constructor(
    handle: number,
    nonceEven: Uint8Array,
    shared: Uint8Array | undefined,
    flush: (session: AuthSession) => Promise<void>,
  ) {
    this.protocol = shared === undefined ? 'oiap' : 'osap';
    this.handle = handle;
    this.#nonceEven = nonceEven;
    this.#shared = shared;
    this.#flush = flush;
  }

  /** Whether the TPM still has it: a failure, and some commands, end a session. */
  get alive(): boolean {
    return this.#alive;
  }

  /** This session as the authorisation of an entity with this secret; for OIAP sessions, where each use names one. */
  with(secret: Uint8Array): SessionUse12 {
    return { session: this, secret };
  }

  /** Ends it in the TPM; does nothing where it has ended already. */
  async close(): Promise<void> {
    if (!this.#alive) return;
    await this.#flush(this);
  }

  /** The same as {@link AuthSession.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal The TPM has ended it, or nobody knows any more. */
  lose(): void {
    this.#alive = false;
    this.#shared?.fill(0);
  }

  /** @internal The key of its HMACs. */
  keyFor(secret: Uint8Array | undefined): Uint8Array {
    if (!this.#alive) throw new TpmError('usage', 'authorise: the session has ended');
    const key = this.#shared ?? secret;
    if (key !== undefined) return key;
    throw new TpmError('usage', 'authorise: expected an OIAP session with a secret, as session.with(secret)');
  }

  /** @internal The TPM's latest nonce. */
  get nonceEven(): Uint8Array {
    return this.#nonceEven;
  }

  /** @internal Takes the TPM's new nonce over. */
  roll(response: AuthResponse12): void {
    this.#nonceEven = response.nonceEven;
    if (!response.continueAuthSession) this.lose();
  }
}

/** A session together with the secret that it proves this time. */
export interface SessionUse12 {
  /** The session. */
  readonly session: AuthSession;
  /** The secret of the entity, 20 bytes; not needed in an OSAP session, which has it in it. */
  readonly secret?: Uint8Array | undefined;
}

/** One authorisation of one command, while it is under way. */
export interface AuthSlot {
  /** The session. */
  readonly session: AuthSession;
  /** The HMAC key. */
  readonly key: Uint8Array;
  /** The caller's nonce. */
  readonly nonceOdd: Uint8Array;
  /** Whether the session shall live on. */
  readonly keep: boolean;
}

/** The secret of an OSAP session. TPM 1.2 Part 1, clause 13.3. */
export function osapSecret(
  crypto: Pick<Tpm12Crypto, 'hmac'>,
  secret: Uint8Array,
  nonceEvenOsap: Uint8Array,
  nonceOddOsap: Uint8Array,
): Uint8Array {
  return hmacSha1(crypto, secret, nonceEvenOsap, nonceOddOsap);
}

/** A new secret as it travels, or back again: XOR with a digest of session secret and nonce. TPM 1.2 Part 1, clause 13.4. */
export function hideSecret(
  crypto: Pick<Tpm12Crypto, 'hash'>,
  key: Uint8Array,
  nonce: Uint8Array,
  secret: Uint8Array,
): Uint8Array {
  const pad = sha1(crypto, key, nonce);
  return secret.map((byte, i) => byte ^ (pad[i] ?? 0));
}

/** What the HMACs of a command cover first. */
export function commandDigest(crypto: Pick<Tpm12Crypto, 'hash'>, ordinal: number, parameters: Uint8Array): Uint8Array {
  return sha1(crypto, u32Bytes(ordinal), parameters);
}

/** What the HMACs of a successful response cover first. */
export function responseDigest(crypto: Pick<Tpm12Crypto, 'hash'>, ordinal: number, parameters: Uint8Array): Uint8Array {
  return sha1(crypto, u32Bytes(0), u32Bytes(ordinal), parameters);
}

/** The authorisation of a command by a slot. */
export function authoriseCommand(crypto: Pick<Tpm12Crypto, 'hmac'>, slot: AuthSlot, digest: Uint8Array): AuthCommand12 {
  const { session, key, nonceOdd, keep } = slot;
  const flag = Uint8Array.of(keep ? 1 : 0);
  const hmac = hmacSha1(crypto, key, digest, session.nonceEven, nonceOdd, flag);
  return { authHandle: session.handle, nonceOdd, continueAuthSession: keep, hmac };
}

/** Whether a response's authorisation is by who knows the slot's key, and about this command. */
export function isAuthentic(
  crypto: Pick<Tpm12Crypto, 'hmac'>,
  slot: AuthSlot,
  digest: Uint8Array,
  response: AuthResponse12,
): boolean {
  const flag = Uint8Array.of(response.continueAuthSession ? 1 : 0);
  const covered = concat(digest, response.nonceEven, slot.nonceOdd, flag);
  return equalBytes(hmacSha1(crypto, slot.key, covered), response.hmac);
}
