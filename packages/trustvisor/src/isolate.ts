/** The program of the isolate's process: it speaks with the application on file descriptor 3 and ends when that ends. */
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { serve } from './monitor.js';

const stream = new Socket({ fd: 3, readable: true, writable: true });
const kvmMonitor = fileURLToPath(new URL('./bin/linux-x64/casemate-pal-monitor', import.meta.url));
await serve(stream, { workerUrl: new URL('./pal-worker.js', import.meta.url), kvmMonitor });
process.exit(0);
