/** Freeing what a block held when the block ends (`await using`). */
import { TpmError } from './response-code.js';

/**
 * Runs `flush`, and takes a `TpmError` as the end of the matter: where the way to the TPM broke, the error that ended the
 * block is the one to see, and an error here would take its place.
 */
export async function dispose(flush: () => Promise<void>): Promise<void> {
  try {
    await flush();
  } catch (error) {
    if (!(error instanceof TpmError)) throw error;
  }
}
