/** Which crypto provider is used where none was chosen. The build for Node puts `default-crypto-node` in this file's place. */
import type { TpmCrypto, TpmHashes } from './crypto.js';
import { nobleCrypto } from './noble-crypto.js';
import { nobleHashes } from './noble-hashes.js';

/** What every function and `Tpm` uses that was given no provider: OpenSSL by `nodeCrypto` on Node, `nobleCrypto` elsewhere. */
export const defaultCrypto: TpmCrypto = nobleCrypto;

/** {@link defaultCrypto} where nothing but hashes is needed. */
export const defaultHashes: TpmHashes = nobleHashes;

export { nobleCrypto, nobleHashes };
