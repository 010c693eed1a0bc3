import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createCgroup, destroyOrphanCgroups } from '@casemate/cgroups';
import { afterAll, describe, expect, vi } from 'vitest';
import { startLauncherServer, startSandbox } from '../src/index.js';
import { bundleStarter, cleanUp, makeRoot, obstacle, releaseLauncher, workspace } from './fixtures.js';
import { itNeeds } from './requirement.js';

// The long form, for a machine that has nothing else to do: CASEMATE_LONG=1.
const long = process.env.CASEMATE_LONG === '1';
const STARTS = long ? 2000 : 40;
const KILLS = long ? 50 : 4;
const AT_ONCE = 10;
vi.setConfig({ testTimeout: long ? 1_200_000 : 60_000 });

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const isRoot = process.geteuid?.() === 0;
const image = hindrance ? '' : makeRoot('endurance');
const starter = await bundleStarter();
const itRuns = itNeeds(!hindrance, hindrance ?? '');
const root = { type: 'overlay', lower: [image], changes: { type: 'memory' } } as const;

afterAll(cleanUp);

describe('nothing is left', () => {
  itRuns(`after ${STARTS} starts and stops`, async () => {
    const { pid } = await startLauncherServer();
    await batch(1); // what is made once has been made
    await eventually(() => isIdle(pid));
    const before = counts(pid);
    for (let started = 0; started < STARTS; started += AT_ONCE) await batch(AT_ONCE);
    await eventually(() => isIdle(pid));
    const after = counts(pid);
    expect({ ...after, memory: 0 }).toEqual({ ...before, memory: 0 });
    expect(after.memory - before.memory).toBeLessThan(200); // kB
  });

  itRuns(`after ${KILLS} times kill -9 of the program that started sandboxes, at any moment`, async () => {
    for (let i = 0; i < KILLS; i++) await killAtRandom(`1000.${process.pid}${i}`);
    expect(mountsBelow(workspace)).toBe(0);
  });
});

/** Some sandboxes at once: one ends by itself, one is stopped, one is in a cgroup, one has another process in it. */
async function batch(size: number): Promise<void> {
  await Promise.all(Array.from({ length: size }, (_, i) => one(i)));
}

async function one(kind: number): Promise<void> {
  if (kind === 3 && isRoot) {
    await using cgroup = await createCgroup({ limits: { pidsMax: 10 } });
    await (await startSandbox({ root, cgroup, command: ['/bin/true'] }, QUIET)).wait();
    return;
  }
  const command = kind % 2 === 0 ? (['/bin/true'] as const) : (['/bin/sleep', '1000'] as const);
  await using sandbox = await startSandbox({ root, command }, QUIET);
  if (kind === 1) await (await sandbox.exec({ command: ['/bin/true'] }, QUIET)).wait();
  if (kind % 2 === 0) await sandbox.wait();
}

const QUIET = { stdio: { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' } } as const;

interface Counts {
  readonly children: readonly string[];
  readonly serverDescriptors: number;
  readonly ownDescriptors: number;
  readonly mounts: number;
  readonly links: number;
  readonly cgroups: number;
  readonly memory: number;
}

function counts(server: number): Counts {
  const status = readFileSync(`/proc/${server}/status`, 'utf8');
  return {
    children: childNames(server),
    serverDescriptors: readdirSync(`/proc/${server}/fd`).length,
    ownDescriptors: readdirSync('/proc/self/fd').length,
    mounts: mountsBelow(workspace),
    links: readdirSync('/sys/class/net').filter((name) => name.startsWith('ve')).length,
    cgroups: ownCgroups(),
    memory: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]),
  };
}

// What it keeps for the next sandbox is all that is left.
function isIdle(server: number): boolean {
  const { children } = counts(server);
  return children.length === 1 && children[0] === 'casemate-spare';
}

function childNames(pid: number): readonly string[] {
  const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return pids.map(nameOf);
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'ended'; // in between
  }
}

function mountsBelow(path: string): number {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(path)).length;
}

// Cgroups carry the process id of their maker in their name.
function ownCgroups(): number {
  const homes = readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}/casemate`);
  const all = ['/sys/fs/cgroup/casemate', ...homes].filter((path) => existsSync(path));
  return all.flatMap((path) => readdirSync(path)).filter((name) => name.includes(String(process.pid))).length;
}

/** Starts sandboxes in a program that is killed within half a second; `mark` is an argument of their commands. */
async function killAtRandom(mark: string): Promise<void> {
  const job = { spec: { root, command: ['/bin/sleep', mark] }, ...(isRoot && { pidsMax: 10 }), hold: true };
  const jobs = Array.from({ length: 3 }, () => ({ ...job, hold: false }));
  const environment = { CASEMATE_LAUNCHER: process.env.CASEMATE_LAUNCHER };
  const manager = spawn(process.execPath, [starter, JSON.stringify([job, ...jobs])], {
    stdio: 'ignore',
    env: environment,
  });
  await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 500));
  const tree = descendants(manager.pid ?? 0);
  const left = new Promise((resolve) => manager.once('exit', resolve));
  manager.kill('SIGKILL');
  await left;
  await eventually(() => tree.filter(isAlive).length === 0 && marked(mark) === 0);
  await destroyOrphanCgroups(); // one that was made just before, and no sandbox had taken over yet
  await eventually(() => cgroupsOf(manager.pid ?? 0) === 0);
}

function cgroupsOf(pid: number): number {
  const homes = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}`)];
  const groups = homes.map((home) => `${home}/casemate`).filter((home) => existsSync(home));
  return groups.flatMap((home) => readdirSync(home)).filter((name) => name.split(/\D+/).includes(String(pid))).length;
}

function marked(mark: string): number {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandLine(name).includes(mark)).length;
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(1).join(' ');
  } catch {
    return ''; // it has just ended
  }
}

function descendants(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text
      .split(' ')
      .filter(Boolean)
      .map(Number)
      .flatMap((child) => [child, ...descendants(child)]);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function eventually(done: () => boolean): Promise<void> {
  const until = Date.now() + 10_000;
  while (!done()) {
    if (Date.now() > until) throw new Error(`expected it to come true within 10 s: ${done}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
