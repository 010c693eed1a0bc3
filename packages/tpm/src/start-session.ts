/** Starting sessions (Part 1, section 19.6; Part 3, section 11.1). */

import { authBytes, type Entity } from './authorization.js';
import { concat, trimAuth } from './bytes.js';
import { FlushContext } from './commands/context.js';
import { StartAuthSession } from './commands/session.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_RH } from './constants/handles.js';
import { TPM_SE } from './constants/sessions.js';
import type { TpmCrypto } from './crypto.js';
import { defaultCrypto } from './default-crypto.js';
import { hashSize } from './hashes.js';
import { kdfA } from './kdf.js';
import type { TpmObject } from './object.js';
import { shareSecret } from './secret.js';
import { Session, type SessionAttributes, type SessionCipher, type SessionType } from './session.js';
import type { TpmtSymDefOrNull } from './structures/symmetric.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** The hash algorithms that a session may have, as in a bank's name. */
export type SessionHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** What kind of session to start. */
export interface SessionOptions extends SessionAttributes {
  /** Its kind. */
  readonly type: SessionType;
  /** A decryption key, such as the SRK or EK: the session key then depends on a secret that only its TPM can read. */
  readonly salt?: Pick<TpmObject, 'handle' | 'public'> | undefined;
  /** An entity whose authorization value goes into the session key; needs its Name and value. */
  readonly bind?: Entity | undefined;
  /** Hash of its HMACs, key and policy digest. Default `sha256`. */
  readonly hash?: SessionHash;
  /** How parameters are encrypted. Default: AES-128-CFB where `encrypt` or `decrypt` is set, else none. */
  readonly cipher?: SessionCipher;
}

/**
 * Starts a session. `encrypt` and `decrypt` protect the first parameter of every response and command that it takes part
 * in and that has an encryptable one; the key for it is only as secret as the salt and the authorization values in it.
 * `await using` flushes it. Throws what {@link Tpm.execute} throws.
 */
export async function startSession(tpm: Tpm, options: SessionOptions, execute: ExecuteOptions = {}): Promise<Session> {
  const crypto = tpm.crypto ?? defaultCrypto;
  const hash = SESSION_HASHES[options.hash ?? 'sha256'];
  const cipher = options.cipher ?? (options.encrypt || options.decrypt ? AES_128 : NO_CIPHER);
  const salt = options.salt && shareSecret(options.salt.public, 'SECRET', crypto);
  const nonceCaller = crypto.random(hashSize(hash));
  const bind = options.bind && asBound(options.bind);
  const request = {
    tpmKey: options.salt?.handle ?? TPM_RH.NULL,
    bind: bind?.handle ?? TPM_RH.NULL,
    nonceCaller,
    encryptedSalt: salt?.encrypted ?? EMPTY,
    sessionType: TYPES[options.type],
    symmetric: symmetricOf(cipher, hash),
    authHash: hash,
  };
  const { sessionHandle: handle, nonceTPM: nonceTpm } = await tpm.execute(StartAuthSession, request, execute);
  const secrets = { bind, salt: salt?.secret };
  const sessionKey = deriveKey({ hash, nonceTpm, nonceCaller, ...secrets }, crypto);
  salt?.secret.fill(0);
  const end = async (): Promise<void> => void (await tpm.execute(FlushContext, { flushHandle: handle }));
  const attributes = attributesOf(options);
  return new Session({ handle, type: options.type, hash, cipher, nonceTpm, sessionKey, bind, attributes, crypto, end });
}

/** As it is now: the TPM compares what a session is bound to by the Name of then, and that of an NV index changes. */
function asBound({ handle, name, authValue }: Entity): Entity {
  return { handle, name, authValue };
}

interface KeyInput {
  readonly hash: number;
  readonly bind: Entity | undefined;
  readonly salt: Uint8Array | undefined;
  readonly nonceTpm: Uint8Array;
  readonly nonceCaller: Uint8Array;
}

/** Part 1, section 19.6.8: a session that is neither salted nor bound has no key. */
function deriveKey({ hash, bind, salt, nonceTpm, nonceCaller }: KeyInput, crypto: TpmCrypto): Uint8Array {
  if (!bind && !salt) return new Uint8Array(0);
  const key = concat(trimAuth(authBytes(bind?.authValue)), salt ?? EMPTY);
  try {
    const bits = hashSize(hash) * 8;
    return kdfA({ hash, key, label: 'ATH', contextU: nonceTpm, contextV: nonceCaller, bits }, crypto);
  } finally {
    key.fill(0);
  }
}

function symmetricOf(cipher: SessionCipher, hash: SessionHashId): TpmtSymDefOrNull {
  switch (cipher.algorithm) {
    case 'aes':
      return { algorithm: TPM_ALG.AES, keyBits: cipher.keyBits, mode: TPM_ALG.CFB };
    case 'xor':
      return { algorithm: TPM_ALG.XOR, keyBits: hash };
    case 'none':
      return { algorithm: TPM_ALG.NULL };
  }
}

function attributesOf(options: SessionOptions): SessionAttributes {
  const { type: _type, salt: _salt, bind: _bind, hash: _hash, cipher: _cipher, ...attributes } = options;
  return attributes;
}

const TYPES = { hmac: TPM_SE.HMAC, policy: TPM_SE.POLICY, trial: TPM_SE.TRIAL } as const;
const SESSION_HASHES = {
  sha1: TPM_ALG.SHA1,
  sha256: TPM_ALG.SHA256,
  sha384: TPM_ALG.SHA384,
  sha512: TPM_ALG.SHA512,
} as const;
type SessionHashId = (typeof SESSION_HASHES)[SessionHash];
const AES_128: SessionCipher = { algorithm: 'aes', keyBits: 128 };
const NO_CIPHER: SessionCipher = { algorithm: 'none' };
const EMPTY = new Uint8Array(0);
