/** An isolate in a process that the caller starts where he likes: in another guest, or on another machine. */
import { createRequire } from 'node:module';
import type { Duplex } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Lanes, SocketPairs } from './lanes.js';
import { serve } from './monitor.js';
import { ThreadStock } from './pal-thread.js';

/**
 * Serves one application at the other end of `stream`, whose `openTrustvisor` gets its end as `isolate`; resolves when
 * the stream has ended and everything is wiped. Whoever can write to the stream is the application: authenticate it
 * before (TLS, a socket's permissions). Confining the process is the caller's task.
 */
export function serveIsolate(stream: Duplex): Promise<void> {
  const isolate = pathToFileURL(createRequire(import.meta.url).resolve('#isolate'));
  const kvmMonitor = fileURLToPath(new URL('bin/linux-x64/casemate-pal-monitor', isolate));
  const threads = new ThreadStock(new URL('pal-worker.js', isolate));
  const none = { arena: undefined, lanes: new Lanes([]), pairs: new SocketPairs([]) }; // descriptors do not travel
  return serve(stream, { threads, kvmMonitor, ...none });
}
