/** The device transport on a real character device: a pseudo-terminal with swtpm at its other end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDevice } from '../../src/device.js';
import { createPrimary, GetRandom, readPcrs, srkTemplate, Tpm } from '../../src/index.js';
import { describeWith, type SwtpmServer, startSwtpm } from './swtpm-server.js';

/** Whole commands from the terminal to swtpm, and whole responses back, half a second late for GetRandom of 33 bytes. */
const BRIDGE = `
import os, pty, socket, sys, time, tty
master, slave = pty.openpty()
tty.setraw(master)
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
tpm = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
def whole(read):
    data = b''
    while len(data) < 10 or len(data) < int.from_bytes(data[2:6], 'big'):
        data += read(4096)
    return data
while True:
    command = whole(lambda n: os.read(master, n))
    tpm.sendall(command)
    response = whole(tpm.recv)
    if command[-2:] == bytes([0, 33]):
        time.sleep(0.5)
    os.write(master, response)
`;

describeWith(['swtpm', 'python3'], 'the device transport', () => {
  let server: SwtpmServer;
  let bridge: ChildProcess;
  let device: string;

  beforeAll(async () => {
    server = await startSwtpm();
    bridge = spawn('python3', ['-c', BRIDGE, String(server.port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    if (!bridge.stdout) throw new Error('the bridge has no output');
    for await (const line of createInterface(bridge.stdout)) {
      device = line;
      break;
    }
  });
  afterAll(async () => {
    bridge?.kill('SIGKILL');
    await server?.stop();
  });

  it('carries whole commands and responses', async () => {
    await using tpm = new Tpm(await openDevice(device));
    expect((await readPcrs(tpm, { sha256: [0] })).sha256?.[0]).toEqual(new Uint8Array(32));
    await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    expect(srk.name).toHaveLength(34);
  });

  it('drops the late response of a command that was given up, before the next command is written', async () => {
    await using tpm = new Tpm(await openDevice(device));
    const abort = new AbortController();
    const slow = tpm
      .execute(GetRandom, { bytesRequested: 33 }, { signal: abort.signal })
      .catch((error: unknown) => error);
    setTimeout(() => abort.abort('enough'), 50);
    expect(await slow).toBe('enough');
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 5 });
    expect(randomBytes).toHaveLength(5);
  });

  it('that is not there gives code closed', async () => {
    await expect(openDevice('/dev/no-tpm')).rejects.toMatchObject({ name: 'TpmError', code: 'closed' });
  });
});
