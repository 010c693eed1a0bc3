/**
 * The program of the isolate's process: it speaks with the application on file descriptor 3 and ends when that ends. Descriptor 4
 * is the shared memory, where it is a file; those from 5 on are the lanes, and behind them pairs (native/hidden-start.c makes these), as
 * far as they are sockets.
 */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Lanes, SocketPairs } from './lanes.js';
import { serve } from './monitor.js';
import { ThreadStock } from './pal-thread.js';
import { FIRST_LANE, FIRST_PAIR, LANES, PAIRS } from './protocol.js';

const ARENA = 4;
const stream = new Socket({ fd: 3, readable: true, writable: true });
const kvmMonitor = fileURLToPath(new URL('./bin/linux-x64/casemate-pal-monitor', import.meta.url));
const arena = fstatSync(ARENA).isFile() ? ARENA : undefined;
const lanes = new Lanes(socketsFrom(FIRST_LANE, LANES));
const pairs = new SocketPairs(socketsFrom(FIRST_PAIR, 2 * PAIRS));
const threads = new ThreadStock(new URL('./pal-worker.js', import.meta.url));
await serve(stream, { threads, kvmMonitor, arena, lanes, pairs });
// A PAL that was being registered may have a thread that waits in a read: an orderly exit would wait for it. Its machine ends with this.
process.kill(process.pid, 'SIGKILL');

function socketsFrom(first: number, count: number): readonly number[] {
  return [...Array(count).keys()].map((i) => first + i).filter(isSocket);
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // who started this program gave it no lanes
  }
}
