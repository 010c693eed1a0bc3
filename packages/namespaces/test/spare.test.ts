import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createCgroup } from '@casemate/cgroups';
import { afterAll, afterEach, describe, expect } from 'vitest';
import { type LauncherServer, type SandboxSpec, startLauncherServer, startSandbox } from '../src/index.js';
import { cleanUp, makeRoot, obstacle, outcome, releaseLauncher, script, workspace } from './fixtures.js';
import { itNeeds } from './requirement.js';

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const image = hindrance ? '' : makeRoot('spare');
const isRoot = process.geteuid?.() === 0;
const itRuns = itNeeds(!hindrance, hindrance ?? '');
const itRoot = itNeeds(!hindrance && isRoot, hindrance ?? 'it needs root');

const root = { type: 'overlay', lower: [image], changes: { type: 'memory' } } as const;
const spec: SandboxSpec = { root, command: ['/bin/true'] };
const QUIET = { stdio: { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' } } as const;
let server: LauncherServer | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(cleanUp);

/** A server whose last sandbox was one of `spec`, and what it keeps for the next one. */
async function warmed(first: SandboxSpec = spec): Promise<Spare> {
  server = await startLauncherServer({ spare: true });
  await (await startSandbox(first, QUIET)).wait();
  return spareOf(server.pid);
}

interface Spare {
  readonly watcher: number;
  readonly waiting: number;
}

/** Waits for the spare watcher of a server and the first process that it has made. */
async function spareOf(pid: number): Promise<Spare> {
  let found: Spare | undefined;
  await eventually(() => {
    const watcher = childrenOf(pid).find((child) => nameOf(child) === 'casemate-spare');
    const [waiting] = watcher === undefined ? [] : childrenOf(watcher);
    found = watcher !== undefined && waiting !== undefined ? { watcher, waiting } : undefined;
    return found !== undefined;
  });
  if (!found) throw new Error('there is no spare');
  return found;
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return []; // it has just ended
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // it has ended
  }
}

async function eventually(done: () => boolean): Promise<void> {
  const until = Date.now() + 10_000;
  while (!done()) {
    if (Date.now() > until) throw new Error(`expected it to come true within 10 s: ${done}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('namespaces that were made ahead', () => {
  itRuns('are those of the next sandbox, and others are made for the one after it', async () => {
    const first = await warmed();
    const net = readlinkSync(`/proc/${first.waiting}/ns/net`);
    await using sandbox = await startSandbox({ ...spec, command: ['/bin/sleep', '100'] }, QUIET);
    expect(sandbox.pid).toBe(first.waiting);
    expect(readlinkSync(`/proc/${sandbox.pid}/ns/net`)).toBe(net);
    const second = await spareOf(server?.pid ?? 0);
    expect(second.watcher).not.toBe(first.watcher);
    for (const kind of ['user', 'net', 'pid', 'ipc', 'uts']) {
      const own = readlinkSync(`/proc/self/ns/${kind}`);
      const both = [first.waiting, second.waiting].map((pid) => readlinkSync(`/proc/${pid}/ns/${kind}`));
      expect(new Set([own, ...both]).size, kind).toBe(3);
    }
  });

  itRuns('show in a sandbox nothing of that', async () => {
    const source =
      'cut -d " " -f 6 /proc/1/stat; cat /proc/1/comm; cat /sys/class/net/lo/flags; readlink /proc/self/fd/0; hostname; ls /proc/self/fd';
    server = await startLauncherServer({ spare: false });
    const plain = await script({ root }, source);
    await server.close();
    await warmed();
    expect((await script({ root }, source)).stdout.replace(/pipe:\S+/, '')).toBe(plain.stdout.replace(/pipe:\S+/, ''));
    expect(plain.stdout).toMatch(/^1\nsh\n0x9\npipe:\S+\nsandbox\n/);
  });

  itRuns('are not given to a sandbox that wants others', async () => {
    for (const [other, line] of [
      [{ network: { loopback: false } }, '0x8'],
      [{ namespaces: { ipc: false } }, '0x9'],
    ] as const) {
      const { watcher, waiting } = await warmed();
      const { stdout } = await script({ root, ...other }, 'cat /sys/class/net/lo/flags; readlink /proc/self/ns/ipc');
      expect(stdout.split('\n')[0]).toBe(line);
      expect(stdout.split('\n')[1] === readlinkSync('/proc/self/ns/ipc')).toBe('namespaces' in other);
      await eventually(() => nameOf(watcher) === '' && nameOf(waiting) === ''); // the next one will be like this one
      expect((await spareOf(server?.pid ?? 0)).watcher).not.toBe(watcher);
      await server?.close();
    }
  });

  itRuns('are not needed where the first process has been killed, or its watcher', async () => {
    const first = await warmed();
    process.kill(first.waiting, 'SIGKILL');
    expect(await script({ root }, 'echo one')).toMatchObject({ stdout: 'one\n' });
    const second = await spareOf(server?.pid ?? 0);
    process.kill(second.watcher, 'SIGKILL');
    await eventually(() => nameOf(second.watcher) === '' && nameOf(second.waiting) === '');
    expect(await script({ root }, 'echo two')).toMatchObject({ stdout: 'two\n' });
    await spareOf(server?.pid ?? 0);
  });

  itRuns('serve a plan of any size, though the largest ones make their own', async () => {
    await warmed();
    for (const size of [10, 60_000, 100_000]) {
      const { stdout } = await script({ root, env: { LONG: 'x'.repeat(size) } }, 'printf %s "$LONG" | wc -c');
      expect(stdout).toBe(`${size}\n`);
    }
  });

  itRuns('leave no process behind when the server ends, nor when it is told to keep none', async () => {
    const first = await warmed();
    await startLauncherServer({ spare: false });
    await eventually(() => nameOf(first.watcher) === '' && nameOf(first.waiting) === '');
    await (await startSandbox(spec, QUIET)).wait();
    await eventually(() => childrenOf(server?.pid ?? 0).length === 0);
    await startLauncherServer({ spare: true });
    const second = await warmed();
    await server?.close();
    expect([nameOf(second.watcher), nameOf(second.waiting)]).toEqual(['', '']);
  });

  itRoot('have the mounts that are outside when the sandbox starts', async () => {
    const late = `${workspace}/late`;
    mkdirSync(late);
    // With one id only, what is bound is opened inside.
    const bound: SandboxSpec = { ids: { type: 'single' }, command: ['/bin/sh', '-c', `cat ${late}/file`] };
    const { waiting } = await warmed({ ...bound, command: ['/bin/true'] });
    execFileSync('mount', ['-t', 'tmpfs', 'casemate', late]);
    try {
      writeFileSync(`${late}/file`, 'mounted since\n');
      const sandbox = await startSandbox(bound, { stdio: { stdin: 'ignore', stderr: 'ignore' } });
      expect(sandbox.pid).toBe(waiting);
      expect(await outcome(sandbox)).toMatchObject({ stdout: 'mounted since\n' });
    } finally {
      execFileSync('umount', [late]);
    }
  });

  itRoot('are in the cgroup of their sandbox before anything of it runs', async () => {
    await warmed();
    await using cgroup = await createCgroup({ limits: { pidsMax: 20 } });
    await using sandbox = await startSandbox({ ...spec, cgroup, command: ['/bin/sleep', '100'] }, QUIET);
    expect(await cgroup.members()).toEqual([sandbox.pid]);
  });
});
