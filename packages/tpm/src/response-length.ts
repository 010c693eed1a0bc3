/** The length of a TPM response, from its header (Part 1, section 18.2). */
import { u32At } from './bytes.js';
import { TpmError } from './response-code.js';

/** What no TPM's response exceeds; a header that says more is not a response. */
export const MAX_RESPONSE = 65_536;

/** The size that the header gives, once six bytes are there. Throws `TpmError` `transport` where it cannot be one. */
export function responseLength(received: Uint8Array): number | undefined {
  if (received.length < 6) return undefined;
  const size = u32At(received, 2);
  if (size >= 10 && size <= MAX_RESPONSE) return size;
  const problem = `expected a size from 10 to ${MAX_RESPONSE}, got ${size}`;
  throw new TpmError('transport', `read the response: ${problem}`, { at: { path: 'responseSize', offset: 2 } });
}
