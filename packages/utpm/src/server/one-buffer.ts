/**
 * Sockets without what a short round trip does not need of streams: they read into one buffer again and again, where Node would allocate
 * one for each read, and an answer goes to the kernel by one call. A round trip over loopback takes 16 µs so, and 20 with streams, of which
 * a whole TPM command is 2.
 *
 * Node has the first for sockets that connect (`onread` of `new net.Socket`). To have it for one that was accepted, its handle is given to a
 * new socket. The handle is not a documented part of Node; where it is not what this file expects, the accepted socket is used as it is.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Gets what was read; the bytes are overwritten when it has returned. */
export type Take = (bytes: Uint8Array) => void;

/** Sends bytes, which must not change any more; `false` where the client has to read first, and `drain` tells when it has. */
export type Send = (bytes: Uint8Array) => boolean;

interface Direct {
  take: Take;
  /** The descriptor, which is open until the socket is destroyed. */
  readonly fd: number;
}

const directs = new WeakMap<Socket, Direct>();
const BUFFER = 1 << 14;

/** A socket to be used in place of `accepted`, from which nothing has been read yet (`pauseOnConnect`). */
export function withOneBuffer(accepted: Socket): Socket {
  const handle: unknown = Reflect.get(accepted, '_handle');
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return accepted;
  const buffer = new Uint8Array(BUFFER);
  const direct: Direct = { take: () => undefined, fd: descriptorOf(handle) };
  const views: Uint8Array[] = []; // of the first bytes, by how many: commands have few lengths
  const callback = (length: number): boolean => {
    views[length] ??= buffer.subarray(0, length);
    direct.take(views[length]);
    return true;
  };
  Reflect.set(accepted, '_handle', null);
  const socket: Socket = Reflect.construct(Socket, [{ handle, onread: { buffer, callback } }]);
  // The server counts the socket that it accepted.
  socket.once('close', () => accepted.destroy());
  directs.set(socket, direct);
  return socket;
}

// Where descriptors are not what sockets are made of, there is none.
function descriptorOf(handle: object): number {
  return 'fd' in handle && typeof handle.fd === 'number' ? handle.fd : -1;
}

/** Calls `take` with all that `socket` reads. */
export function onBytes(socket: Socket, take: Take): void {
  const direct = directs.get(socket);
  if (direct) direct.take = take;
  else socket.on('data', take);
  socket.resume();
}

/** How to send over `socket`. */
export function senderOf(socket: Socket): Send {
  const { fd = -1 } = directs.get(socket) ?? {};
  if (fd < 0) return (bytes) => socket.write(bytes);
  return (bytes) => {
    // What has to wait goes behind what waits already.
    const sent = socket.writable && socket.writableLength === 0 ? sendSome(fd, bytes) : 0;
    return sent === bytes.length || socket.write(bytes.subarray(sent));
  };
}

// The kernel takes nothing from a client that does not read, and of one that has gone the stream learns the same.
function sendSome(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch {
    return 0;
  }
}
