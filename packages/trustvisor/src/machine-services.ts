/**
 * The services for a PAL's machine, at this end of a socket of their own: the thread waits in the read for the next call. To be woken by
 * an event loop, and to write through a stream, takes longer than most services do.
 */
import { readSync, writeSync } from 'node:fs';
import { TrustvisorError } from './error.js';
import { decodeServiceFrame, encodeReply, MAX_MONITOR_FRAME } from './kvm-protocol.js';
import type { ServiceCall, ServiceReply } from './service-plan.js';

const MOST = 65536;

/**
 * Answers calls until the other end is closed. Before each call it waits for what `before` gives, where that gives something. Throws
 * {@link TrustvisorError} with code `protocol` where the other end breaks the frames, and what the socket throws.
 */
export async function serveMachine(
  fd: number,
  perform: (call: ServiceCall) => ServiceReply,
  before: () => Promise<void> | undefined,
): Promise<void> {
  const buffer = new Uint8Array(MOST);
  for (let frame = readFrame(fd, buffer); frame !== undefined; frame = readFrame(fd, buffer)) {
    const call = decodeServiceFrame(frame); // a copy
    const waiting = before();
    if (waiting !== undefined) await waiting;
    if (call !== undefined) writeWhole(fd, encodeReply(perform(call)));
  }
}

/** The body of the next frame, in `buffer` where it fits; `undefined` at the end. There is never more than one under way. */
function readFrame(fd: number, buffer: Uint8Array): Uint8Array | undefined {
  let got = 0;
  while (got < 4) {
    const more = readSync(fd, buffer, got, buffer.length - got, null);
    if (more === 0) return undefined;
    got += more;
  }
  const length = new DataView(buffer.buffer).getUint32(0, true);
  if (length === 0 || length > MAX_MONITOR_FRAME || got > 4 + length) {
    throw new TrustvisorError('protocol', `read the monitor: expected one frame, got ${got} bytes of ${4 + length}`);
  }
  if (got === 4 + length) return buffer.subarray(4, got);
  const whole = 4 + length <= buffer.length ? buffer : new Uint8Array(4 + length);
  if (whole !== buffer) whole.set(buffer.subarray(0, got));
  while (got < 4 + length) {
    const more = readSync(fd, whole, got, 4 + length - got, null);
    if (more === 0) return undefined;
    got += more;
  }
  return whole.subarray(4, got);
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}
