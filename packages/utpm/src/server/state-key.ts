/** Encryption of stored state: AES-CBC, then HMAC-SHA-256 over IV and ciphertext (SP 800-38A, FIPS 198-1), keys by HKDF (RFC 5869). */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { UtpmError } from '../error.js';
import { isVolatileStore, type UtpmState, type VolatileStore } from '../state.js';

const BLOCK = 16;
const MAC = 32;

/** A key for state. It holds secrets. */
export interface StateKey {
  /** Encrypts and authenticates. */
  seal(plain: Uint8Array): Uint8Array;
  /** What was sealed. Throws `UtpmError` `wrong-key` where it was sealed with another key or changed since. */
  open(sealed: Uint8Array): Uint8Array;
}

/** Makes the key of `secret`, 16 bytes for AES-128 or 32 for AES-256. Throws `UtpmError` `bad-option`. */
export function stateKey(secret: Uint8Array): StateKey {
  if (secret.length !== 16 && secret.length !== 32) {
    throw new UtpmError('bad-option', `make a state key: expected 16 or 32 bytes, got ${secret.length}`);
  }
  const cipher = `aes-${8 * secret.length}-cbc`;
  const cipherKey = derive(secret, 'casemate utpm state encryption', secret.length);
  const macKey = derive(secret, 'casemate utpm state integrity', MAC);
  const macOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHmac('sha256', macKey).update(bytes).digest());
  return {
    seal(plain) {
      const iv = randomBytes(BLOCK);
      const encryption = createCipheriv(cipher, cipherKey, iv);
      const body = Buffer.concat([iv, encryption.update(plain), encryption.final()]);
      return new Uint8Array(Buffer.concat([body, macOf(body)]));
    },
    open(sealed) {
      if (sealed.length < BLOCK + BLOCK + MAC || sealed.length % BLOCK !== 0) throw wrongKey();
      const body = sealed.subarray(0, -MAC);
      if (!timingSafeEqual(macOf(body), sealed.subarray(-MAC))) throw wrongKey();
      const decryption = createDecipheriv(cipher, cipherKey, body.subarray(0, BLOCK));
      return new Uint8Array(Buffer.concat([decryption.update(body.subarray(BLOCK)), decryption.final()]));
    },
  };
}

function derive(secret: Uint8Array, purpose: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), purpose, length));
}

function wrongKey(): UtpmError {
  return new UtpmError(
    'wrong-key',
    'decrypt a state: expected one that this key has sealed, got another or a changed one',
  );
}

/**
 * A store that keeps in `store` only what `key` has sealed. Whoever can change the store can still put back an earlier state.
 * `load` throws `UtpmError` `wrong-key` besides what the store throws.
 */
export function encryptedState(store: UtpmState, key: StateKey): UtpmState & Partial<VolatileStore> {
  const open = (sealed: Uint8Array | undefined): Uint8Array | undefined =>
    sealed === undefined ? undefined : key.open(sealed);
  const permanent: UtpmState = {
    load: async () => open(await store.load()),
    save: (state) => store.save(key.seal(state)),
    close: () => store.close(),
  };
  if (!isVolatileStore(store)) return permanent;
  return {
    ...permanent,
    loadVolatile: async () => open(await store.loadVolatile()),
    saveVolatile: (state) => store.saveVolatile(state === undefined ? undefined : key.seal(state)),
  };
}
