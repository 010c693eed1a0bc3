import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { type Cgroup, CgroupError, createCgroup, destroyOrphanCgroups, probeCgroups } from '../src/index.js';
import { buildName } from '../src/name.js';
import { itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
const found = await probeCgroups();
const canLimit = Object.values(found.limits).some((limit) => limit.available);
const itLimits = itNeeds(
  canLimit && found.limits.memoryMax.available,
  'this user may not create cgroups with limits here',
);
const itAsRoot = itNeeds(isRoot, 'only root can start programs as another user');

const children: ChildProcess[] = [];
const temporary = mkdtempSync(`${tmpdir()}/casemate-cgroups-`);

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(temporary, { recursive: true });
});

function run(...argv: readonly string[]): ChildProcess {
  const child = spawn('/bin/sh', ['-c', ...argv], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  return child;
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the child did not start');
  return child.pid;
}

describe('a cgroup', () => {
  itLimits('has each limit that was asked for, as the kernel tells', async () => {
    await using cgroup = await createCgroup({
      limits: { memoryMax: 32 << 20, pidsMax: 12, cpuMax: { quota: 20_000, period: 100_000 } },
    });
    const read = (controller: string, v2: string, v1: string): string => {
      const at = cgroup.directories.find((d) => d.controllers.includes(controller));
      return readFileSync(`${at?.path}/${at?.version === 2 ? v2 : v1}`, 'utf8').trim();
    };
    expect(read('memory', 'memory.max', 'memory.limit_in_bytes')).toBe(String(32 << 20));
    expect(read('pids', 'pids.max', 'pids.max')).toBe('12');
    expect(read('cpu', 'cpu.max', 'cpu.cfs_quota_us')).toMatch(/^20000/);
  });

  itLimits('kills a member that uses more memory than it may', async () => {
    await using cgroup = await createCgroup({ limits: { memoryMax: 16 << 20 } });
    const glutton = run('sleep 0.3; exec dd if=/dev/zero of=/dev/null bs=200M count=1');
    await cgroup.add(pidOf(glutton));
    expect(await ended(glutton)).toEqual({ code: null, signal: 'SIGKILL' });
    const { memory } = await cgroup.stats();
    expect(memory?.oomKills).toBeGreaterThan(0n);
    expect(memory?.peak).toBeLessThanOrEqual(16n << 20n);
  });

  itLimits('stops a fork bomb', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 5 } });
    const bomb = run('sleep 0.3; i=0; while [ $i -lt 40 ]; do sleep 20 & i=$((i+1)); done; wait');
    await cgroup.add(pidOf(bomb));
    expect((await ended(bomb)).code).toBe(2); // the shell gives up: it cannot fork
    expect((await cgroup.stats()).pids?.current).toBeLessThanOrEqual(5);
  });

  itLimits('freezes its members and lets them go on', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 50 }, accounting: ['cpuacct'] });
    const busy = run('sleep 0.2; while :; do :; done');
    await cgroup.add(pidOf(busy));
    await new Promise((resolve) => setTimeout(resolve, 600));
    await cgroup.freeze();
    const used = (await cgroup.stats()).cpu?.usage ?? 0n;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await cgroup.stats()).cpu?.usage).toBe(used);
    expect(used).toBeGreaterThan(0n);
    await cgroup.thaw();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await cgroup.stats()).cpu?.usage).toBeGreaterThan(used);
  });

  itLimits('kills all members, frozen and nested ones too, and leaves nothing when it is destroyed', async () => {
    const cgroup = await createCgroup({ limits: { pidsMax: 50 } });
    const child = run('sleep 0.2; sleep 50 & sleep 50 & wait');
    await cgroup.add(pidOf(child));
    for (const { path } of cgroup.directories) mkdirSync(`${path}/nested`);
    const nested = run('sleep 50');
    await cgroup.add(pidOf(nested));
    await cgroup.freeze();
    const [a, b] = [ended(child), ended(nested)];
    await cgroup.destroy();
    expect([(await a).signal, (await b).signal]).toEqual(['SIGKILL', 'SIGKILL']);
    expect(cgroup.directories.filter(({ path }) => existsSync(path))).toEqual([]);
    await cgroup.destroy();
  });

  itLimits('lists members once, whatever the number of hierarchies', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 50, memoryMax: 64 << 20 } });
    const child = run('exec sleep 20');
    await cgroup.add(pidOf(child));
    expect(await cgroup.members()).toEqual([child.pid]);
    await cgroup.killAll();
    expect(await cgroup.members()).toEqual([]);
  });

  itLimits('takes no process id that is none', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 50 } });
    for (const pid of [0, -1, 1.5, Number.NaN]) await expect(cgroup.add(pid)).rejects.toThrow(CgroupError);
    await expect(cgroup.add(4_000_000)).rejects.toMatchObject({ code: 'io' });
  });

  it('is not made for a limit that makes no sense', async () => {
    await expect(createCgroup({ limits: { pidsMax: 0 } })).rejects.toMatchObject({
      code: 'bad-limit',
      limit: 'pidsMax',
    });
  });

  itLimits('can be made many times at once', async () => {
    const made = await Promise.all(Array.from({ length: 12 }, () => createCgroup({ limits: { pidsMax: 5 } })));
    expect(new Set(made.map((c) => c.name)).size).toBe(12);
    await Promise.all(made.map((c) => c.destroy()));
    expect(made.flatMap((c) => c.directories).filter(({ path }) => existsSync(path))).toEqual([]);
  });
});

describe('events', () => {
  itAsRoot('leave no listener at their abort signal, however many there are', async () => {
    await using cgroup = await createCgroup();
    const abort = new AbortController();
    const restless = (async () => {
      for (let frozen = true; !abort.signal.aborted; frozen = !frozen) {
        await (frozen ? cgroup.freeze() : cgroup.thaw());
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    let seen = 0;
    for await (const _ of cgroup.events({ signal: abort.signal, interval: 5 })) {
      if (++seen === 20) abort.abort();
      expect(getEventListeners(abort.signal, 'abort').length).toBeLessThan(2);
    }
    expect(seen).toBeGreaterThanOrEqual(20);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    await restless;
  });
});

describe('orphans', () => {
  itLimits('of a killed program are found and destroyed, members included; those of a living one are not', async () => {
    await using mine = await createCgroup({ limits: { pidsMax: 50 } });
    const left = orphansOf(mine);
    for (const path of left) mkdirSync(path);
    const member = run('exec sleep 50');
    writeFileSync(`${left[0]}/cgroup.procs`, String(pidOf(member)));
    const end = ended(member);
    const destroyed = await destroyOrphanCgroups();
    expect(destroyed).toEqual(expect.arrayContaining([...left]));
    expect((await end).signal).toBe('SIGKILL');
    expect(left.filter((path) => existsSync(path))).toEqual([]);
    expect(mine.directories.filter(({ path }) => !existsSync(path))).toEqual([]);
  });
});

describe('the cgroup of a program that lives', () => {
  itAsRoot(
    'is no orphan to those with other clocks, nor to those with the /proc of another pid namespace',
    async () => {
      await using mine = await createCgroup();
      const program = `${temporary}/list.mjs`;
      await build({
        stdin: {
          resolveDir: import.meta.dirname,
          contents: `import { createCgroup, listCgroups } from '../src/index.js';
          const [other, makes] = process.argv.slice(2);
          await using own = makes ? await createCgroup() : undefined;
          const seen = (await listCgroups()).filter(({ name }) => name === other || name === own?.name);
          console.log(JSON.stringify(seen.map(({ isOrphan }) => isOrphan)));`,
        },
        bundle: true,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        outfile: program,
        logLevel: 'error',
      });
      // The outside, whose /proc it has, seldom has a process of this number.
      const renumbered = [
        '--pid',
        '--fork',
        '/bin/sh',
        '-c',
        'echo 32000 > /proc/sys/kernel/ns_last_pid; "$0" "$@"; :',
      ];
      const ahead = ['--time', '--boottime', '1000000', '--fork'];
      for (const [elsewhere, seen, ...makes] of [
        [ahead, '[false]\n'],
        [renumbered, '[false,false]\n', 'one too'],
      ] as const) {
        const args = [...elsewhere, process.execPath, program, mine.name, ...makes];
        expect((await promisify(execFile)('unshare', args)).stdout).toBe(seen);
      }
    },
  );
});

// Directories as a program would have left them that had this process's id but started at another time.
function orphansOf(like: Cgroup): readonly string[] {
  const [, namespaces = '0'] = like.name.split('.');
  const name = buildName('left', { namespaces, pid: process.pid, startTime: '1' });
  return like.directories.map(({ path }) => `${path.slice(0, path.lastIndexOf('/'))}/${name}`);
}

describe('an ordinary user', () => {
  const program = `${temporary}/limits.mjs`;

  itAsRoot(
    'is refused a limit that cannot be given, by name and with a remedy; unless it agrees to go without',
    async () => {
      await build({
        stdin: {
          resolveDir: import.meta.dirname,
          contents: `import { createCgroup } from '../src/index.js';
          const limits = { pidsMax: 5 };
          const refused = await createCgroup({ limits }).catch(({ code, limit, remedy }) => ({ code, limit, remedy }));
          const without = await createCgroup({ limits, insecureSkipMissingLimits: true });
          console.log(JSON.stringify({ refused, missing: without.missing, directories: without.directories }));`,
        },
        bundle: true,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        outfile: program,
        logLevel: 'error',
      });
      chmodSync(temporary, 0o755);
      const { stdout } = await promisify(execFile)(process.execPath, [program], { uid: 65534, gid: 65534 });
      const result = JSON.parse(stdout);
      expect(result.refused).toMatchObject({ code: 'limit-unavailable', limit: 'pidsMax' });
      expect(result.refused.remedy).toMatch(/root/);
      expect(result.missing).toHaveLength(1);
      expect(result.directories).toEqual([]);
    },
  );
});

describe('probing', () => {
  it('agrees with what creating does', async () => {
    for (const [name, { available, reason, remedy }] of Object.entries(found.limits)) {
      expect(reason, name).not.toBe('');
      expect(remedy === undefined, name).toBe(available);
    }
    if (!found.limits.pidsMax.available) {
      await expect(createCgroup({ limits: { pidsMax: 5 } })).rejects.toThrow(CgroupError);
    }
  });
});
