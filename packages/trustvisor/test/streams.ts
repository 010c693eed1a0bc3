/** Two connected streams, and an isolate at the far end of one: what stands on another machine does the same. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { serveIsolate } from '../src/server.js';

/** The two ends of a TCP connection over loopback. */
export async function socketPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  const accepted = once(server, 'connection');
  const near = connect(address.port, '127.0.0.1');
  const [far] = (await accepted) as [Socket]; // what a server's connection event carries
  server.close();
  return [near, far];
}

/** A stream to an isolate in this process, and the end of that isolate. */
export async function remoteIsolate(): Promise<{ readonly isolate: Socket; readonly ended: Promise<void> }> {
  const [near, far] = await socketPair();
  return { isolate: near, ended: serveIsolate(far) };
}
