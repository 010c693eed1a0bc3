/**
 * `@casemate/namespaces` beside bubblewrap, crun and runc: from spawn to exit of a static `true`, with the same isolation, each started
 * from Node. Then with limits, with a gigabyte of live heap, twenty at once, and what stays in memory beside an idle program.
 */
import { type ChildProcess, type ForkOptions, fork, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createCgroup } from '@casemate/cgroups';
import { type Sandbox, startLauncherServer, startSandbox } from '@casemate/namespaces';
import {
  bubblewrap,
  exitOf,
  LIMITS,
  OciRuntime,
  privateKilobytes,
  processesAbove,
  processesFrom,
  type Setting,
  takeLastController,
  usableRuntimes,
} from './runtimes.js';
import { compare, flags } from './turns.js';

const rounds = flags.quick ? 10 : 60;
const TRUE = ['/bin/true'] as const;
const SLEEP = ['/bin/sleep', '1000'] as const;
const AT_ONCE = 20;

/** crun refuses a machine that has both hierarchies of cgroups, so the second one is hidden from all: in a mount namespace of our own. */
const SECOND_HIERARCHY = '/sys/fs/cgroup/unified';

async function main(): Promise<void> {
  if (existsSync(`${SECOND_HIERARCHY}/cgroup.procs`) && process.geteuid?.() === 0) return runWithoutSecondHierarchy();
  const work = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
  chmodSync(work, 0o755); // who is root inside is somebody else outside
  const setting = { work, root: makeRoot(join(work, 'root')) };
  const server = await startLauncherServer();
  const giveBack = await takeLastController();
  try {
    const peers = await usableRuntimes(setting);
    await compareStarts(setting, peers);
    await compareLimited(setting, peers);
    await compareHeap(setting);
    await compareThroughput(setting, peers);
    await compareMemory(setting, peers, server.pid);
  } finally {
    await giveBack();
    await server.close();
    rmSync(work, { recursive: true, force: true });
  }
}

function runWithoutSecondHierarchy(): void {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const hide = `umount ${SECOND_HIERARCHY} && exec "$@"`;
  const { status } = spawnSync('unshare', ['--mount', '/bin/sh', '-c', hide, 'sh', ...again], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}

/** Bars: ours at most 0.6 of bubblewrap's time (ratio 1.67), 0.35 of crun's (2.86), 0.15 of runc's (6.67). */
async function compareStarts(setting: Setting, peers: readonly string[]): Promise<void> {
  await compare({
    area: 'containers',
    name: 'start and end of a static true (8 namespaces, id map, /proc, /dev, no capabilities, seccomp)',
    unit: 'ms',
    better: 'lower',
    rounds,
    ours: () => timed(() => ours(setting)),
    theirs: {
      bubblewrap: () => timed(() => exitOf(bubblewrap(setting, TRUE))),
      ...runtimes(setting, peers, false),
    },
  });
}

/** crun and runc make and remove a cgroup for every run; bubblewrap has none. */
async function compareLimited(setting: Setting, peers: readonly string[]): Promise<void> {
  await compare({
    area: 'containers',
    name: 'the same with a cgroup that limits memory, processes and CPU time, made and removed',
    unit: 'ms',
    better: 'lower',
    rounds,
    ours: () => timed(() => oursLimited(setting)),
    theirs: runtimes(setting, peers, true),
  });
}

/** Bar: at most 1.3 times the time without (ratio 0.77). Two processes of which one alone has the heap, so that nothing else differs. */
async function compareHeap({ root }: Setting): Promise<void> {
  const children = [await forkStarter(root, 'with-heap'), await forkStarter(root, 'without-heap')] as const;
  await compare({
    area: 'containers',
    name: 'start and end of a static true from Node with 1 GiB of live heap',
    unit: 'ms',
    better: 'lower',
    rounds,
    ours: () => ask(children[0]),
    theirs: { 'ours without the heap': () => ask(children[1]) },
  });
  for (const child of children) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
  }
}

async function forkStarter(root: string, heap: 'with-heap' | 'without-heap'): Promise<ChildProcess> {
  const options: ForkOptions = { execArgv: ['--max-old-space-size=4000'], stdio: 'inherit' };
  const child = fork(fileURLToPath(import.meta.url), [heap, root], options);
  await new Promise((resolve) => child.once('message', resolve));
  return child;
}

/** Bar: ratio 2. */
async function compareThroughput(setting: Setting, peers: readonly string[]): Promise<void> {
  const rate = async (start: () => Promise<number | null>): Promise<number> =>
    (AT_ONCE * 1000) /
    (await timed(async () => (await Promise.all(Array.from({ length: AT_ONCE }, start))).find(Boolean) ?? 0));
  const crun = peers.includes('crun') ? new OciRuntime('crun', setting, TRUE, false) : undefined;
  await compare({
    area: 'containers',
    name: `${AT_ONCE} starts and ends of a static true at once`,
    unit: 'per second',
    better: 'higher',
    rounds: flags.quick ? 3 : 15,
    ours: () => rate(() => ours(setting)),
    theirs: {
      bubblewrap: () => rate(() => exitOf(bubblewrap(setting, TRUE))),
      ...(crun && { crun: () => rate(() => exitOf(crun.run())) }),
    },
  });
}

/** Bar: at most 150 kB. The server and what it keeps for the next sandbox are counted whole, though all sandboxes share them. */
async function compareMemory(setting: Setting, peers: readonly string[], server: number): Promise<void> {
  const runs = peers.map((name) => ({ name, runtime: new OciRuntime(name, setting, SLEEP, false) }));
  await compare({
    area: 'containers',
    name: 'private memory beside an idle program',
    unit: 'kB',
    better: 'lower',
    rounds: 3,
    ours: () => oursIdle(setting, server),
    theirs: {
      bubblewrap: () => idle(bubblewrap(setting, SLEEP)),
      ...Object.fromEntries(runs.map(({ name, runtime }) => [`${name} run`, () => idle(runtime.run())])),
    },
  });
  for (const { runtime } of runs) runtime.deleteAll();
}

function runtimes(setting: Setting, peers: readonly string[], limits: boolean): Record<string, () => Promise<number>> {
  return Object.fromEntries(
    peers.map((name) => {
      const runtime = new OciRuntime(name, setting, TRUE, limits);
      return [name, () => timed(() => exitOf(runtime.run()))];
    }),
  );
}

function makeRoot(root: string): string {
  for (const dir of ['bin', 'dev', 'proc', 'sys', 'tmp']) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
  for (const applet of ['true', 'sleep']) symlinkSync('busybox', join(root, 'bin', applet));
  return root;
}

const STDIO = { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' } as const;

async function ours({ root }: Setting): Promise<number | null> {
  const sandbox = await startSandbox({ command: TRUE, root: { type: 'bind', source: root } }, { stdio: STDIO });
  return (await sandbox.wait()).code;
}

async function oursLimited({ root }: Setting): Promise<number | null> {
  await using cgroup = await createCgroup({ limits: LIMITS });
  const spec = { command: TRUE, root: { type: 'bind', source: root }, cgroup } as const;
  const sandbox = await startSandbox(spec, { stdio: STDIO });
  return (await sandbox.wait()).code;
}

async function oursIdle({ root }: Setting, server: number): Promise<number> {
  const spec = { command: SLEEP, root: { type: 'bind', source: root } } as const;
  await using sandbox: Sandbox = await startSandbox(spec, { stdio: STDIO });
  await pause();
  const beside = processesFrom(server).filter((pid) => pid !== sandbox.pid);
  if (beside.length !== 4)
    throw new Error(`expected a server, a watcher, and a spare one with its child, got ${beside}`);
  return privateKilobytes(beside);
}

async function idle(child: ChildProcess): Promise<number> {
  await pause();
  const size = privateKilobytes(processesAbove(child.pid ?? 0));
  child.kill('SIGKILL');
  await exitOf(child);
  return size;
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1000));

async function timed(start: () => Promise<number | null>): Promise<number> {
  const begin = performance.now();
  const code = await start();
  if (code !== 0) throw new Error(`the sandboxed program ended with ${code}`);
  return performance.now() - begin;
}

/** In a process of its own: fills the heap before the server is started, which is the worst case, and answers every message with a time. */
async function serveStarts(root: string, arrays: number): Promise<void> {
  const heap = Array.from({ length: arrays }, (_, i) => Array.from({ length: 120 }, (_, j) => i + j + 0.5));
  await ours({ root, work: '' });
  process.on('message', async () => {
    const time = await timed(() => ours({ root, work: '' }));
    process.send?.({ time, heap: heap.length });
  });
  process.send?.('ready');
}

function ask(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('message', ({ time }: { time: number }) => resolve(time));
    child.send('start');
  });
}

if (process.argv[2] === 'with-heap') await serveStarts(process.argv[3] ?? '', 1 << 20);
else if (process.argv[2] === 'without-heap') await serveStarts(process.argv[3] ?? '', 0);
else await main();
