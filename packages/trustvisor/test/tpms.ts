/** Platform TPMs for the tests: swtpm of the distribution, and the embedded one. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TpmTransport } from '@casemate/tpm';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { openUtpm } from '@casemate/utpm';

/** A TPM that runs, and how to end it. */
export interface RunningTpm {
  readonly transport: TpmTransport;
  readonly close: () => Promise<void>;
}

/** Whether swtpm is here; with MUST_RUN=1 it has to be. */
export const hasSwtpm = process.env.MUST_RUN === '1' || spawnSync('swtpm', ['--version']).status === 0;

/** Starts a new swtpm on sockets of its own. */
export async function startSwtpm(): Promise<RunningTpm> {
  const directory = await mkdtemp(join(tmpdir(), 'trustvisor-swtpm-'));
  const path = join(directory, 'socket');
  const child = spawn('swtpm', [
    ...['socket', '--tpm2', '--tpmstate', `dir=${directory}`, '--flags', 'not-need-init,startup-clear'],
    ...['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`],
  ]);
  const transport = await connect(path);
  return {
    transport,
    close: async () => {
      await transport.close();
      const ended = new Promise((resolve) => child.on('exit', resolve));
      child.kill('SIGTERM');
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function connect(path: string): Promise<TpmTransport> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await connectSwtpm({ path });
    } catch (error) {
      if (attempt > 100) throw error;
      await sleep(50);
    }
  }
}

/** Opens a new embedded TPM. */
export async function startUtpm(): Promise<RunningTpm> {
  const transport = await openUtpm({ startup: true });
  return { transport, close: () => transport.close() };
}
