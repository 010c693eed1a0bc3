/** Starts Debian's swtpm on loopback for one test file, and says why not where it is missing. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import { DictionaryAttackParameters, TPM_RH, type Tpm } from '../../src/index.js';

/** A running swtpm. */
export interface SwtpmServer {
  readonly host: string;
  readonly port: number;
  /** The Unix socket of the data channel, where it was asked for. */
  readonly path: string | undefined;
  /** The state directory. */
  readonly directory: string;
  stop(): Promise<void>;
}

/** Whether a program is there. */
function hasProgram(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`]).status === 0;
}

/** `describe` for tests that need programs: skipped with the reason, or failing where MUST_RUN=1. */
export function describeWith(programs: readonly string[], name: string, body: () => void): void {
  const missing = programs.filter((program) => !hasProgram(program));
  if (missing.length === 0 || process.env.MUST_RUN === '1') return void describe(name, body);
  describe.skip(`${name} (skipped: ${missing.join(', ')} not installed)`, body);
}

/** Starts swtpm with fresh state, or with that of a directory, which is removed at the end, and waits until it answers. */
export async function startSwtpm(
  options: { readonly unix?: boolean; readonly state?: string } = {},
): Promise<SwtpmServer> {
  const directory = options.state ?? mkdtempSync(join(tmpdir(), 'casemate-swtpm-'));
  for (let attempt = 0; ; attempt++) {
    const port = await freePorts();
    const server = await tryStart(directory, port, options.unix ?? false);
    if (server) return server;
    if (attempt === 5) throw new Error('swtpm did not start in six attempts');
  }
}

/** Lets a test guess wrongly as often as it needs; a fresh swtpm locks itself after three wrong guesses. */
export async function relaxLockout(tpm: Tpm): Promise<void> {
  const limits = { newMaxTries: 1000, newRecoveryTime: 1, lockoutRecovery: 1 };
  await tpm.execute(DictionaryAttackParameters, { lockHandle: TPM_RH.LOCKOUT, ...limits });
}

async function tryStart(directory: string, port: number, unix: boolean): Promise<SwtpmServer | undefined> {
  const path = join(directory, 'data');
  const channels = unix
    ? ['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`]
    : ['--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${port + 1}`];
  const state = ['--tpmstate', `dir=${directory}`, '--flags', 'not-need-init,startup-clear'];
  const child = spawn('swtpm', ['socket', '--tpm2', ...state, ...channels], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  for (let wait = 0; wait < 200 && child.exitCode === null; wait++) {
    if (await answers(unix ? { path: `${path}.ctrl` } : { host: '127.0.0.1', port: port + 1 })) {
      return { host: '127.0.0.1', port, path: unix ? path : undefined, directory, stop };
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill('SIGKILL');
  await exited;
  return undefined;
}

function answers(address: { path: string } | { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => resolve(!!socket.destroy()));
    socket.once('error', () => resolve(!socket.destroy()));
  });
}

/** A port whose successor is free too, for data and control. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = await bound(0);
    if (port < 65535 && (await bound(port + 1).catch(() => 0)) !== 0) return port;
  }
}

function bound(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
