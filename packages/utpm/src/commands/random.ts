/** Random numbers: Part 3, clause 16. */
import { GetRandom, StirRandom } from '@casemate/tpm';
import { handler } from '../handler.js';
import { IMPLEMENTATION } from '../implementation.js';

/** TPM2_GetRandom (16.1): at most as many bytes as the longest digest has. */
export const getRandom = /* @__PURE__ */ handler(GetRandom, (tpm, { bytesRequested }) => ({
  randomBytes: tpm.crypto.random(Math.min(bytesRequested, IMPLEMENTATION.MAX_DIGEST)),
}));

/**
 * TPM2_StirRandom (16.2): the generator is the platform's own, which takes its entropy from the kernel and cannot be made better by a
 * caller, nor worse; the data are taken and dropped.
 */
export const stirRandom = /* @__PURE__ */ handler(StirRandom, () => ({}));
