/** HMAC, policy and trial sessions: keys, nonces, HMACs and parameter encryption (Part 1, sections 19.6 and 21). */
import type { Entity } from './authorization.js';
import { concat, equalBytes, trimAuth } from './bytes.js';
import { TPM_CC } from './constants/commands.js';
import type { TpmCrypto } from './crypto.js';
import { dispose } from './disposal.js';
import { kdfA } from './kdf.js';
import { entityName } from './name.js';
import { TpmError } from './response-code.js';

/** What kind of session it is: proof of a secret, satisfaction of a policy, or the computation of a policy digest. */
export type SessionType = 'hmac' | 'policy' | 'trial';

/** How a session protects the first parameter of commands and responses. */
export type SessionCipher =
  | { readonly algorithm: 'aes'; readonly keyBits: 128 | 192 | 256 }
  | { readonly algorithm: 'xor' }
  | { readonly algorithm: 'none' };

/** How a session takes part in one command (Part 2, section 8.4). */
export interface SessionAttributes {
  /** Keep the session after the command. Default true. */
  readonly continueSession?: boolean;
  /** Encrypt the command's first parameter, where it has an encryptable one. */
  readonly decrypt?: boolean;
  /** Have the response's first parameter encrypted, where it has an encryptable one. */
  readonly encrypt?: boolean;
  /** Extend the session's audit digest by this command. */
  readonly audit?: boolean;
  /** With `audit`: run the command only where the session is the exclusive audit session. */
  readonly auditExclusive?: boolean;
  /** With `audit`: start a new audit digest. */
  readonly auditReset?: boolean;
}

/** A session with the attributes that it has in one command. */
export interface SessionUse {
  /** Tells a session from a password. */
  readonly kind: 'session';
  /** The session. */
  readonly session: Session;
  /** How it takes part. */
  readonly attributes: SessionAttributes;
}

/** What the TPM and the caller agreed on when the session was started. */
export interface SessionParameters {
  /** The TPM's number for it. */
  readonly handle: number;
  /** Its kind. */
  readonly type: SessionType;
  /** TPM algorithm identifier of its hash. */
  readonly hash: number;
  /** Its parameter encryption. */
  readonly cipher: SessionCipher;
  /** The TPM's first nonce. */
  readonly nonceTpm: Uint8Array;
  /** The session key; empty for a session that is neither salted nor bound. The session wipes it when it ends. */
  readonly sessionKey: Uint8Array;
  /** The entity whose authorization value went into the session key. */
  readonly bind?: Entity | undefined;
  /** The attributes of uses that name no others. */
  readonly attributes: SessionAttributes;
  /** Computes and checks. */
  readonly crypto: TpmCrypto;
  /** Ends the session in the TPM. */
  readonly end: () => Promise<void>;
}

/** The nonces and hash that one HMAC covers, apart from the session's own. */
export interface HmacInput {
  /** cpHash or rpHash. */
  readonly digest: Uint8Array;
  /** The session attributes as they are sent. */
  readonly attributes: number;
  /** The entity that the session authorises; none for a session that only audits or encrypts. */
  readonly entity: Entity | undefined;
  /** nonceTPM of other sessions that encrypt parameters, for the first session of a command. */
  readonly otherNonces?: readonly Uint8Array[];
}

/** An open session. One command at a time uses it; `Tpm` sees to that. Made by `startSession`. */
export class Session implements SessionUse {
  /** Tells a session from a password. */
  readonly kind = 'session';
  /** The TPM's number for it. */
  readonly handle: number;
  /** Its kind. */
  readonly type: SessionType;
  /** TPM algorithm identifier of its hash. */
  readonly hash: number;
  /** The attributes of uses that name no others. */
  readonly attributes: SessionAttributes;
  readonly #parameters: SessionParameters;
  #nonceCaller: Uint8Array = new Uint8Array(0);
  #nonceTpm: Uint8Array;
  #policyAuth: 'none' | 'auth-value' | 'password' = 'none';
  #includesAuth = false;
  #ended: 'no' | 'flushed' | 'lost' = 'no';

  /** Use `startSession`; the constructor is for sessions that were started by other means. */
  constructor(parameters: SessionParameters) {
    this.#parameters = parameters;
    this.#nonceTpm = parameters.nonceTpm;
    this.handle = parameters.handle;
    this.type = parameters.type;
    this.hash = parameters.hash;
    this.attributes = parameters.attributes;
  }

  /** Itself: a session is its own use with its default attributes. */
  get session(): this {
    return this;
  }

  /** The TPM's latest nonce, which signed and authorised policies cover. */
  get nonceTpm(): Uint8Array {
    return this.#nonceTpm.slice();
  }

  /** Whether commands can still use it: not flushed, not ended by a command, and in step with the TPM. */
  get isOpen(): boolean {
    return this.#ended === 'no';
  }

  /** The same session with other attributes for one command; those left out keep their defaults. */
  use(attributes: SessionAttributes): SessionUse {
    return { kind: 'session', session: this, attributes: { ...this.attributes, ...attributes } };
  }

  /** Ends the session in the TPM, unless it has ended. */
  async flush(): Promise<void> {
    if (this.#ended === 'flushed') return;
    this.noteEnd('flushed');
    await this.#parameters.end();
  }

  /** {@link Session.flush} for `await using`; where the TPM fails to, the error that ended the block stays the one to see. */
  [Symbol.asyncDispose](): Promise<void> {
    return dispose(() => this.flush());
  }

  /** Starts a command: checks that the session is usable and draws the caller's nonce for it. */
  beginCommand(): Uint8Array {
    if (this.#ended === 'flushed') throw new TpmError('usage', 'use session: expected an open one, got an ended one');
    if (this.#ended === 'lost') {
      throw new TpmError('usage', 'use session: it is out of step with the TPM after a lost response; start another');
    }
    this.#nonceCaller = this.#parameters.crypto.random(this.#nonceTpm.length);
    return this.#nonceCaller;
  }

  /** Takes the nonce of a response; it is the newer one from then on. */
  acceptNonce(nonceTpm: Uint8Array): void {
    this.#nonceTpm = nonceTpm;
  }

  /** The session's hash of the parts: cpHash and rpHash. */
  digest(...parts: readonly Uint8Array[]): Uint8Array {
    return this.#parameters.crypto.hash(this.hash, ...parts);
  }

  /** What goes into the authorisation field of a command: an HMAC, or the plain value under PolicyPassword. */
  commandHmac(input: HmacInput): Uint8Array {
    if (this.#isPasswordPolicy(input)) return trimAuth(input.entity?.authValue ?? EMPTY);
    // Decided once for command and response, even where the command changes the value.
    this.#includesAuth = this.#needsAuth(input.entity);
    return this.#hmac(input, this.#nonceCaller, this.#nonceTpm);
  }

  /** Whether the authorisation field of a response is right. Call {@link Session.acceptNonce} first. */
  isResponseHmac(input: HmacInput, hmac: Uint8Array): boolean {
    if (this.#isPasswordPolicy(input)) return hmac.length === 0;
    return equalBytes(hmac, this.#hmac(input, this.#nonceTpm, this.#nonceCaller));
  }

  /** Encrypts the first parameter of a command, the bytes behind its size. */
  encryptParameter(data: Uint8Array, entity: Entity | undefined): Uint8Array {
    return this.#transform(data, entity, this.#nonceCaller, this.#nonceTpm, 'aesCfbEncrypt');
  }

  /** Decrypts the first parameter of a response. Call {@link Session.acceptNonce} first. */
  decryptParameter(data: Uint8Array, entity: Entity | undefined): Uint8Array {
    return this.#transform(data, entity, this.#nonceTpm, this.#nonceCaller, 'aesCfbDecrypt');
  }

  /** Notes a policy command that succeeded on this session and changes how its HMAC is computed. */
  notePolicy(commandCode: number): void {
    if (commandCode === TPM_CC.PolicyAuthValue) this.#policyAuth = 'auth-value';
    if (commandCode === TPM_CC.PolicyPassword) this.#policyAuth = 'password';
    if (commandCode === TPM_CC.PolicyRestart) this.#policyAuth = 'none';
  }

  /** Notes that a command used the session up to its end; a policy that goes on starts afresh (Part 3, section 5.5). */
  noteUse(continues: boolean): void {
    this.#policyAuth = 'none';
    if (!continues) this.noteEnd('flushed');
  }

  /** Notes that the session has ended, or that a response to it was lost, and wipes its key. */
  noteEnd(how: 'flushed' | 'lost'): void {
    this.#ended = how;
    this.#parameters.sessionKey.fill(0);
  }

  #isPasswordPolicy(input: HmacInput): boolean {
    return this.type === 'policy' && this.#policyAuth === 'password' && input.entity !== undefined;
  }

  #hmac(input: HmacInput, newer: Uint8Array, older: Uint8Array): Uint8Array {
    const authValue = this.#includesAuth ? trimAuth(input.entity?.authValue ?? EMPTY) : EMPTY;
    const key = concat(this.#parameters.sessionKey, authValue);
    const attributes = Uint8Array.of(input.attributes);
    const others = input.otherNonces ?? [];
    try {
      return this.#parameters.crypto.hmac(this.hash, key, input.digest, newer, older, ...others, attributes);
    } finally {
      key.fill(0);
    }
  }

  #needsAuth(entity: Entity | undefined): boolean {
    if (!entity) return false;
    return this.type === 'policy' ? this.#policyAuth === 'auth-value' : !this.#isBoundTo(entity);
  }

  #isBoundTo(entity: Entity): boolean {
    const { bind } = this.#parameters;
    if (!bind || !equalBytes(entityName(bind), entityName(entity))) return false;
    return equalBytes(trimAuth(bind.authValue ?? EMPTY), trimAuth(entity.authValue ?? EMPTY));
  }

  #transform(
    data: Uint8Array,
    entity: Entity | undefined,
    newer: Uint8Array,
    older: Uint8Array,
    aes: 'aesCfbEncrypt' | 'aesCfbDecrypt',
  ): Uint8Array {
    const { cipher, crypto, sessionKey } = this.#parameters;
    const key = concat(sessionKey, trimAuth(entity?.authValue ?? EMPTY));
    const input = { hash: this.hash, key, contextU: newer, contextV: older };
    try {
      switch (cipher.algorithm) {
        case 'aes': {
          const made = kdfA({ ...input, label: 'CFB', bits: cipher.keyBits + 128 }, crypto);
          const split = cipher.keyBits / 8;
          return crypto[aes](made.slice(0, split), made.slice(split), data);
        }
        case 'xor': {
          const mask = kdfA({ ...input, label: 'XOR', bits: data.length * 8 }, crypto);
          return data.map((byte, i) => byte ^ (mask[i] ?? 0));
        }
        case 'none':
          throw new TpmError('usage', 'encrypt parameter: expected a session with a cipher, got one without');
      }
    } finally {
      key.fill(0);
    }
  }
}

const EMPTY = new Uint8Array(0);
