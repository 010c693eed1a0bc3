/**
 * Sockets that read into one buffer again and again, where Node would allocate one for each read: a round trip over loopback takes 13 µs
 * instead of 16, of which a whole TPM command is 2.
 *
 * Node has this for sockets that connect (`onread` of `new net.Socket`). To have it for one that was accepted, its handle is given to a new
 * socket. The handle is not a documented part of Node; where it is not what this file expects, the accepted socket is used as it is.
 */
import { Socket } from 'node:net';

/** Gets what was read; the bytes are overwritten when it has returned. */
export type Take = (bytes: Uint8Array) => void;

interface Sink {
  take: Take;
}

const sinks = new WeakMap<Socket, Sink>();
const BUFFER = 1 << 14;

/** A socket to be used in place of `accepted`, from which nothing has been read yet (`pauseOnConnect`). */
export function withOneBuffer(accepted: Socket): Socket {
  const handle: unknown = Reflect.get(accepted, '_handle');
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return accepted;
  const buffer = new Uint8Array(BUFFER);
  const sink: Sink = { take: () => undefined };
  const callback = (length: number): boolean => {
    sink.take(buffer.subarray(0, length));
    return true;
  };
  Reflect.set(accepted, '_handle', null);
  const socket: Socket = Reflect.construct(Socket, [{ handle, onread: { buffer, callback } }]);
  // The server counts the socket that it accepted.
  socket.once('close', () => accepted.destroy());
  sinks.set(socket, sink);
  return socket;
}

/** Calls `take` with all that `socket` reads. */
export function onBytes(socket: Socket, take: Take): void {
  const sink = sinks.get(socket);
  if (sink) sink.take = take;
  else socket.on('data', take);
  socket.resume();
}
