/** The same as `micro`, for Node: the provider is OpenSSL through node:crypto. Chosen by the `node` condition of `exports`. */
import { type MicroUtpm, type MicroUtpmOptions, openMicro } from './micro/micro-tpm.js';
import { nodeUtpmCrypto } from './node-crypto.js';

/**
 * Opens a TPM with the 35 commands of the `micro` profile in an implementation of its own, small enough to be read as a whole: one PCR
 * bank and all else with SHA-256, keys on P-256, AES-128, sealed data, ordinary NV indexes and counters. Throws `UtpmError` `bad-option`,
 * `seed-mismatch`, `state-damaged` or `state-version`, and what the store throws.
 */
export function openMicroUtpm(options: MicroUtpmOptions = {}): Promise<MicroUtpm> {
  return openMicro({ crypto: nodeUtpmCrypto, ...options });
}

export type { CurvePoint, EccPrivateKey, EcdsaSignature, SigningInput, UtpmCrypto } from './crypto.js';
export { UtpmError, type UtpmErrorCode } from './error.js';
export type { MicroCrypto } from './micro/crypto.js';
export type { MicroUtpm, MicroUtpmOptions } from './micro/micro-tpm.js';
export { nodeUtpmCrypto as microCrypto } from './node-crypto.js';
export type { UtpmSeeds, UtpmSendOptions } from './options.js';
export type { RsaPrivateKey, RsaPublicKey } from './rsa.js';
export { type MemoryState, memoryState, type UtpmState, type VolatileStore } from './state.js';
