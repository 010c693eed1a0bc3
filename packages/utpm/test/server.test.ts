import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { GetRandom, PcrExtend, PcrRead } from '@casemate/tpm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryState } from '../src/index-node.js';
import { parseArguments } from '../src/server/arguments.js';
import { type ListenAddress, serve, type UtpmServer } from '../src/server.js';
import { commandBytes, openChannel } from './raw.js';
import { temporaryDirectory } from './temporary.js';

const local = { type: 'tcp', port: 0 } as const;
const getRandom = commandBytes(GetRandom, [], { bytesRequested: 8 });

function portOf(address: UtpmServer['control']): number {
  return address?.type === 'tcp' ? address.port : 0;
}

function connect(target: number | string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = typeof target === 'string' ? createConnection(target) : createConnection(target, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Sends bytes and returns the first `length` bytes of the answer, or what came before the end. */
function ask(socket: Socket, bytes: Uint8Array, length: number): Promise<string> {
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0);
    const done = (): void => {
      socket.off('data', collect);
      socket.off('close', done);
      resolve(answer.toString('hex'));
    };
    const collect = (chunk: Buffer): void => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length >= length) done();
    };
    socket.on('data', collect);
    socket.once('close', done);
    socket.write(bytes);
  });
}

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

describe('the server', () => {
  it('tells the swtpm and the simulator protocol apart on one port', async () => {
    await using server = await serve({ data: local, control: local, startup: true });
    const raw = await connect(portOf(server.data));
    expect((await openChannel(raw)(getRandom)).length).toBe(20);
    const simulator = await connect(portOf(server.data));
    expect(await ask(simulator, hex('0000000f00000001'), 12)).toBe('000000010000000900000000');
    const send = Buffer.concat([hex('0000000800'), hex('0000000c'), getRandom]);
    expect((await ask(simulator, send, 28)).slice(0, 28)).toBe('0000001480010000001400000000');
    raw.destroy();
    simulator.destroy();
  });

  it('answers a client of the control channel that has no data connection as swtpm does, and a simulator client as a simulator', async () => {
    await using server = await serve({ data: local, control: local });
    const control = await connect(portOf(server.control));
    expect(await ask(control, hex('00000001'), 8)).toBe('000000000001efff');
    control.destroy();
    const waiting = await connect(portOf(server.data));
    const platform = await connect(portOf(server.control));
    expect(await ask(platform, hex('00000001'), 4)).toBe('00000000');
    expect(await ask(platform, hex('0000000b'), 4)).toBe('00000000');
    waiting.destroy();
    platform.destroy();
  });

  it('takes localities from the control channel and refuses those that are none', async () => {
    await using server = await serve({ data: local, control: local, startup: true, rejectLocality4: true });
    const control = await connect(portOf(server.control));
    const answers = [];
    for (const locality of ['00', '03', '04', '05']) answers.push(await ask(control, hex(`00000005${locality}`), 4));
    expect(answers).toEqual(['00000000', '00000000', '0000003d', '0000003d']);
    expect(await ask(control, hex('0000000502000000'), 4)).toBe('00000000');
    // The TPM is on, and so the size of its buffer can be read but not changed.
    expect(await ask(control, hex('0000001100000000'), 16)).toBe('000000000000100000000af800001000');
    expect(await ask(control, hex('0000001100001000'), 4)).toBe('0000000a');
    control.destroy();
  });

  it('waits for INIT where it is told to, and measures a dynamic launch', async () => {
    await using server = await serve({ data: local, control: local, waitForInit: true });
    const data = openChannel(await connect(portOf(server.data)));
    expect(Buffer.from(await data(getRandom)).toString('hex')).toBe('80010000000a00000101');
    const control = await connect(portOf(server.control));
    expect(await ask(control, hex('0000000200000000'), 4)).toBe('00000000');
    expect(Buffer.from(await data(getRandom)).toString('hex')).toBe('80010000000a00000100');
    await data(hex('80010000000c000001440000'));
    expect(await ask(control, hex('00000004'), 8)).toBe('0000000000000000');
    for (const request of ['00000006', `0000000700000003${'aabbcc'}`, '00000008']) {
      expect(await ask(control, hex(request), 4)).toBe('00000000');
    }
    expect(await ask(control, hex('00000004'), 8)).toBe('0000000001000000');
    const read = { pcrSelectionIn: [{ hash: 11, pcrSelect: Uint8Array.of(0, 0, 2) }] } as const;
    const response = await data(commandBytes(PcrRead, [], read));
    expect(Buffer.from(response.subarray(-32)).toString('hex')).not.toBe('ff'.repeat(32));
    control.destroy();
  });

  it('goes on with the volatile state that was stored, until it is deleted or the power was taken away', async () => {
    const state = memoryState();
    const INIT = '0000000200000000';
    const STORE_VOLATILE = '0000000a';
    const select = [{ hash: 11, pcrSelect: Uint8Array.of(0, 0, 1) }];
    const extend = commandBytes(PcrExtend, [16], { digests: [{ hashAlg: 11, digest: new Uint8Array(32).fill(1) }] });
    const run = async (controls: readonly string[], after: readonly string[] = []): Promise<string> => {
      await using server = await serve({ data: local, control: local, state, waitForInit: true, protocol: 'swtpm' });
      const control = await connect(portOf(server.control));
      for (const request of controls) expect(await ask(control, hex(request), 4)).toBe('00000000');
      const data = openChannel(await connect(portOf(server.data)));
      await data(hex('80010000000c000001440000'));
      const read = await data(commandBytes(PcrRead, [], { pcrSelectionIn: select }));
      await data(extend);
      for (const request of after) expect(await ask(control, hex(request), 4)).toBe('00000000');
      return Buffer.from(read.subarray(-32)).toString('hex');
    };
    const zero = '00'.repeat(32);
    expect(await run([INIT], [STORE_VOLATILE])).toBe(zero);
    const kept = await run([INIT]);
    expect(kept).not.toBe(zero);
    expect(await run(['0000000200000001'])).toBe(kept);
    expect(await run([INIT], [STORE_VOLATILE])).toBe(zero);
    await using simulator = await serve({ data: local, state, protocol: 'mssim' });
    const client = await connect(portOf(simulator.data));
    expect(await ask(client, hex('00000011'), 4)).toBe('00000000');
    await simulator.close();
    expect(await run([INIT])).toBe(zero);
  });

  it('ends in order when the control channel shuts it down, and lets go of its Unix sockets', async () => {
    const path = join(temporaryDirectory('server'), 's');
    const server = await serve({ data: { type: 'unix', path }, control: { type: 'unix', path: `${path}.ctrl` } });
    expect(await ask(await connect(`${path}.ctrl`), hex('00000003'), 4)).toBe('00000000');
    await server.ended;
    await expect(connect(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('says where it cannot listen', async () => {
    await using server = await serve({ data: local });
    const taken = { type: 'tcp', port: portOf(server.data) } as const;
    await expect(serve({ data: taken })).rejects.toMatchObject({ code: 'listen-failed' });
  });

  describe.each([
    ['TCP', (): ListenAddress => local],
    ['a Unix socket', (): ListenAddress => ({ type: 'unix', path: join(temporaryDirectory('server'), 's') })],
  ])('over %s', (_, address) => {
    const open = (server: UtpmServer): Promise<Socket> =>
      connect(server.data?.type === 'unix' ? server.data.path : portOf(server.data));
    const select = [{ hash: 11, pcrSelect: Uint8Array.of(0xff, 0, 0) }];
    const read = commandBytes(PcrRead, [], { pcrSelectionIn: select });

    it('answers commands in their order, however they are cut or joined', async () => {
      await using server = await serve({ data: address(), startup: true });
      const socket = await open(server);
      const both = Buffer.concat([getRandom, read, getRandom]);
      const expected = [20, 300, 20];
      const sizes = async (): Promise<number[]> => {
        const answer = Buffer.from(await ask(socket, Buffer.alloc(0), 340), 'hex');
        return [answer.readUInt32BE(2), answer.readUInt32BE(22), answer.readUInt32BE(322)];
      };
      const joined = sizes();
      socket.write(both);
      expect(await joined).toEqual(expected);
      for (let cut = 1; cut < both.length; cut += 7) {
        const answers = sizes();
        socket.write(both.subarray(0, cut));
        await new Promise((resolve) => setTimeout(resolve, 2));
        socket.write(both.subarray(cut));
        expect(await answers).toEqual(expected);
      }
      socket.destroy();
    });

    it('waits for a client that does not read, and serves another one meanwhile', async () => {
      await using server = await serve({ data: address(), startup: true });
      const [lazy, other] = [await open(server), await open(server)];
      lazy.pause();
      const count = 20_000;
      lazy.write(Buffer.concat(Array.from({ length: count }, () => read)));
      // 6 MB of answers are more than the sockets hold.
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect((await openChannel(other)(getRandom)).length).toBe(20);
      const asked = ask(lazy, Buffer.alloc(0), count * 300);
      lazy.resume();
      const answers = Buffer.from(await asked, 'hex');
      expect(answers.length).toBe(count * 300);
      const first = answers.subarray(0, 300);
      const isSame = (_: unknown, i: number): boolean => first.compare(answers, i * 300, (i + 1) * 300) === 0;
      expect(Array.from({ length: count }, isSame).indexOf(false)).toBe(-1);
      lazy.destroy();
      other.destroy();
    });

    it('answers a client that has nothing more to say, and ends', async () => {
      await using server = await serve({ data: address(), startup: true });
      const socket = await open(server);
      const chunks: Buffer[] = [];
      socket.on('data', (chunk) => chunks.push(chunk));
      const ended = new Promise((resolve) => socket.once('close', resolve));
      socket.end(Buffer.concat([getRandom, read]));
      await ended;
      expect(Buffer.concat(chunks).length).toBe(320);
    });
  });

  it('ends a connection after one answer where it is told to, and runs nothing more of it', async () => {
    await using server = await serve({ data: local, startup: true, endAfterAnswer: true });
    const extend = commandBytes(PcrExtend, [16], { digests: [{ hashAlg: 11, digest: new Uint8Array(32) }] });
    const socket = await connect(portOf(server.data));
    expect(Buffer.from(await ask(socket, Buffer.concat([getRandom, extend, extend]), 1000), 'hex').length).toBe(20);
    const read = commandBytes(PcrRead, [], { pcrSelectionIn: [{ hash: 11, pcrSelect: Uint8Array.of(0, 0, 1) }] });
    const value = await openChannel(await connect(portOf(server.data)))(read);
    expect(Buffer.from(value.subarray(-32)).toString('hex')).toBe('00'.repeat(32));
  });

  it('outlives any bytes on either port', async () => {
    await using server = await serve({ data: local, control: local, startup: true });
    const ports = [portOf(server.data), portOf(server.control)];
    // These requests end the server or take the TPM's power, as they are there to do.
    const ending = [2, 3, 0x0e, 0x11, 0x12, 0x15];
    const code = fc.integer({ min: 0, max: 0x40 }).filter((value) => !ending.includes(value));
    const request = fc.tuple(code, fc.uint8Array({ maxLength: 32 })).map(([value, body]) => [0, 0, 0, value, ...body]);
    const anything = fc.oneof(request, fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 64 }));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...ports), anything, async (port, bytes) => {
        const socket = await connect(port);
        socket.on('error', () => undefined).end(Uint8Array.from(bytes));
        await new Promise((resolve) => socket.once('close', resolve).resume());
      }),
      { numRuns: 300 },
    );
    expect((await openChannel(await connect(ports[0] ?? 0))(getRandom)).length).toBe(20);
  });
});

describe('the command line', () => {
  const parse = (text: string): object => parseArguments(text.split(' '));

  it('is that of swtpm', () => {
    const text =
      'socket --tpm2 --tpmstate dir=/t,mode=0640 --server type=tcp,port=2321,bindaddr=0.0.0.0 --ctrl type=unixio,path=/c,mode=0660,uid=7';
    const flags =
      '--flags not-need-init,startup-clear --pid file=/p --log file=/l,level=20,prefix=x -t -d --locality reject-locality-4,allow-set-locality --seccomp action=none';
    expect(parse(`${text} ${flags}`)).toEqual({
      action: 'serve',
      data: { type: 'tcp', port: 2321, host: '0.0.0.0' },
      control: { type: 'unix', path: '/c', mode: 0o660, uid: 7 },
      stateDirectory: '/t',
      durability: 'power-failure',
      isDaemon: true,
      endOnDisconnect: true,
      endOnControlDisconnect: false,
      endAfterAnswer: false,
      waitForInit: false,
      startup: true,
      startupType: 'clear',
      disableAutoShutdown: false,
      rejectLocality4: true,
      pid: { file: '/p' },
      log: { target: { file: '/l' }, prefix: 'x', truncate: false },
      user: undefined,
      key: undefined,
      migrationKey: undefined,
    });
    expect(parse('socket --tpm2 -p 1 --tpmstate=backend-uri=dir:///x')).toMatchObject({
      data: { type: 'tcp', port: 1 },
      stateDirectory: '/x',
      endAfterAnswer: true,
    });
    expect(parseArguments([])).toEqual({ action: 'help' });
    expect(parse('--version')).toEqual({ action: 'version' });
    expect(parse('socket --tpm2 --print-capabilities')).toEqual({ action: 'print-capabilities' });
    expect(parse('socket --tpm2 --print-info 0x3')).toEqual({ action: 'print-info', flags: 3n });
    expect(parse('socket --tpm2 --print-states --tpmstate dir=/t')).toEqual({
      action: 'print-states',
      stateDirectory: '/t',
    });
  });

  it('takes connections that were inherited, as swtpm_setup passes them', () => {
    expect(parse('socket --tpm2 --server type=tcp,fd=5 --ctrl type=unixio,clientfd=4')).toMatchObject({
      data: { type: 'connection', fd: 5 },
      control: { type: 'connection', fd: 4 },
      waitForInit: true,
    });
    expect(parse('socket --tpm2 --ctrl type=unixio,fd=6,terminate')).toMatchObject({
      data: undefined,
      control: { type: 'fd', fd: 6 },
      endOnControlDisconnect: true,
    });
  });

  it('takes keys from files and descriptors', () => {
    const base = 'socket --tpm2 -p 1';
    expect(parse(`${base} --key file=/k,mode=aes-256-cbc,remove=true`)).toMatchObject({
      key: { source: { file: '/k' }, kind: 'hex', length: 32, remove: true },
    });
    expect(parse(`${base} --migration-key pwdfd=9`)).toMatchObject({
      migrationKey: { source: { fd: 9 }, kind: 'pbkdf2', length: 16, remove: false },
    });
  });

  it.each([
    'chardev --tpm2',
    'socket --server type=tcp,port=1',
    'socket --tpm2',
    'socket --tpm2 --server type=tcp',
    'socket --tpm2 --server type=tcp,port=x',
    'socket --tpm2 --server type=tcp,port=1 --key mode=aes-cbc',
    'socket --tpm2 --server type=tcp,port=1 --key file=k,mode=des',
    'socket --tpm2 --server type=tcp,port=1 --flags startup-deactivated',
    'socket --tpm2 --server type=tcp,port=1 --flags startup-soon',
    'socket --tpm2 --server type=tcp,port=1 --tpmstate',
    'socket --tpm2 --server type=tcp,port=1 --tpmstate backend-uri=file:///x',
    'socket --tpm2 --server type=unixio,path=/x,mode=0999',
    'socket --tpm2 --server type=tcp,port=1 --seccomp action=kill',
    'socket --tpm2 --server type=tcp,port=1 --migration incoming',
    'socket --tpm2 --server fd=1',
  ])('is refused where it asks for what is not there: %s', (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'bad-option' }));
  });
});
