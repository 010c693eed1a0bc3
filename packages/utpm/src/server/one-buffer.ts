/**
 * Sockets without what a short round trip does not need of streams: they read into one buffer again and again, where Node would allocate
 * one for each read, and an answer goes to the kernel by one call. Over loopback a server that does nothing else spends 11 µs of processor
 * time on a round trip so, and 16 with streams, of which the kernel takes 8 and a whole TPM command 2.
 *
 * Node has the first for sockets that connect (`onread` of `new net.Socket`). To have it for one that was accepted, its handle is given to a
 * new socket. The handle is not a documented part of Node; where it is not what this file expects, the accepted socket is used as it is.
 */
import { Socket } from 'node:net';

/** Gets what was read; the bytes are overwritten when it has returned. */
export type Take = (bytes: Uint8Array) => void;

/** Sends bytes, which must not change any more; `false` where the client has to read first, and `drain` tells when it has. */
export type Send = (bytes: Uint8Array) => boolean;

/** What is used of a handle of Node. */
interface Handle {
  /** Hands bytes to the kernel, and what it does not take at once to the event loop; returns 0 or an error. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  /** How many bytes wait in the event loop. */
  readonly writeQueueSize: number;
}

/** What Node remembers a write by while it waits. */
interface WriteRequest {
  /** Called when the bytes have gone, or cannot go any more. */
  oncomplete?: () => void;
  /** Keeps the bytes in memory. */
  buffer?: Uint8Array;
}

interface Direct {
  take: Take;
  readonly handle: Handle;
}

const directs = new WeakMap<Socket, Direct>();
const BUFFER = 1 << 14;

/** A socket to be used in place of `accepted`, from which nothing has been read yet (`pauseOnConnect`). */
export function withOneBuffer(accepted: Socket): Socket {
  const handle: unknown = Reflect.get(accepted, '_handle');
  if (!isHandle(handle)) return accepted;
  const buffer = new Uint8Array(BUFFER);
  const direct: Direct = { take: () => undefined, handle };
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

function isHandle(handle: unknown): handle is Handle {
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return false;
  return 'writeBuffer' in handle && typeof handle.writeBuffer === 'function' && 'writeQueueSize' in handle;
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
  const { handle } = directs.get(socket) ?? {};
  if (handle === undefined) return (bytes) => socket.write(bytes);
  if (Request === undefined) learnRequest(handle);
  let request: WriteRequest | undefined;
  let isWaiting = false;
  return (bytes) => {
    // What has to wait goes behind what waits already.
    if (Request === undefined || isWaiting || !socket.writable || socket.writableLength > 0) return socket.write(bytes);
    request ??= new Request();
    // Of a client that has gone the stream learns the same.
    if (handle.writeBuffer(request, bytes) !== 0) return socket.write(bytes);
    if (handle.writeQueueSize === 0) return true;
    isWaiting = true;
    request.buffer = bytes;
    request.oncomplete = () => {
      isWaiting = false;
      socket.emit('drain');
    };
    request = undefined;
    return false;
  };
}

let Request: (new () => WriteRequest) | undefined;

// Node shows the class of its requests to nobody but the handle: so it is taken from the first answer, which goes by the stream.
function learnRequest(handle: Handle): void {
  const { writeBuffer } = handle;
  const learn: Handle['writeBuffer'] = (request, bytes) => {
    Reflect.deleteProperty(handle, 'writeBuffer');
    if (isConstructor(request.constructor)) Request = request.constructor;
    return writeBuffer.call(handle, request, bytes);
  };
  Reflect.set(handle, 'writeBuffer', learn);
}

function isConstructor(value: unknown): value is new () => WriteRequest {
  return typeof value === 'function' && value.name === 'WriteWrap';
}
