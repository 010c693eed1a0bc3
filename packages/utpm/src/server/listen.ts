/** Listening sockets: TCP, Unix sockets with their owner and mode, and descriptors that were inherited. */
import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type ListenOptions, type Server, Socket } from 'node:net';
import { UtpmError } from '../error.js';

/** Where to listen, or what to serve. */
export type ListenAddress =
  /** TCP; port 0 picks a free one; the host is 127.0.0.1 unless given. */
  | { readonly type: 'tcp'; readonly port: number; readonly host?: string }
  /** A Unix socket; its mode is 0700 unless given. What is left of one that nobody serves any more is replaced. */
  | {
      readonly type: 'unix';
      readonly path: string;
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    }
  /** An open file descriptor of a listening socket. */
  | { readonly type: 'fd'; readonly fd: number }
  /** An open file descriptor of one connection: the only client there will be. */
  | { readonly type: 'connection'; readonly fd: number };

/** Most connections that one address has at a time; further ones are dropped. */
const MAX_CONNECTIONS = 64;
const MODE = 0o700;

/** Something that listens. */
export interface Listener {
  /** The address, with the port that was picked. */
  readonly address: ListenAddress;
  /** Stops listening; resolves when the last connection is gone. */
  close(): Promise<void>;
}

/**
 * Listens on `address`. Connections come unread, to be resumed or taken over (see `receiveDescriptors`).
 * Throws `UtpmError` `listen-failed`.
 */
export async function listen(address: ListenAddress, onConnection: (socket: Socket) => void): Promise<Listener> {
  if (address.type === 'connection') return adopt(address, onConnection);
  if (address.type === 'unix') await removeStale(address.path);
  const server = createServer({ pauseOnConnect: true }, onConnection);
  server.maxConnections = MAX_CONNECTIONS;
  const bound = await bind(server, address);
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  return { address: bound, close };
}

function adopt(
  address: ListenAddress & { readonly type: 'connection' },
  onConnection: (socket: Socket) => void,
): Listener {
  let socket: Socket;
  try {
    socket = new Socket({ fd: address.fd, readable: true, writable: true });
  } catch (cause) {
    throw failed(address, cause);
  }
  socket.pause();
  queueMicrotask(() => onConnection(socket));
  return { address, close: async () => undefined };
}

function bind(server: Server, address: Exclude<ListenAddress, { type: 'connection' }>): Promise<ListenAddress> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(failed(address, cause)));
    server.listen(optionsOf(address), () => {
      const bound = server.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
      resolve(address.type === 'tcp' ? { ...address, port } : address);
    });
    // A Unix socket exists from here on, and has the server's mode until it is changed: nobody else's until it is right.
    if (address.type === 'unix' && server.listening) own(address);
  });
}

function optionsOf(address: Exclude<ListenAddress, { type: 'connection' }>): ListenOptions & { fd?: number } {
  if (address.type === 'tcp') return { port: address.port, host: address.host ?? '127.0.0.1' };
  return address.type === 'unix' ? { path: address.path } : { fd: address.fd };
}

function own({ path, mode = MODE, uid, gid }: ListenAddress & { readonly type: 'unix' }): void {
  if (uid !== undefined || gid !== undefined) chownSync(path, uid ?? -1, gid ?? -1);
  chmodSync(path, mode);
}

// A server that was killed leaves its socket behind. It is removed where nobody answers on it any more.
async function removeStale(path: string): Promise<void> {
  if (!isSocket(path) || (await isServed(path))) return;
  unlinkSync(path);
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}

function failed(address: ListenAddress, cause: unknown): UtpmError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new UtpmError('listen-failed', `listen on ${addressText(address)}: ${why}`, { cause });
}

/** An address in words. */
export function addressText(address: ListenAddress): string {
  if (address.type === 'tcp') return `${address.host ?? '127.0.0.1'}:${address.port}`;
  return address.type === 'unix' ? address.path : `file descriptor ${address.fd}`;
}
