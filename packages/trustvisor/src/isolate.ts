/** The program of the isolate's process: it speaks with the application on file descriptor 3 and ends when that ends. */
import { Socket } from 'node:net';
import { serve } from './monitor.js';

const stream = new Socket({ fd: 3, readable: true, writable: true });
await serve(stream, new URL('./pal-worker.js', import.meta.url));
process.exit(0);
