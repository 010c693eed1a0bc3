/** How an authority looks for itself: at whom it looks, and that nobody whom it looks at can keep it. */
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type ChallengeTask, validateChallenge } from '../src/service/acme-challenge.js';

const task = { token: 'token', keyAuthorization: 'token.thumbprint' } as const;
const at = (type: 'http-01' | 'tls-alpn-01', value: string): ChallengeTask => ({
  ...task,
  type,
  identifier: { type: 'ip', value },
});

describe('a look at a challenge', () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  /** A server on loopback that does `behave` with each connection. */
  async function serve(behave: (socket: Socket) => void): Promise<number> {
    const server: Server = createServer((socket) => {
      closing.push(() => socket.destroy());
      socket.on('error', () => undefined);
      behave(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => server.close());
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no port');
    return address.port;
  }

  it('goes to public addresses of either family, and not to private ones in any spelling', async () => {
    const problem = (value: string) =>
      validateChallenge(at('http-01', value), { timeout: 50 }).then(
        () => 'accepted',
        (error) => error.type,
      );
    // Addresses for documentation: nobody is there, or somebody on the way who answers for everybody.
    for (const value of ['203.0.113.7', '2001:db8::7']) expect(await problem(value), value).not.toBe('dns');
    for (const value of ['127.0.0.1', '10.1.2.3', '::1', '::ffff:127.0.0.1', '::ffff:a01:203', 'fe80::1', '0.0.0.0']) {
      expect(await problem(value), value).toBe('dns');
    }
  });

  it('is over in time where the other side answers drop by drop', async () => {
    const drip = (socket: Socket, head: string) => {
      socket.write(Buffer.from(head, 'latin1'));
      const timer = setInterval(() => socket.write('x'), 10);
      socket.on('close', () => clearInterval(timer));
    };
    const view = { insecureAllowPrivateAddresses: true, timeout: 200 };
    const tlsPort = await serve((socket) => drip(socket, '\x16\x03\x03\x40\x00'));
    await expect(validateChallenge(at('tls-alpn-01', '127.0.0.1'), { ...view, tlsPort })).rejects.toMatchObject({
      type: 'connection',
    });
    const httpPort = await serve((socket) => drip(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n'));
    await expect(validateChallenge(at('http-01', '127.0.0.1'), { ...view, httpPort })).rejects.toMatchObject({
      type: 'connection',
    });
  });

  it('that breaks off in the middle is a problem of the connection', async () => {
    const httpPort = await serve((socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf');
    });
    const view = { insecureAllowPrivateAddresses: true, httpPort };
    await expect(validateChallenge(at('http-01', '127.0.0.1'), view)).rejects.toMatchObject({ type: 'connection' });
  });
});
