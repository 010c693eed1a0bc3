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
  /** Takes its power away without a word and gives it back: `transport` is another one afterwards. */
  readonly cutPower: () => Promise<void>;
}

/** Whether swtpm is here; with MUST_RUN=1 it has to be. */
export const hasSwtpm = process.env.MUST_RUN === '1' || spawnSync('swtpm', ['--version']).status === 0;

/** Starts a new swtpm on sockets of its own. */
export async function startSwtpm(): Promise<RunningTpm> {
  const directory = await mkdtemp(join(tmpdir(), 'trustvisor-swtpm-'));
  let running = await spawnSwtpm(directory);
  const end = async (signal: NodeJS.Signals) => {
    await running.transport.close();
    const ended = new Promise((resolve) => running.child.on('exit', resolve));
    running.child.kill(signal);
    await ended;
  };
  return {
    get transport() {
      return running.transport;
    },
    close: async () => {
      await end('SIGTERM');
      await rm(directory, { recursive: true, force: true });
    },
    cutPower: async () => {
      await end('SIGKILL');
      running = await spawnSwtpm(directory);
    },
  };
}

async function spawnSwtpm(directory: string) {
  const path = join(directory, 'socket');
  await rm(path, { force: true });
  await rm(`${path}.ctrl`, { force: true });
  const child = spawn('swtpm', [
    ...['socket', '--tpm2', '--tpmstate', `dir=${directory}`, '--flags', 'not-need-init,startup-clear'],
    ...['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`],
  ]);
  return { child, transport: await connect(path) };
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
  const startup = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0);
  return {
    transport,
    close: () => transport.close(),
    cutPower: async () => {
      await transport.powerCycle();
      await transport.send(startup);
    },
  };
}
