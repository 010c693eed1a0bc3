import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectSwtpm } from '@casemate/tpm/swtpm';

/** Whether Debian's swtpm is installed. */
export const swtpmIsThere = spawnSync('swtpm', ['--version']).status === 0;

/** A TPM of another maker on a port of its own. */
export interface Swtpm {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startSwtpm(): Promise<Swtpm> {
  const directory = mkdtempSync(join(tmpdir(), 'swtpm-'));
  const port = await freePort();
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${directory}`, '--server', `type=tcp,port=${port}`];
  const child = spawn('swtpm', [...args, '--flags', 'not-need-init,startup-clear'], { stdio: 'ignore' });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGKILL');
    await gone;
    rmSync(directory, { recursive: true, force: true });
  };
  for (let tries = 0; tries < 100; tries++) {
    const transport = await connectSwtpm({ host: '127.0.0.1', port }).catch(() => undefined);
    if (!transport) await new Promise((resolve) => setTimeout(resolve, 30));
    else {
      await transport.close();
      return { port, stop };
    }
  }
  await stop();
  throw new Error('swtpm did not answer');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
