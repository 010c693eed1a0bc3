/** What a TPM connection is to everything above it: one method that takes a command and gives its response. */

/**
 * A way to a TPM. Commands and responses are whole TPM byte strings (Part 1, section 18), header included.
 * An implementation answers one command at a time; {@link Tpm} never has two outstanding.
 */
export interface TpmTransport {
  /**
   * Sends one command and waits for its response.
   *
   * When `signal` fires the promise rejects with its reason, and the transport makes sure that the late response of
   * this command is never given to a later one. One signal may come with any number of commands, so a listener on it is
   * taken off again when its command ends. Throws `TpmError` with code `closed` or `transport`.
   */
  send(command: Uint8Array, options?: { readonly signal?: AbortSignal }): Promise<Uint8Array>;
  /** Frees the connection; later calls of `send` reject with code `closed`. Closing twice does nothing. */
  close(): Promise<void>;
}
