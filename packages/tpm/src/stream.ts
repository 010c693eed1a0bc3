/** One request and one reply at a time over a byte stream that can be dropped and opened again. */
import { connect, type Socket } from 'node:net';
import { concat } from './bytes.js';
import { Lock, orAborted } from './lock.js';
import { TpmError } from './response-code.js';

/** Where a server listens: a TCP port, or a Unix socket. */
export type StreamAddress = { readonly host?: string; readonly port: number } | { readonly path: string };

/** How long the whole reply is, once enough of it is there to tell. Throws `TpmError` where it cannot be a reply. */
export type ReplyLength = (received: Uint8Array) => number | undefined;

/**
 * A connection that carries one exchange at a time. When an exchange is given up or goes wrong the socket is destroyed,
 * so that bytes that come late reach nobody; the next exchange connects again.
 */
export class Stream {
  readonly #address: StreamAddress;
  readonly #lock = new Lock();
  readonly #greet: (stream: Exchange) => Promise<void>;
  #socket: Socket | undefined;
  #closed = false;

  /** `greet` runs over every new connection before anything else does. Nothing is opened yet. */
  constructor(address: StreamAddress, greet: (exchange: Exchange) => Promise<void> = async () => undefined) {
    this.#address = address;
    this.#greet = greet;
  }

  /** Connects, where it is not connected. Throws `TpmError` `closed` where nobody answers. */
  open(signal?: AbortSignal): Promise<void> {
    return this.#lock.run(async () => void (await this.#connected(signal)), signal);
  }

  /** Sends `request` and waits for one reply. Throws `TpmError` `closed` or `transport`, or the signal's reason. */
  exchange(request: Uint8Array, length: ReplyLength, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#lock.run(async () => {
      const socket = await this.#connected(signal);
      return this.#guarded(socket, () => exchangeOver(socket, request, length, signal));
    }, signal);
  }

  /** Destroys the connection for good; an exchange under way rejects with code `closed`. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #connected(signal: AbortSignal | undefined): Promise<Socket> {
    if (this.#closed) throw new TpmError('closed', `connect to ${describe(this.#address)}: the transport was closed`);
    if (this.#socket && !this.#socket.destroyed) return this.#socket;
    const socket = await connectTo(this.#address, signal);
    this.#socket = socket;
    await this.#guarded(socket, () => this.#greet((request, length) => exchangeOver(socket, request, length, signal)));
    return socket;
  }

  async #guarded<T>(socket: Socket, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      socket.destroy();
      if (this.#socket === socket) this.#socket = undefined;
      throw error;
    }
  }
}

/** One request and its reply over a connection that is being set up. */
export type Exchange = (request: Uint8Array, length: ReplyLength) => Promise<Uint8Array>;

/** Whether the address is that of a Unix socket. */
export function isUnix(address: StreamAddress): address is { readonly path: string } {
  return 'path' in address && address.path !== undefined;
}

/** An address as text, for messages. */
export function describe(address: StreamAddress): string {
  return isUnix(address) ? address.path : `${address.host ?? LOOPBACK}:${address.port}`;
}

async function connectTo(address: StreamAddress, signal: AbortSignal | undefined): Promise<Socket> {
  const socket = connect(
    isUnix(address) ? { path: address.path } : { host: address.host ?? LOOPBACK, port: address.port },
  );
  socket.setNoDelay(true);
  const opened = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) =>
      reject(new TpmError('closed', `connect to ${describe(address)}: ${cause.message}`, { cause })),
    );
  });
  try {
    await (signal ? orAborted(opened, signal) : opened);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  socket.on('error', () => socket.destroy());
  socket.on('data', () => {
    // Bytes that nobody asked for cannot be told from a later reply.
    if (socket.listenerCount('data') === 1) socket.destroy();
  });
  return socket;
}

function exchangeOver(
  socket: Socket,
  request: Uint8Array,
  length: ReplyLength,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  return new Promise<Uint8Array>((resolve, reject) => {
    let received: Uint8Array = new Uint8Array(0);
    const settle = (act: () => void): void => {
      socket.off('data', take).off('close', lost);
      signal?.removeEventListener('abort', abort);
      act();
    };
    const abort = (): void => settle(() => reject(signal?.reason));
    const lost = (): void =>
      settle(() => reject(new TpmError('closed', 'wait for the response: the connection was closed before it came')));
    const take = (chunk: Uint8Array): void => {
      received = received.length === 0 ? new Uint8Array(chunk) : concat(received, chunk);
      try {
        const whole = length(received);
        if (whole === undefined || received.length < whole) return;
        if (received.length > whole) throw surplus(whole, received.length);
        settle(() => resolve(received));
      } catch (error) {
        settle(() => reject(error));
      }
    };
    if (signal?.aborted) return abort();
    if (socket.destroyed) return lost();
    socket.on('data', take).once('close', lost);
    signal?.addEventListener('abort', abort, { once: true });
    socket.write(request);
  });
}

function surplus(expected: number, got: number): TpmError {
  return new TpmError('transport', `read the reply: expected ${expected} bytes, got ${got}`);
}

const LOOPBACK = '127.0.0.1';
