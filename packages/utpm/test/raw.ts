/** Commands as bytes, and two TPMs to send them to: ours in process and swtpm over its data channel. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnyCommand } from '@casemate/tpm';
import { Writer } from '@casemate/wire';

/** A TPM to compare: bytes in, bytes out. */
export interface RawTpm {
  send(command: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** One entry of an authorization area. */
export interface RawAuth {
  readonly handle?: number;
  readonly nonce?: Uint8Array;
  readonly attributes?: number;
  readonly hmac?: Uint8Array;
}

/** The bytes of a command with password authorizations, empty unless given. */
export function commandBytes(
  command: AnyCommand,
  handles: readonly number[],
  parameters: Readonly<Record<string, unknown>> = {},
  auths: readonly RawAuth[] = command.handles.filter(({ auth }) => auth !== 'none').map(() => ({})),
): Uint8Array {
  const body = new Writer();
  command.parameters.write(body, parameters);
  return frame(command.code, handles, auths, body.finish());
}

/** The bytes of a command from its parts. */
export function frame(
  code: number,
  handles: readonly number[],
  auths: readonly RawAuth[],
  parameters: Uint8Array,
): Uint8Array {
  const writer = new Writer();
  writer.u16(auths.length > 0 ? 0x8002 : 0x8001, 'tag');
  writer.u32(0, 'size');
  writer.u32(code, 'code');
  for (const handle of handles) writer.u32(handle, 'handle');
  if (auths.length > 0) writer.put(authorizationArea(auths), 'area');
  writer.put(parameters, 'parameters');
  const size = writer.offset;
  writer.patch(2, () => writer.u32(size, 'size'));
  return writer.finish();
}

function authorizationArea(auths: readonly RawAuth[]): Uint8Array {
  const area = new Writer();
  area.u32(0, 'size');
  for (const { handle = 0x40000009, nonce = new Uint8Array(0), attributes = 1, hmac = new Uint8Array(0) } of auths) {
    area.u32(handle, 'handle');
    area.u16(nonce.length, 'size');
    area.put(nonce, 'nonce');
    area.u8(attributes, 'attributes');
    area.u16(hmac.length, 'size');
    area.put(hmac, 'hmac');
  }
  const size = area.offset - 4;
  area.patch(0, () => area.u32(size, 'size'));
  return area.finish();
}

/** The response code of a response. */
export function responseCode(response: Uint8Array): number {
  return new DataView(response.buffer, response.byteOffset).getUint32(6);
}

/** `bytes` cut to `length` or with other bytes, its size field made right again. */
export function resized(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  if (copy.length >= 6) new DataView(copy.buffer).setUint32(2, copy.length);
  return copy;
}

/** Two neighbouring ports that nothing uses, below those that the kernel gives to clients. */
export async function freePorts(): Promise<readonly [number, number]> {
  for (;;) {
    const port = 20_000 + 2 * Math.floor(Math.random() * 6000);
    if ((await isFree(port)) && (await isFree(port + 1))) return [port, port + 1];
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Starts Debian's swtpm with a state of its own; it is ended by its process id. */
export async function startSwtpm(): Promise<RawTpm> {
  const directory = await mkdtemp(join(tmpdir(), 'swtpm-'));
  const [port, control] = await freePorts();
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${directory}`];
  args.push('--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${control}`);
  args.push('--flags', 'not-need-init,startup-clear');
  const child = spawn('swtpm', args, { stdio: 'ignore' });
  const socket = await connect(port, child);
  const channel = openChannel(socket);
  return {
    send: channel,
    async close() {
      socket.destroy();
      child.kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function connect(port: number, child: ChildProcess): Promise<Socket> {
  for (let tries = 0; ; tries++) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = createConnection({ port, host: '127.0.0.1' }, () => resolve(socket.setNoDelay(true)));
        socket.once('error', reject);
      });
    } catch (error) {
      if (tries > 50 || child.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** Sends commands over a connection one after another. */
export function openChannel(socket: Socket): (command: Uint8Array) => Promise<Uint8Array> {
  let buffered = Buffer.alloc(0);
  let waiting: ((response: Uint8Array) => void) | undefined;
  socket.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    if (buffered.length < 10 || buffered.length < buffered.readUInt32BE(2)) return;
    const size = buffered.readUInt32BE(2);
    const response = new Uint8Array(buffered.subarray(0, size));
    buffered = buffered.subarray(size);
    waiting?.(response);
  });
  return (command) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return void reject(new Error('the TPM closed the connection'));
      waiting = resolve;
      socket.write(command);
    });
}
