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
  readonly #greet: (exchange: Exchange) => Promise<void>;
  #connection: Connection | undefined;
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
    return this.#lock.run(() => this.#exchange(request, length, signal), signal);
  }

  /** Destroys the connection for good; an exchange under way rejects with code `closed`. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  #exchange(request: Uint8Array, length: ReplyLength, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const connection = this.#connection;
    if (connection?.isOpen) return connection.exchange(request, length, signal);
    return this.#connected(signal).then((fresh) => fresh.exchange(request, length, signal));
  }

  async #connected(signal: AbortSignal | undefined): Promise<Connection> {
    this.#assertOpen();
    if (this.#connection?.isOpen) return this.#connection;
    const connection = new Connection(await connectTo(this.#address, signal));
    if (this.#closed) connection.destroy(); // closed while it connected
    this.#assertOpen();
    this.#connection = connection;
    try {
      await this.#greet((request, length) => connection.exchange(request, length, signal));
    } catch (error) {
      connection.destroy();
      throw error;
    }
    return connection;
  }

  #assertOpen(): void {
    if (this.#closed) throw new TpmError('closed', `connect to ${describe(this.#address)}: the transport was closed`);
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

interface Pending {
  readonly length: ReplyLength;
  readonly resolve: (reply: Uint8Array) => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal | undefined;
}

/** One socket from connected to destroyed. It listens to socket and signal once and not for each exchange, which would take longer. */
class Connection {
  readonly #socket: Socket;
  #pending: Pending | undefined;
  #received: Uint8Array = NOTHING;
  #watched: AbortSignal | undefined;
  readonly #abort = (): void => {
    // A signal that belonged to an earlier exchange says nothing about this one.
    if (this.#pending?.signal?.aborted) this.#fail(this.#pending.signal.reason);
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => this.#take(chunk));
    socket.once('close', () => this.#fail(lost()));
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  exchange(request: Uint8Array, length: ReplyLength, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return new Promise<Uint8Array>((resolve, reject) => {
      this.#pending = { length, resolve, reject, signal };
      this.#watch(signal);
      if (signal?.aborted) return this.#fail(signal.reason);
      if (!this.isOpen) return this.#fail(lost());
      this.#socket.write(request);
    });
  }

  destroy(): void {
    this.#watch(undefined);
    this.#socket.destroy();
  }

  #take(chunk: Uint8Array): void {
    try {
      this.#receive(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  #receive(chunk: Uint8Array): void {
    const pending = this.#pending;
    if (!pending) throw new TpmError('transport', 'read the reply: got bytes that nobody asked for');
    const received = this.#received.length === 0 ? new Uint8Array(chunk) : concat(this.#received, chunk);
    this.#received = received;
    const whole = pending.length(received);
    if (whole === undefined || received.length < whole) return;
    if (received.length > whole) throw surplus(whole, received.length);
    this.#received = NOTHING;
    this.#pending = undefined;
    pending.resolve(received);
  }

  #fail(reason: unknown): void {
    const pending = this.#pending;
    this.#pending = undefined;
    this.destroy();
    pending?.reject(reason);
  }

  #watch(signal: AbortSignal | undefined): void {
    if (signal === this.#watched) return;
    this.#watched?.removeEventListener('abort', this.#abort);
    signal?.addEventListener('abort', this.#abort);
    this.#watched = signal;
  }
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
  return socket;
}

function lost(): TpmError {
  return new TpmError('closed', 'wait for the response: the connection was closed before it came');
}

function surplus(expected: number, got: number): TpmError {
  const at = { path: '', offset: expected };
  return new TpmError('transport', `read the reply: expected ${expected} bytes, got ${got}`, { at });
}

const LOOPBACK = '127.0.0.1';
const NOTHING = new Uint8Array(0);
