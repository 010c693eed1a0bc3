/** The same as `micro`, for Node: the provider is OpenSSL through node:crypto. Chosen by the `node` condition of `exports`. */
import { micro } from './commands/micro.js';
import { nodeUtpmCrypto } from './node-crypto.js';
import type { Utpm, UtpmOptions } from './options.js';
import { openerWith } from './utpm.js';

/** Options of `openMicroUtpm`: those of `openUtpm` but for the profile, which there is one of. */
export type MicroUtpmOptions = Omit<UtpmOptions, 'profile'>;

/**
 * Opens a TPM that has the commands of the `micro` profile alone, as `openUtpm` does with \`profile: 'micro'\`; but what the other commands
 * need is not loaded, nor in a bundle. Throws \`UtpmError\` as \`openUtpm\` does.
 */
export const openMicroUtpm: (options?: MicroUtpmOptions) => Promise<Utpm> = openerWith(nodeUtpmCrypto, [
  ['micro', micro],
]);

export type { CurvePoint, EccPrivateKey, EcdsaSignature, SigningInput, UtpmCrypto } from './crypto.js';
export { UtpmError, type UtpmErrorCode } from './error.js';
export type { Utpm, UtpmOptions, UtpmProfile, UtpmSeeds, UtpmSendOptions, UtpmSnapshot } from './options.js';
export type { RsaPrivateKey, RsaPublicKey } from './rsa.js';
export { type MemoryState, memoryState, type UtpmState, type VolatileStore } from './state.js';
