/**
 * The program of the isolate's process: it speaks with the application on file descriptor 3 and ends when that ends. Descriptor 4
 * is the shared memory, where it is a file; those from 5 on are the lanes, as far as they are sockets.
 */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Lanes } from './lanes.js';
import { serve } from './monitor.js';
import { LANES } from './protocol.js';

const ARENA = 4;
const FIRST_LANE = 5;
const stream = new Socket({ fd: 3, readable: true, writable: true });
const kvmMonitor = fileURLToPath(new URL('./bin/linux-x64/casemate-pal-monitor', import.meta.url));
const arena = fstatSync(ARENA).isFile() ? ARENA : undefined;
const lanes = new Lanes([...Array(LANES).keys()].map((i) => FIRST_LANE + i).filter(isSocket));
await serve(stream, { workerUrl: new URL('./pal-worker.js', import.meta.url), kvmMonitor, arena, lanes });
process.exit(0);

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // who started this program gave it no lanes
  }
}
