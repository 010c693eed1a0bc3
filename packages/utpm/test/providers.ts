/** The providers that the unit tests run with; in a browser this file is replaced by the one beside it in `browser`. */
import type { UtpmCrypto } from '../src/crypto.js';
import { nobleUtpmCrypto } from '../src/noble-crypto.js';
import { nodeUtpmCrypto } from '../src/node-crypto.js';

/** Each with its name. */
export const providers: readonly (readonly [string, UtpmCrypto])[] = [
  ['noble', nobleUtpmCrypto],
  ['node:crypto', nodeUtpmCrypto],
];

/** The fastest of them, for tests that are not about the provider. */
export const usual: UtpmCrypto = nodeUtpmCrypto;
