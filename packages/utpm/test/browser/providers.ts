/** What stands in for `providers.ts` in a browser: @noble alone. */
import type { UtpmCrypto } from '../../src/crypto.js';
import { nobleUtpmCrypto } from '../../src/noble-crypto.js';

export const providers: readonly (readonly [string, UtpmCrypto])[] = [['noble', nobleUtpmCrypto]];
export const usual: UtpmCrypto = nobleUtpmCrypto;
