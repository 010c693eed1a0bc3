/** Which of the protocols a request is in. */
import type { Socket } from 'node:net';
import type { Detect, Protocol } from './connection.js';

/** Which protocols are answered: both, told apart by what a client sends, or one. */
export type ServerProtocol = 'auto' | 'swtpm' | 'mssim';

/**
 * Commands: a TPM command starts with its tag, a simulator signal is a small number. swtpm takes the signal 8 too, its "send command
 * header", so that a connection may mix them.
 */
export function detectCommands(protocol: ServerProtocol, swtpm: Protocol, simulator: Protocol): Detect {
  if (protocol !== 'auto') return () => (protocol === 'swtpm' ? swtpm : simulator);
  return (head) => (head[0] === 0 && head[1] === 0 && head[2] === 0 ? simulator : swtpm);
}

const POWER_ON = 1;

/**
 * Control: both protocols start with small numbers, so the first request of a connection decides. A simulator client opens its command
 * connection first, and powers the TPM on over the platform connection before any command: then a command connection waits.
 */
export function detectControl(
  protocol: ServerProtocol,
  swtpm: Protocol,
  simulator: Protocol,
  sockets: ReadonlySet<Socket>,
): Detect {
  if (protocol !== 'auto') return () => (protocol === 'swtpm' ? swtpm : simulator);
  let chosen: Protocol | undefined;
  return (head) => {
    const isWaiting = (): boolean => [...sockets].some((socket) => socket.bytesRead === 0);
    chosen ??= head[3] === POWER_ON && isWaiting() ? simulator : swtpm;
    return chosen;
  };
}
