/** The same as `index`, for Node: the provider is OpenSSL through node:crypto. Chosen by the `node` condition of `exports`. */
import { nodeUtpmCrypto } from './node-crypto.js';
import type { Utpm, UtpmOptions } from './options.js';
import { PROFILES } from './profiles.js';
import { openerWith } from './utpm.js';

/**
 * Opens a TPM: manufactures one where the state is empty, or powers on the one that the state holds. TPM2_Startup is the caller's,
 * unless `startup` is set. Throws `UtpmError` `state-damaged`, `state-version`, `state-locked`, `state-failed`, `seed-mismatch` or
 * `bad-option`. TPM 2.0 Library, revision 1.59 (Part 3, clause 9 for the start).
 */
export const openUtpm: (options?: UtpmOptions) => Promise<Utpm> = openerWith(nodeUtpmCrypto, PROFILES);

export type { CurvePoint, EccPrivateKey, EcdsaSignature, SigningInput, UtpmCrypto } from './crypto.js';
export { UtpmError, type UtpmErrorCode } from './error.js';
export { nobleUtpmCrypto } from './noble-crypto.js';
export type { Utpm, UtpmOptions, UtpmProfile, UtpmSeeds, UtpmSendOptions, UtpmSnapshot } from './options.js';
export type { RsaPrivateKey, RsaPublicKey } from './rsa.js';
export { type MemoryState, memoryState, type UtpmState, type VolatileStore } from './state.js';
