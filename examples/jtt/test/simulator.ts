/** A TPM 1.2 for the tests: Debian's swtpm, and tpm_nvinfo through trousers' tcsd as an outside judge. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A running swtpm. */
export interface Simulator {
  /** The Unix socket of its data channel. */
  readonly path: string;
  /** Its directory. */
  readonly directory: string;
  /** Ends it by its process id. */
  stop(): Promise<void>;
}

/** tcsd drops to the user tss, which root alone can do. */
export const isRoot = process.getuid?.() === 0;

/** Whether these programs are installed. */
export function hasPrograms(...names: readonly string[]): boolean {
  const PATH = `${process.env.PATH}:/usr/sbin`;
  return names.every((name) => spawnSync('sh', ['-c', `command -v ${name}`], { env: { PATH } }).status === 0);
}

/** Starts swtpm with fresh state. */
export async function startSimulator(): Promise<Simulator> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-jtt-tpm-'));
  const path = join(directory, 'data');
  const channels = ['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`];
  const state = ['--tpmstate', `dir=${directory}`, '--flags', 'not-need-init'];
  const child = spawn('swtpm', ['socket', ...state, ...channels], { stdio: 'ignore' });
  await until(() => answers({ path: `${path}.ctrl` }), 'swtpm');
  const stop = async (): Promise<void> => {
    await end(child);
    rmSync(directory, { recursive: true, force: true });
  };
  return { path, directory, stop };
}

/** What tpm_nvinfo prints of the TPM. */
export async function nvInfo({ path, directory }: Simulator): Promise<string> {
  const [uid, gid] = [Number(spawnSync('id', ['-u', 'tss']).stdout), Number(spawnSync('id', ['-g', 'tss']).stdout)];
  const relay = createServer((socket) => {
    const tpm = connect({ path });
    socket.pipe(tpm).pipe(socket);
    for (const side of [socket, tpm]) side.on('error', () => [socket, tpm].map((each) => each.destroy()));
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const port = await freePort();
  const [storage, configuration] = [join(directory, 'tcsd'), join(directory, 'tcsd.conf')];
  chmodSync(directory, 0o755);
  mkdirSync(storage);
  chownSync(storage, uid, gid);
  writeFileSync(configuration, `port = ${port}\nsystem_ps_file = ${join(storage, 'system.data')}\n`);
  chownSync(configuration, 0, gid);
  chmodSync(configuration, 0o640);
  const device = {
    TCSD_TCP_DEVICE_HOSTNAME: '127.0.0.1',
    TCSD_TCP_DEVICE_PORT: String((relay.address() as AddressInfo).port),
  };
  const env = { ...process.env, TCSD_USE_TCP_DEVICE: '1', ...device };
  const tcsd = spawn('/usr/sbin/tcsd', ['-e', '-f', '-c', configuration], { env, stdio: 'ignore' });
  try {
    await until(() => answers({ port }), 'tcsd');
    const PATH = `${process.env.PATH}:/usr/sbin`;
    const tool = spawn('tpm_nvinfo', [], {
      env: { ...process.env, PATH, TSS_TCSD_HOSTNAME: '127.0.0.1', TSS_TCSD_PORT: String(port) },
    });
    let output = '';
    tool.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    await new Promise((resolve) => tool.once('close', resolve));
    return output;
  } finally {
    await end(tcsd);
    await new Promise((resolve) => relay.close(resolve));
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}

async function until(isReady: () => Promise<boolean>, what: string): Promise<void> {
  for (let wait = 0; wait < 400; wait++) {
    if (await isReady()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${what} did not start`);
}

function answers(address: { path: string } | { port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = 'path' in address ? connect(address) : connect({ ...address, host: '127.0.0.1' });
    socket.once('connect', () => resolve(!!socket.destroy()));
    socket.once('error', () => resolve(!socket.destroy()));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
