/** The peers that are measured against: npm packages put beside this one, and servers started for the run. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connectSwtpm } from '@casemate/tpm/swtpm';

const cache = fileURLToPath(new URL('../node_modules/.cache/peers/', import.meta.url));

/** Loads an npm package that is no dependency of this one, installing it first without running its scripts. */
export function loadPeer(name: string, version: string): unknown {
  return createRequire(join(peerDirectory(name, version), 'package.json'))(name);
}

/** The directory that holds the package in its `node_modules`. */
export function peerDirectory(name: string, version: string): string {
  const dir = join(cache, `${name}-${version}`);
  if (existsSync(join(dir, 'node_modules', name))) return dir;
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{"private":true}');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`];
  execFileSync('npm', args, { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] });
  return dir;
}

/** A swtpm on loopback with a state directory of its own; `stop` ends it and removes the directory. */
export async function startSwtpm(): Promise<{ readonly port: number; stop(): void }> {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
  const port = await freePortPair();
  const child = spawn(
    'swtpm',
    [
      'socket',
      '--tpm2',
      '--tpmstate',
      `dir=${dir}`,
      '--server',
      `type=tcp,port=${port}`,
      '--ctrl',
      `type=tcp,port=${port + 1}`,
      '--flags',
      'not-need-init,startup-clear',
    ],
    { stdio: 'ignore' },
  );
  await answering(port);
  const stop = (): void => {
    child.kill();
    rmSync(dir, { recursive: true, force: true });
  };
  return { port, stop };
}

async function answering(port: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      const transport = await connectSwtpm({ host: '127.0.0.1', port });
      await transport.close();
      return;
    } catch (error) {
      if (attempt === 50) throw error;
      await pause(50);
    }
  }
}

/** swtpm wants its control port to be the next one. */
async function freePortPair(): Promise<number> {
  for (;;) {
    const port = await listenOnce(0);
    if (port < 65535 && (await listenOnce(port + 1)) === port + 1) return port;
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(-1));
    server.listen(port, '127.0.0.1', () => {
      const { port: got } = server.address() as AddressInfo; // listening on TCP
      server.close(() => resolve(got));
    });
  });
}
