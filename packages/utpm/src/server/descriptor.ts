/**
 * File descriptors that arrive with the bytes of a Unix socket: SCM_RIGHTS, unix(7).
 *
 * Node has this for the channel to its child processes only. What that channel is made of, a pipe handle in IPC mode, is what this file
 * makes out of a connection. The handle is not a documented part of Node (it is the `_handle` of every Unix socket); where it is not
 * what this file expects, `receiveDescriptors` says so by `undefined`. Tried with Node 20 and 24.
 */
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';

/** A connection that may bring open files. */
export interface DescriptorSocket {
  /** To be used in place of the socket that was given. */
  readonly socket: Socket;
  /** The connection that arrived last, if one has since the last call. Whoever takes it owns it. */
  take(): Socket | undefined;
}

/** libuv's pipe, as far as it is used here. */
interface PipeHandle {
  readonly fd: number;
  open(fd: number): number | undefined;
  close(done?: () => void): void;
  pendingHandle?: unknown;
}

/** PipeConstants.IPC of Node's pipe_wrap. */
const IPC = 2;

/**
 * Makes a connection that takes descriptors out of `accepted`, a Unix socket that nothing has been read from yet (`pauseOnConnect`).
 * Gives undefined, and leaves `accepted` as it is, where this Node cannot do it.
 */
export function receiveDescriptors(accepted: Socket): DescriptorSocket | undefined {
  // A worker thread keeps account of its files, which does not foresee what `release` does.
  if (!isMainThread) return undefined;
  const original = pipeOf(accepted);
  if (original === undefined || original.fd < 0) return undefined;
  const handle = ipcPipe(original);
  if (handle === undefined) return undefined;
  // Both handles have the same descriptor now. Only the new one reads, and when it is closed the old one must go too.
  const { fd } = original;
  const close = handle.close.bind(handle);
  let isOpen = true;
  handle.close = (done) => {
    takeFrom(handle)?.destroy();
    close(done);
    if (isOpen) release(accepted, fd);
    isOpen = false;
  };
  return { socket: socketOn(handle), take: () => takeFrom(handle) };
}

function takeFrom(handle: PipeHandle): Socket | undefined {
  const pending = handle.pendingHandle;
  handle.pendingHandle = undefined;
  return isPipe(pending) ? socketOn(pending) : undefined;
}

function ipcPipe(original: PipeHandle): PipeHandle | undefined {
  try {
    const Pipe: unknown = original.constructor;
    const handle: unknown = typeof Pipe === 'function' ? Reflect.construct(Pipe, [IPC]) : undefined;
    if (!isPipe(handle)) return undefined;
    const status = handle.open(original.fd);
    return status === undefined || status === 0 ? handle : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Closes `socket`, whose descriptor `fd` has just been closed by another handle, without closing a file that has got the same number
 * in between: its number is taken again first. Where another thread was faster it is tried again later.
 */
function release(socket: Socket, fd: number): void {
  const taken: number[] = [];
  let lowest: number;
  // The kernel gives the lowest number that is free: either `fd`, or all below it until one is above.
  do {
    lowest = openSync('/dev/null', 'r');
    if (lowest !== fd) taken.push(lowest);
  } while (lowest < fd);
  for (const other of taken) closeSync(other);
  if (lowest === fd) socket.destroy();
  else setTimeout(() => release(socket, fd), 100).unref();
}

function pipeOf(socket: Socket): PipeHandle | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  return isPipe(handle) ? handle : undefined;
}

function isPipe(value: unknown): value is PipeHandle {
  return (
    typeof value === 'object' &&
    value !== null &&
    value.constructor.name === 'Pipe' &&
    'open' in value &&
    typeof value.open === 'function' &&
    'close' in value &&
    typeof value.close === 'function' &&
    'fd' in value
  );
}

function socketOn(handle: PipeHandle): Socket {
  const options: object = { handle, readable: true, writable: true };
  return new Socket(options);
}
