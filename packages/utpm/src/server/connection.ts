/** One client connection: requests cut off a byte stream, answered one after another. */
import type { Socket } from 'node:net';

/** How requests are told apart and answered. */
export interface Protocol {
  /**
   * The length in bytes of the first request in `bytes`, which may hold less or more than one: 0 where more bytes are needed to tell or
   * to complete it, -1 where no request can start so. The client controls every byte.
   */
  measure(bytes: Uint8Array): number;
  /** Runs one request; `undefined` ends the connection without an answer. */
  answer(request: Uint8Array): Promise<Uint8Array | undefined>;
}

/** Chooses the protocol by the first four bytes of a connection. */
export type Detect = (head: Uint8Array) => Protocol | undefined;

// No request of any of the protocols is longer: a state blob is the longest.
const MAX_BUFFERED = 1 << 20;

/** Serves `socket` until it ends; a malformed request ends it. */
export function serveConnection(socket: Socket, detect: Detect): void {
  let buffered: Buffer = Buffer.alloc(0);
  let protocol: Protocol | undefined;
  let busy = false;
  const pump = async (): Promise<void> => {
    busy = true;
    try {
      while (buffered.length >= 4 && !socket.destroyed) {
        protocol ??= detect(buffered.subarray(0, 4));
        const length = protocol?.measure(buffered) ?? -1;
        if (length < 0 || length > MAX_BUFFERED) return void socket.destroy();
        if (length === 0 || length > buffered.length) return;
        const request = new Uint8Array(buffered.subarray(0, length));
        buffered = buffered.subarray(length);
        const answer = await protocol?.answer(request);
        if (answer === undefined) return void socket.end();
        socket.write(answer);
      }
    } catch {
      // An answer that could not be made (the TPM was closed meanwhile): the client sees the connection end.
      socket.destroy();
    } finally {
      busy = false;
    }
  };
  socket.setNoDelay?.(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    if (buffered.length > MAX_BUFFERED) socket.destroy();
    else if (!busy) void pump();
  });
}
