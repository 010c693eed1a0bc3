/**
 * `@casemate/utpm`, in process and as a server over TCP, beside swtpm over TCP: the same prepared bytes, one command in flight, the three in
 * turn. Each server is a process of its own. `--only=TEXT` measures the operations whose name contains TEXT.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openUtpm } from '@casemate/utpm';
import { type Durability, directoryState } from '@casemate/utpm/node';
import { startSwtpm } from './peers.js';
import { openChannel, type Send } from './raw.js';
import { compare, flags } from './turns.js';
import { asymmetric, nvWriting, type Operation, openRig, quick, type Ready, type Rig } from './utpm-operations.js';

type Way = 'in process' | 'over TCP';
const RSA_KEY = 'Create (RSA 2048)';

type Contenders = Readonly<Record<Way | 'swtpm', Rig>>;

const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice('--only='.length) ?? '';
const work = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
const closers: (() => Promise<void> | void)[] = [() => rmSync(work, { recursive: true, force: true })];
try {
  const peer = await startSwtpm();
  closers.unshift(() => peer.stop());
  const swtpm = await openRig(await connect(peer.port));
  // swtpm renames a file that it has not flushed: its writes outlive its process, not the machine. See the durability test of utpm.
  const alike: Contenders = { ...(await openOurs('process-crash')), swtpm };
  for (const [name, operation] of Object.entries({ ...quick, ...asymmetric })) await measure(name, operation, alike);
  await measure('NV_Write (32 changing bytes, as durable as swtpm)', nvWriting, alike);
  const durable: Contenders = { ...(await openOurs('power-failure')), swtpm };
  await measure('NV_Write (32 changing bytes, flushed to the disk; swtpm not)', nvWriting, durable);
} finally {
  for (const close of closers) await close();
}
process.exit(0);

/** Ours in process, and ours as the program that a user starts. */
async function openOurs(durability: Durability): Promise<Omit<Contenders, 'swtpm'>> {
  const state = directoryState(join(work, `own-${durability}`), { durability });
  const tpm = await openUtpm({ state, startup: true });
  closers.unshift(() => tpm.close());
  const port = await startProgram(join(work, `served-${durability}`), durability);
  return {
    'in process': await openRig((command) => tpm.send(command)),
    'over TCP': await openRig(await connect(port)),
  };
}

async function startProgram(directory: string, durability: Durability): Promise<number> {
  const program = join(
    dirname(createRequire(import.meta.url).resolve('@casemate/utpm/package.json')),
    'dist',
    'cli.js',
  );
  const state = `dir=${directory},durability=${durability}`;
  const args = ['socket', '--tpm2', '--tpmstate', state, '--server', 'type=tcp,port=0', '--flags', 'startup-clear'];
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = new Promise((resolve) => child.once('exit', resolve));
  closers.unshift(async () => {
    child.kill();
    await exit;
  });
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(data.toString()));
    child.once('exit', (code) => reject(new Error(`the program ended with ${code}`)));
  });
  return Number(/:(\d+)/.exec(line)?.[1]);
}

async function connect(port: number): Promise<Send> {
  const channel = await openChannel(port);
  closers.unshift(() => channel.close());
  return channel.send;
}

async function measure(name: string, operation: Operation, contenders: Contenders): Promise<void> {
  if (!name.includes(only)) return;
  const theirs = await operation(contenders.swtpm);
  for (const way of ['in process', 'over TCP'] as const) {
    const ours = await operation(contenders[way]);
    await warm(name, ours, theirs);
    await compare({
      area: 'utpm',
      name: `${name}, ${way}`,
      unit: 'us',
      better: 'lower',
      rounds: roundsOf(name),
      ours: () => median(ours.run),
      theirs: { 'swtpm over TCP': () => median(theirs.run) },
    });
    await ours.close?.();
  }
  await theirs.close?.();
}

// How long the search for a prime takes is chance: many single samples, where else a sample is a batch.
function roundsOf(name: string): number {
  if (name === RSA_KEY) return flags.quick ? 7 : 60;
  return flags.quick ? 5 : 15;
}

// A JavaScript program is as fast as it gets only after some thousands of runs, and on a busy machine those take their time.
async function warm(name: string, ...operations: readonly Ready[]): Promise<void> {
  if (name === RSA_KEY) return;
  for (const { run } of operations) {
    const start = performance.now();
    let spent = 0;
    for (let count = 0; spent < 400 || (count < 20_000 && spent < 2000); count++) {
      await run();
      spent = performance.now() - start;
    }
  }
}

/** The median of microseconds that one operation takes, over a batch of about a tenth of a second. */
async function median(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  const end = performance.now() + (flags.quick ? 20 : 100);
  for (let now = performance.now(); now < end; ) {
    await run();
    const then = now;
    now = performance.now();
    times.push(now - then);
  }
  times.sort((a, b) => a - b);
  return (times[times.length >> 1] ?? Number.NaN) * 1000;
}
