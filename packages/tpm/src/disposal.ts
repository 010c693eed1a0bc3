/** Freeing what a block held when the block ends (`await using`). */
import { WireError } from '@casemate/wire';
import { TpmError } from './response-code.js';

/**
 * Runs `flush`, and takes a typed error as the end of the matter, also the `WireError` of a handle that cannot be
 * flushed: where the way to the TPM broke, the error that ended the block is the one to see, and an error here would take
 * its place.
 */
export async function dispose(flush: () => Promise<void>): Promise<void> {
  try {
    await flush();
  } catch (error) {
    if (!(error instanceof TpmError || error instanceof WireError)) throw error;
  }
}
