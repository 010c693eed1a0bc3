/** Starts trousers' tcsd over a relay to a TPM that the test uses at the same time, and runs tpm-tools against it. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TpmTransport } from '../../src/transport.js';

/** The TPM 1.2 tools of Debian against the TPM of a test. */
export interface TpmTools {
  /** Runs a tool to its end with these lines as answers to its prompts. Throws where it fails, unless `fails` is set. */
  run(
    command: string,
    args: readonly string[],
    options?: { readonly answers?: readonly string[] },
  ): Promise<ToolResult>;
  /** Ends tcsd by its process id, and the relay. */
  stop(): Promise<void>;
}

/** What a tool printed, and how it ended. */
interface ToolResult {
  readonly code: number | null;
  readonly output: string;
}

/** Programs that these tests need. */
export const TOOLS = ['swtpm', 'tcsd', 'tpm_nvread', 'tpm_sealdata', 'tpm_getquote'] as const;

/** Starts tcsd with its files in `directory`; it needs root, because it drops to the user tss. */
export async function startTpmTools(transport: TpmTransport, directory: string): Promise<TpmTools> {
  const relay = await listen(transport);
  const port = await freePort();
  const configuration = join(directory, 'tcsd.conf');
  const storage = join(directory, 'tcsd');
  const [uid, gid] = [Number(spawnSync('id', ['-u', 'tss']).stdout), Number(spawnSync('id', ['-g', 'tss']).stdout)];
  chmodSync(directory, 0o755);
  mkdirSync(storage);
  chownSync(storage, uid, gid);
  writeFileSync(configuration, `port = ${port}\nsystem_ps_file = ${join(storage, 'system.data')}\n`);
  chownSync(configuration, 0, gid);
  chmodSync(configuration, 0o640);
  const device = { TCSD_USE_TCP_DEVICE: '1', TCSD_TCP_DEVICE_HOSTNAME: '127.0.0.1' };
  const env = { ...process.env, ...device, TCSD_TCP_DEVICE_PORT: String(relay.port) };
  const tcsd = spawn('/usr/sbin/tcsd', ['-e', '-f', '-c', configuration], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [tcsd.stdout, tcsd.stderr]) stream.setEncoding('utf8').on('data', (text) => (log += text));
  const exited = new Promise<void>((resolve) => tcsd.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    tcsd.kill('SIGTERM');
    await exited;
    await relay.close();
  };
  for (let wait = 0; !(await answers(port)); wait++) {
    if (wait > 400 || tcsd.exitCode !== null) {
      await stop();
      throw new Error(`tcsd did not start: ${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return { run: (command, args, options) => runTool(port, directory, command, args, options?.answers ?? []), stop };
}

function runTool(
  port: number,
  cwd: string,
  command: string,
  args: readonly string[],
  lines: readonly string[],
): Promise<ToolResult> {
  const path = `${process.env.PATH}:/usr/sbin:/usr/bin`;
  const env = {
    ...process.env,
    PATH: path,
    TSS_TCSD_HOSTNAME: '127.0.0.1',
    TSS_TCSD_PORT: String(port),
    LC_ALL: 'C.UTF-8',
  };
  // In a session of its own it has no terminal, and takes passwords from its standard input.
  const child = spawn(command, args, { cwd, env, detached: true, stdio: 'pipe' });
  child.stdin.on('error', () => undefined);
  child.stdin.end(lines.map((line) => `${line}\n`).join(''));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

interface Relay {
  readonly port: number;
  close(): Promise<void>;
}

/** A TCP port on which whole commands come in; each goes through `transport`, one at a time. */
async function listen(transport: TpmTransport): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let received = Buffer.alloc(0);
    let last: Promise<unknown> = Promise.resolve();
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 6 && received.length >= received.readUInt32BE(2)) {
        const command = new Uint8Array(received.subarray(0, received.readUInt32BE(2)));
        received = received.subarray(command.length);
        last = last.then(async () => socket.write(await transport.send(command))).catch(() => socket.destroy());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(!!socket.destroy()));
    socket.once('error', () => resolve(!socket.destroy()));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server: Server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
