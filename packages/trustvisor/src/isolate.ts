/**
 * The program of the isolate's process: it speaks with the application on file descriptor 3 and ends when that ends. Descriptor 4
 * is the shared memory, where it is a file.
 */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { serve } from './monitor.js';

const ARENA = 4;
const stream = new Socket({ fd: 3, readable: true, writable: true });
const kvmMonitor = fileURLToPath(new URL('./bin/linux-x64/casemate-pal-monitor', import.meta.url));
const arena = fstatSync(ARENA).isFile() ? ARENA : undefined;
await serve(stream, { workerUrl: new URL('./pal-worker.js', import.meta.url), kvmMonitor, arena });
process.exit(0);
