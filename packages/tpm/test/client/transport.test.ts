/** Transports: swtpm for real, and servers that hang, close, lie and come late. */
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createPrimary,
  GetRandom,
  PcrReset,
  readPcrs,
  satisfyPolicy,
  signingKeyTemplate,
  startSession,
  Tpm,
  type TpmTransport,
} from '../../src/index.js';
import { connectMssim } from '../../src/mssim.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const RANDOM_4 = { bytesRequested: 4 };

describeWith(['swtpm'], 'the swtpm transport', () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm();
  });
  afterAll(() => server?.stop());

  it('gives each of 50 concurrent callers its own answer', async () => {
    await using tpm = new Tpm(await connectSwtpm(server));
    const sizes = Array.from({ length: 50 }, (_, i) => 1 + (i % 32));
    const answers = await Promise.all(sizes.map((bytesRequested) => tpm.execute(GetRandom, { bytesRequested })));
    expect(answers.map(({ randomBytes }) => randomBytes.length)).toEqual(sizes);
  });

  it('answers later callers rightly after one has aborted a slow command under way', async () => {
    await using tpm = new Tpm(await connectSwtpm(server));
    const abort = new AbortController();
    const reason = new Error('enough');
    const template = signingKeyTemplate('rsa-2048');
    const unique = nodeCrypto.random(256); // fresh entropy, so that the TPM really has to search for primes
    const slow = createPrimary(tpm, { template: { ...template, unique } as typeof template, signal: abort.signal });
    const caught = slow.catch((error: unknown) => error);
    setTimeout(() => abort.abort(reason), 5);
    expect(await caught).toBe(reason);
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 7 });
    expect(randomBytes).toHaveLength(7);
  });

  it('rejects a caller who aborts in the queue, without sending the command', async () => {
    await using tpm = new Tpm(await connectSwtpm(server));
    const abort = new AbortController();
    const first = tpm.execute(GetRandom, RANDOM_4);
    const second = tpm.execute(PcrReset, { pcrHandle: 16 }, { signal: abort.signal });
    abort.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
    await first;
    await expect(tpm.execute(GetRandom, RANDOM_4, { signal: AbortSignal.abort() })).rejects.toThrow();
  });

  it('sets the locality and resets the TPM through the control channel', async () => {
    const transport = await connectSwtpm(server);
    await using tpm = new Tpm(transport);
    const reset = () => tpm.execute(PcrReset, { pcrHandle: 20 });
    await expect(reset()).rejects.toMatchObject({ response: { name: 'TPM_RC_LOCALITY' } });
    await transport.control.setLocality(2);
    await reset();
    await transport.control.setLocality(0);
    await expect(transport.control.setLocality(9)).rejects.toMatchObject({ code: 'transport' });
    await transport.control.initialize();
    await expect(tpm.execute(GetRandom, RANDOM_4)).rejects.toMatchObject({ response: { name: 'TPM_RC_INITIALIZE' } });
  });

  it('rejects with code closed once it is closed', async () => {
    const tpm = new Tpm(await connectSwtpm(server));
    await tpm.close();
    await tpm.close();
    await expect(tpm.execute(GetRandom, RANDOM_4)).rejects.toMatchObject({ code: 'closed' });
  });
});

describeWith(['swtpm'], 'the swtpm transport over a Unix socket', () => {
  it('reads PCRs and sets the locality', async () => {
    const server = await startSwtpm({ unix: true });
    try {
      const transport = await connectSwtpm({ path: server.path ?? '' });
      await using tpm = new Tpm(transport);
      await transport.control.setLocality(1);
      const { sha256 } = await readPcrs(tpm, { sha256: [0, 17] });
      expect(sha256?.[0]).toEqual(new Uint8Array(32));
      expect(sha256?.[17]).toEqual(new Uint8Array(32).fill(0xff));
    } finally {
      await server.stop();
    }
  });
});

describeWith(['swtpm'], 'the mssim transport, through a bridge to swtpm', () => {
  it('powers on, reads PCRs and runs a salted session', async () => {
    const swtpm = await startSwtpm();
    const bridge = await startMssimBridge(await connectSwtpm(swtpm));
    try {
      const transport = await connectMssim({ port: bridge.command, platformPort: bridge.platform, locality: 3 });
      await using tpm = new Tpm(transport, { crypto: nodeCrypto });
      expect(bridge.signals).toEqual([1, 11]);
      await readPcrs(tpm, { sha256: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] });
      await using session = await startSession(tpm, { type: 'hmac' });
      await tpm.execute(GetRandom, RANDOM_4, { sessions: [session] });
      expect(bridge.localities).toContain(3);
    } finally {
      await bridge.stop();
      await swtpm.stop();
    }
  });
});

describe('a TPM server that misbehaves', () => {
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  async function serve(answer: (socket: Socket, command: Buffer, connection: number) => void): Promise<number> {
    let connections = 0;
    const server = createServer((socket) => {
      const connection = ++connections;
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (command) => answer(socket, command, connection));
    });
    servers.push(server);
    return await listen(server);
  }

  /** A whole, right response to GetRandom. */
  function random(...bytes: number[]): Uint8Array {
    return Uint8Array.of(0x80, 1, 0, 0, 0, 12 + bytes.length, 0, 0, 0, 0, 0, bytes.length, ...bytes);
  }

  it('that hangs gives a timeout, and its late answer reaches no later caller', async () => {
    const port = await serve((socket, _command, connection) => {
      if (connection === 1) setTimeout(() => socket.write(random(1, 1)), 150);
      else socket.write(random(2, 2));
    });
    await using tpm = new Tpm(await connectSwtpm({ port }), { timeout: 50 });
    await expect(tpm.execute(GetRandom, { bytesRequested: 2 })).rejects.toMatchObject({ code: 'timeout' });
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 2 });
    expect(randomBytes).toEqual(Uint8Array.of(2, 2));
  });

  it('that answers twice is cut off, whether both answers come at once or one by one', async () => {
    for (const pause of [0, 20]) {
      const port = await serve(async (socket, _command, connection) => {
        if (connection > 1) return void socket.write(random(2, 2));
        if (pause === 0) return void socket.write(Buffer.concat([random(1, 1), random(9, 9)]));
        socket.write(random(1, 1));
        await new Promise((resolve) => setTimeout(resolve, pause));
        socket.write(random(9, 9));
      });
      await using tpm = new Tpm(await connectSwtpm({ port }));
      const first = await tpm.execute(GetRandom, { bytesRequested: 2 }).catch((error: unknown) => error);
      if (pause === 0) expect(first).toMatchObject({ code: 'transport', offset: 14 });
      else expect(first).toEqual({ randomBytes: Uint8Array.of(1, 1) });
      await new Promise((resolve) => setTimeout(resolve, 3 * pause));
      const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 2 });
      expect(randomBytes).toEqual(Uint8Array.of(2, 2));
    }
  });

  it('that stops in the middle of a response gives a timeout, and the rest of it reaches no later caller', async () => {
    const port = await serve((socket, _command, connection) => {
      if (connection > 1) return void socket.write(random(2, 2));
      socket.write(random(1, 1).subarray(0, 11));
      setTimeout(() => socket.write(random(1, 1).subarray(11)), 120);
    });
    await using tpm = new Tpm(await connectSwtpm({ port }), { timeout: 60 });
    await expect(tpm.execute(GetRandom, { bytesRequested: 2 })).rejects.toMatchObject({ code: 'timeout' });
    const later = await Promise.all([1, 2, 3].map(() => tpm.execute(GetRandom, { bytesRequested: 2 })));
    for (const { randomBytes } of later) expect(randomBytes).toEqual(Uint8Array.of(2, 2));
  });

  it('that closes after each answer is connected to again', async () => {
    const port = await serve((socket, _command, connection) => socket.end(random(connection)));
    await using tpm = new Tpm(await connectSwtpm({ port }));
    for (let i = 1; i < 4; i++) {
      const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 1 });
      expect(randomBytes).toEqual(Uint8Array.of(i));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  it('that a session talks to loses that session with its response, and no more', async () => {
    const start = Buffer.from(`8001000000300000000002000000 0020${'11'.repeat(32)}`.replace(' ', ''), 'hex');
    const port = await serve((socket, command, connection) => {
      if (command.readUInt32BE(6) === 0x176) socket.write(start);
      else if (connection > 1) socket.write(random(7));
    });
    await using tpm = new Tpm(await connectSwtpm({ port }), { timeout: 50 });
    const session = await startSession(tpm, { type: 'hmac' });
    const hung = tpm.execute(GetRandom, { bytesRequested: 1 }, { sessions: [session] });
    await expect(hung).rejects.toMatchObject({ code: 'timeout' });
    expect(session.isOpen).toBe(false);
    const again = tpm.execute(GetRandom, { bytesRequested: 1 }, { sessions: [session] });
    await expect(again).rejects.toMatchObject({ code: 'usage' });
    // An answer without the session's HMAC is no answer to a command in a session.
    const other = await startSession(tpm, { type: 'hmac' });
    const bare = tpm.execute(GetRandom, { bytesRequested: 1 }, { sessions: [other] });
    await expect(bare).rejects.toMatchObject({ code: 'integrity' });
    expect((await tpm.execute(GetRandom, { bytesRequested: 1 })).randomBytes).toEqual(Uint8Array.of(7));
  });

  it('that closes in the middle of a response gives code closed', async () => {
    const port = await serve((socket) => socket.end(random(1, 2, 3).subarray(0, 9)));
    await using tpm = new Tpm(await connectSwtpm({ port }));
    await expect(tpm.execute(GetRandom, { bytesRequested: 3 })).rejects.toMatchObject({ code: 'closed' });
  });

  it('that answers byte by byte is understood', async () => {
    const port = await serve(async (socket) => {
      for (const byte of random(1, 2, 3)) {
        socket.write(Uint8Array.of(byte));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    await using tpm = new Tpm(await connectSwtpm({ port }));
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 3 });
    expect(randomBytes).toEqual(Uint8Array.of(1, 2, 3));
  });

  it.each([
    ['too short a size', Uint8Array.of(0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0), 'transport'],
    ['a size of 4 GiB', Uint8Array.of(0x80, 1, 255, 255, 255, 255, 0, 0, 0, 0), 'transport'],
    ['bytes behind the response', Uint8Array.of(...random(1), 9), 'transport'],
    ['an unknown tag', Uint8Array.of(1, 2, ...random(1).subarray(2)), 'decode'],
    ['parameters that end too early', Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0, 5), 'decode'],
    ['bytes behind the parameters', Uint8Array.of(0x80, 1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 7), 'decode'],
    ['an error of a TPM 1.2', Uint8Array.of(0, 0xc4, 0, 0, 0, 10, 0, 0, 0, 0x1e), 'response'],
  ])('that sends %s gives a typed error', async (_, response, code) => {
    const port = await serve((socket) => socket.write(response));
    await using tpm = new Tpm(await connectSwtpm({ port }));
    await expect(tpm.execute(GetRandom, { bytesRequested: 1 })).rejects.toMatchObject({ name: 'TpmError', code });
  });

  it('that speaks unasked is cut off before the next command', async () => {
    const port = await serve((socket, _command, connection) => {
      socket.write(random(connection));
      if (connection === 1) setTimeout(() => socket.write(random(99)), 10);
    });
    await using tpm = new Tpm(await connectSwtpm({ port }));
    await tpm.execute(GetRandom, { bytesRequested: 1 });
    await new Promise((resolve) => setTimeout(resolve, 60));
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 1 });
    expect(randomBytes).toEqual(Uint8Array.of(2));
  });

  it('that asks for a retry is asked again, up to a bound', async () => {
    let asked = 0;
    const retry = Uint8Array.of(0x80, 1, 0, 0, 0, 10, 0, 0, 0x09, 0x22);
    const port = await serve((socket) => socket.write(++asked % 4 === 0 ? random(5) : retry));
    await using tpm = new Tpm(await connectSwtpm({ port }));
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 1 });
    expect([randomBytes[0], asked]).toEqual([5, 4]);
    const stubborn = await serve((socket) => socket.write(retry));
    await using never = new Tpm(await connectSwtpm({ port: stubborn }));
    const attempt = never.execute(GetRandom, { bytesRequested: 1 });
    await expect(attempt).rejects.toMatchObject({ response: { name: 'TPM_RC_RETRY' } });
  });

  it('that goes away in the middle of a task gives that error, and not one of cleaning up', async () => {
    const start = Buffer.from(`8001000000300000000003000000${'0020'}${'11'.repeat(32)}`, 'hex');
    const port = await serve((socket, command) => {
      if (command.readUInt32BE(6) === 0x176) return void socket.write(start);
      socket.destroy();
      for (const server of servers) server.close();
    });
    await using tpm = new Tpm(await connectSwtpm({ port }));
    const work = async () => {
      await using session = await startSession(tpm, { type: 'policy' });
      await satisfyPolicy(tpm, session, [{ type: 'auth-value' }]);
    };
    await expect(work()).rejects.toMatchObject({ name: 'TpmError', code: 'closed' });
  });

  it('that is not there gives code closed', async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    await expect(connectSwtpm({ port })).rejects.toMatchObject({ name: 'TpmError', code: 'closed' });
    await expect(connectMssim({ port })).rejects.toMatchObject({ name: 'TpmError', code: 'closed' });
  });

  it('over a transport that ignores its signal never has two commands at once', async () => {
    let outstanding = 0;
    const transport: TpmTransport = {
      async send(command) {
        if (++outstanding > 1) throw new Error('two commands at once');
        await new Promise((resolve) => setTimeout(resolve, 60));
        outstanding--;
        return random(command[11] ?? 0);
      },
      close: async () => undefined,
    };
    const tpm = new Tpm(transport, { timeout: 80 });
    const abort = new AbortController();
    const first = tpm
      .execute(GetRandom, { bytesRequested: 1 }, { signal: abort.signal })
      .catch((error: unknown) => error);
    setTimeout(() => abort.abort('gone'), 10);
    expect(await first).toBe('gone');
    await expect(tpm.execute(GetRandom, { bytesRequested: 2 })).rejects.toMatchObject({ code: 'timeout' });
    await new Promise((resolve) => setTimeout(resolve, 80));
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 3 });
    expect(randomBytes).toEqual(Uint8Array.of(3));
  });
});

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

/** The simulator's side of its protocol, with swtpm behind it. */
async function startMssimBridge(tpm: TpmTransport) {
  const signals: number[] = [];
  const localities: number[] = [];
  const open = new Set<Socket>();
  const track = (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
  };
  const platformServer = createServer((socket) => {
    track(socket);
    socket.on('data', (frame) => {
      signals.push(frame.readUInt32BE(0));
      socket.write(Buffer.alloc(4));
    });
  });
  const commandServer = createServer((socket) => {
    track(socket);
    socket.on('data', async (frame) => {
      expect(frame.readUInt32BE(0)).toBe(8);
      expect(frame.readUInt32BE(5)).toBe(frame.length - 9);
      localities.push(frame[4] ?? -1);
      const response = await tpm.send(new Uint8Array(frame.subarray(9)));
      const size = Buffer.alloc(4);
      size.writeUInt32BE(response.length);
      socket.write(Buffer.concat([size, response, Buffer.alloc(4)]));
    });
  });
  const stop = async (): Promise<void> => {
    for (const socket of open) socket.destroy();
    platformServer.close();
    commandServer.close();
    await tpm.close();
  };
  return { command: await listen(commandServer), platform: await listen(platformServer), signals, localities, stop };
}
