/** The micro-TPM of a PAL, by itself; this entry point runs anywhere, on @noble. */
import { type MicroUtpm, type MicroUtpmOptions, openMicro } from './micro/micro-tpm.js';
import { nobleMicroCrypto } from './micro/noble.js';

/**
 * Opens a TPM with the 35 commands of the `micro` profile in an implementation of its own, small enough to be read as a whole: one PCR
 * bank and all else with SHA-256, keys on P-256, AES-128, sealed data, ordinary NV indexes and counters. Throws `UtpmError` `bad-option`,
 * `seed-mismatch`, `state-damaged` or `state-version`, and what the store throws.
 */
export function openMicroUtpm(options: MicroUtpmOptions = {}): Promise<MicroUtpm> {
  return openMicro({ crypto: nobleMicroCrypto, ...options });
}

export type { CurvePoint, EccPrivateKey, EcdsaSignature, SigningInput, UtpmCrypto } from './crypto.js';
export { UtpmError, type UtpmErrorCode } from './error.js';
export type { MicroCrypto } from './micro/crypto.js';
export type { MicroUtpm, MicroUtpmOptions } from './micro/micro-tpm.js';
export { nobleMicroCrypto as microCrypto } from './micro/noble.js';
export type { UtpmSeeds, UtpmSendOptions } from './options.js';
export type { RsaPrivateKey, RsaPublicKey } from './rsa.js';
export { type MemoryState, memoryState, type UtpmState, type VolatileStore } from './state.js';
