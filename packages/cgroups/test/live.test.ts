/** Cgroups of this machine, whichever version gives what: every limit is shown to bite, not only to be written. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  type Cgroup,
  CgroupError,
  type CgroupEvent,
  createCgroup,
  listCgroups,
  openCgroup,
  probeCgroups,
  readHierarchies,
} from '../src/index.js';
import { itElsewhere, itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
const found = await probeCgroups();
const temporary = mkdtempSync(`${tmpdir()}/casemate-cgroups-live-`);
const children: ChildProcess[] = [];
const hasV2 = found.hierarchies.some((h) => h.version === 2 && h.writable);

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(temporary, { recursive: true });
});

const isWeighing = await weighs();

const itCan = (limit: keyof typeof found.limits): ReturnType<typeof itNeeds> =>
  itNeeds(found.limits[limit].available, `${limit}: ${found.limits[limit].reason}`);
const itWithV2 = itNeeds(hasV2, 'there is no v2 hierarchy for this user');
const itPids = itCan('pidsMax');

/** Runs a shell script that starts once it is a member. */
async function member(cgroup: Cgroup, script: string): Promise<ChildProcess> {
  const child = spawn('/bin/sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'pipe', 'ignore'] });
  children.push(child);
  await cgroup.add(child.pid ?? 0);
  child.stdin?.end('\n');
  return child;
}

async function end(child: ChildProcess): Promise<{ out: string; code: number | null; signal: string | null }> {
  let out = '';
  child.stdout?.on('data', (chunk: Uint8Array) => {
    out += new TextDecoder().decode(chunk);
  });
  return new Promise((resolve) => child.once('close', (code, signal) => resolve({ out, code, signal })));
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

function control(cgroup: Cgroup, controller: string, v2: string, v1: string): string {
  const at = cgroup.directories.find((d) => d.controllers.includes(controller));
  return readFileSync(`${at?.path}/${at?.version === 2 ? v2 : v1}`, 'utf8').trim();
}

describe('a limit', () => {
  itCan('cpuMax')('of CPU time holds a busy member back, and counts the periods', async () => {
    await using cgroup = await createCgroup({
      limits: { cpuMax: { quota: 10_000, period: 50_000 } },
      accounting: ['cpuacct'],
    });
    await member(cgroup, 'while :; do :; done');
    await pause(1_000);
    const before = (await cgroup.stats()).cpu?.usage ?? 0n;
    const start = process.hrtime.bigint();
    await pause(1_500);
    const { cpu } = await cgroup.stats();
    const share = Number((cpu?.usage ?? 0n) - before) / (Number(process.hrtime.bigint() - start) / 1000);
    expect(share).toBeLessThan(0.35); // 0.2 was asked for
    expect(cpu?.periods?.throttled).toBeGreaterThan(0n);
    expect(cpu?.throttled).toBeGreaterThan(0n);
  });

  itCan('cpusetCpus')('of CPUs binds members to them', async () => {
    await using cgroup = await createCgroup({ limits: { cpusetCpus: [0], cpusetMems: '0' } });
    const { out } = await end(await member(cgroup, 'grep Cpus_allowed_list /proc/self/status'));
    expect(out.trim()).toMatch(/\t0$/);
  });

  itCan('cpusetCpus')('of CPUs that are not there is refused, and nothing is left', async () => {
    const before = names();
    const refused = createCgroup({ limits: { cpusetCpus: '8000' } });
    await expect(refused).rejects.toMatchObject({ name: 'CgroupError', limit: 'cpusetCpus' });
    expect(names()).toEqual(before);
  });

  itCan('pidsMax')('can be changed while members run', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 3 } });
    const fork = 'sleep 2 & sleep 2 & sleep 2 & sleep 2 & echo all';
    expect((await end(await member(cgroup, `(${fork}) 2>/dev/null`))).out).not.toContain('all');
    await cgroup.killAll();
    await cgroup.setLimits({ pidsMax: 'max' });
    const child = await member(cgroup, `${fork}; exec >&-; exit`);
    const all = end(child);
    await pause(300);
    await cgroup.killAll();
    expect((await all).out).toContain('all');
    expect((await cgroup.stats()).pids?.maxEvents).toBeGreaterThan(0n);
  });

  itCan('memoryMax')('of memory is raised and lowered, its swap with it', async () => {
    const swap = found.limits.swapMax.available;
    await using cgroup = await createCgroup({ limits: { memoryMax: 32 << 20, ...(swap && { swapMax: 0 }) } });
    for (const size of [64, 16, 128]) {
      await cgroup.setLimits({ memoryMax: size << 20, ...(swap && { swapMax: 1 << 20 }) });
      expect(control(cgroup, 'memory', 'memory.max', 'memory.limit_in_bytes')).toBe(String(size << 20));
    }
    await cgroup.setLimits({ memoryMax: 'max' });
    expect(
      BigInt(control(cgroup, 'memory', 'memory.max', 'memory.limit_in_bytes').replace('max', String(1n << 62n))),
    ).toBeGreaterThan(1n << 60n);
  });

  itElsewhere(found.limits.memoryHigh.available, `memoryHigh: ${found.limits.memoryHigh.reason}`)(
    'of memory that slows down does so, and is counted',
    async () => {
      await using cgroup = await createCgroup({ limits: { memoryHigh: 8 << 20, memoryMax: 256 << 20 } });
      const file = `${temporary}/filler`;
      await end(await member(cgroup, `dd if=/dev/zero of=${file} bs=1M count=40; cat ${file} >/dev/null`));
      expect((await cgroup.stats()).memory?.highEvents).toBeGreaterThan(0n);
    },
  );

  itCan('memoryLow')('that guarantees memory is held', async () => {
    await using cgroup = await createCgroup({ limits: { memoryLow: 4 << 20 } });
    expect(control(cgroup, 'memory', 'memory.low', 'memory.soft_limit_in_bytes')).toBe(String(4 << 20));
  });

  const disk = wholeDisk();
  itNeeds(found.limits.ioMax.available && disk !== undefined, `ioMax: ${found.limits.ioMax.reason}, disk ${disk}`)(
    'of disk throughput slows a reader down, and the bytes are counted',
    async () => {
      const file = `${temporary}/read`;
      execFileSync('dd', ['if=/dev/zero', `of=${file}`, 'bs=256k', 'count=12', 'conv=fsync'], { stdio: 'ignore' });
      const device = disk ?? '';
      await using cgroup = await createCgroup({ limits: { ioMax: [{ device, readBps: 512 << 10 }] } });
      const read = `exec dd if=${file} of=/dev/null bs=256k count=12 iflag=direct`;
      const start = Date.now();
      expect((await end(await member(cgroup, read))).code).toBe(0);
      const limited = Date.now() - start;
      expect(limited).toBeGreaterThan(4_000); // 3 MiB at 512 KiB a second
      expect((await cgroup.stats()).io?.[device]?.readBytes).toBeGreaterThanOrEqual(3n << 20n);
      await cgroup.setLimits({ ioMax: [{ device, readBps: 'max' }] });
      const again = Date.now();
      expect((await end(await member(cgroup, read))).code).toBe(0);
      expect(Date.now() - again).toBeLessThan(limited * 0.8);
    },
  );

  itCan('ioMax')('of a device that is no disk is refused', async () => {
    await expect(createCgroup({ limits: { ioMax: [{ device: '/dev/null', readBps: 1 }] } })).rejects.toMatchObject({
      code: 'bad-limit',
    });
    await expect(createCgroup({ limits: { ioMax: [{ device: '4000:1', readBps: 1 }] } })).rejects.toMatchObject({
      code: 'limit-unavailable',
      remedy: expect.stringContaining('whole disk'),
    });
  });

  itCan('hugetlbMax')('of huge pages is held, and they are counted', async () => {
    await using cgroup = await createCgroup({ limits: { hugetlbMax: { '2MB': 4 << 20 } } });
    expect(control(cgroup, 'hugetlb', 'hugetlb.2MB.max', 'hugetlb.2MB.limit_in_bytes')).toBe(String(4 << 20));
    expect((await cgroup.stats()).hugetlb?.['2MB']?.current).toBe(0n);
  });

  itElsewhere(found.limits.ioWeight.available && isWeighing, 'no disk has the bfq scheduler or iocost')(
    'of share of the disks is held where one is weighed',
    async () => {
      await using cgroup = await createCgroup({ limits: { ioWeight: 50 } });
      const bfq = cgroup.directories.flatMap(({ path }) => ['io.weight', 'io.bfq.weight'].map((f) => `${path}/${f}`));
      const file = bfq.find(existsSync) ?? '';
      expect(readFileSync(file, 'utf8')).toMatch(/^default 50$/m);
      await cgroup.setLimits({ ioWeight: 900 });
      expect(readFileSync(file, 'utf8')).toMatch(/^default 900$/m);
    },
  );

  it('of share of the disks is refused where nothing weighs them, and missing where it is optional', async () => {
    if (found.limits.ioWeight.available && isWeighing) return;
    await expect(createCgroup({ limits: { ioWeight: 50 } })).rejects.toMatchObject({
      code: 'limit-unavailable',
      limit: 'ioWeight',
    });
    if (!found.limits.pidsMax.available) return;
    await using cgroup = await createCgroup({ limits: { ioWeight: 50, pidsMax: 9 }, optionalLimits: ['ioWeight'] });
    expect(cgroup.missing.map(({ limit }) => limit)).toEqual(['ioWeight']);
  });

  itPids('of a controller that the cgroup has not is refused later, with what to do', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 9 } });
    await expect(cgroup.setLimits({ memoryMax: 1 << 20 })).rejects.toMatchObject({
      code: 'limit-unavailable',
      remedy: expect.stringContaining('accounting'),
    });
  });
});

describe('devices in v1', () => {
  const itV1 = itNeeds(
    isRoot && found.hierarchies.some((h) => h.controllers.includes('devices')),
    'there is no v1 devices hierarchy',
  );

  itV1('are refused unless a rule allows them, and that can be changed', async () => {
    await using cgroup = await createCgroup({
      limits: { devices: [{ allow: true, type: 'char', major: 1, minor: 3 }] },
    });
    const attempt = 'for d in null zero; do (: < /dev/$d) && echo $d; done; true';
    expect((await end(await member(cgroup, attempt))).out).toBe('null\n');
    await cgroup.setLimits({ devices: [{ allow: true, type: 'char', major: 1, minor: 5, access: 'r' }] });
    expect((await end(await member(cgroup, attempt))).out).toBe('zero\n');
    await cgroup.setLimits({ devices: [{ allow: true, type: 'all' }] });
    expect((await end(await member(cgroup, attempt))).out).toBe('null\nzero\n');
  });

  itV1('that v1 cannot hold are refused before anything is made', async () => {
    const before = names();
    const devices = [
      { allow: true, type: 'char', major: 1 },
      { allow: false, type: 'char', major: 1, minor: 3 },
    ] as const;
    await expect(createCgroup({ limits: { devices } })).rejects.toMatchObject({ code: 'bad-limit', limit: 'devices' });
    expect(names()).toEqual(before);
  });
});

describe('events', () => {
  itCan('memoryMax')('tell of members, of killing for want of memory, and of the end', async () => {
    const cgroup = await createCgroup({ limits: { memoryMax: 16 << 20, pidsMax: 30 } });
    const seen: CgroupEvent[] = [];
    const events = cgroup.events({ interval: 20 });
    const watching = (async () => {
      for await (const event of events) seen.push(event);
    })();
    await end(await member(cgroup, 'sleep 0.3; exec dd if=/dev/zero of=/dev/null bs=200M count=1'));
    await pause(300);
    await cgroup.destroy();
    await watching;
    const types = seen.map(({ type }) => type);
    expect(types).toEqual(expect.arrayContaining(['populated', 'oom-kill', 'empty']));
    expect(types.indexOf('populated')).toBeLessThan(types.indexOf('oom-kill'));
  });

  itPids('tell of forks that were refused and of freezing, and end when they are no longer wanted', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 3 } });
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { type } of cgroup.events({ interval: 20, signal: stop.signal })) seen.push(type);
    })();
    await end(await member(cgroup, '(sleep 2 & sleep 2 & sleep 2 & sleep 2) 2>/dev/null'));
    await pause(100);
    await cgroup.freeze();
    await pause(100);
    await cgroup.thaw();
    await pause(100);
    stop.abort();
    await watching;
    expect(seen).toEqual(expect.arrayContaining(['populated', 'pids-max', 'frozen', 'thawed']));
  });

  itPids('of one cgroup do not hold up a loop that is left', async () => {
    await using cgroup = await createCgroup({ limits: { pidsMax: 3 } });
    const events = cgroup.events({ interval: 20 });
    await member(cgroup, 'sleep 5');
    for await (const { type } of events) {
      expect(type).toBe('populated');
      break;
    }
  });
});

describe('pressure', () => {
  itWithV2('is told for each resource, and a wait that is long enough is told when it comes', async () => {
    const limits = found.limits.cpuMax.available ? { cpuMax: { quota: 5_000, period: 50_000 } } : {};
    await using cgroup = await createCgroup({ limits });
    const { cpu } = await cgroup.pressure();
    expect(cpu?.some.total).toBe(0n);
    const busy = 'while :; do :; done';
    for (let i = 0; i < 4; i++) await member(cgroup, busy); // more than there are CPUs
    const events = cgroup.watchPressure({
      resource: 'cpu',
      stall: 10_000,
      window: 400_000,
      signal: AbortSignal.timeout(20_000),
    });
    const first = await events.next();
    expect(first.value?.stalled).toBeGreaterThanOrEqual(10_000n);
    await events.return?.();
    await expect(cgroup.watchPressure({ resource: 'cpu', stall: 2, window: 1 }).next()).rejects.toMatchObject({
      code: 'bad-limit',
    });
  });
});

describe('killing', () => {
  const bomb = 'bomb() { while :; do (bomb) & done; }; bomb 2>/dev/null';

  itPids('ends a fork bomb', async () => {
    const cgroup = await createCgroup({ limits: { pidsMax: 60 } });
    await member(cgroup, bomb);
    await vi.waitFor(async () => expect((await cgroup.stats()).pids?.current).toBeGreaterThan(5), { timeout: 10_000 });
    await cgroup.destroy();
    expect(cgroup.directories.filter(({ path }) => existsSync(path))).toEqual([]);
  });

  for (const controller of ['freezer', 'pids']) {
    const home = found.hierarchies.find((h) => h.version === 1 && h.controllers.includes(controller));
    const itV1 = itNeeds(isRoot && home !== undefined, `there is no v1 ${controller} hierarchy`);
    itV1(`ends a fork bomb through the v1 ${controller} hierarchy alone`, async () => {
      const parent = `${home?.mountpoint}/casemate-test-${process.pid}`;
      mkdirSync(parent);
      try {
        const limits = controller === 'pids' ? { limits: { pidsMax: 60 } } : {};
        const cgroup = await createCgroup({ within: parent, ...limits });
        expect(cgroup.directories.map((d) => d.controllers)).toEqual([[controller]]);
        // Without a limit of processes the bomb bounds itself.
        await member(
          cgroup,
          controller === 'pids' ? bomb : 'i=0; while :; do sleep 0.2 & i=$((i+1)); [ $((i%30)) = 0 ] && wait; done',
        );
        await pause(400);
        await cgroup.destroy();
        expect(readdirSync(parent).filter((name) => name === 'casemate')).toEqual([]);
      } finally {
        rmdirSync(parent);
      }
    });
  }
});

describe('cgroups of this package', () => {
  itPids('are listed and opened again by name', async () => {
    await using cgroup = await createCgroup({ label: 'findme', limits: { pidsMax: 9 } });
    const entry = (await listCgroups()).find(({ name }) => name === cgroup.name);
    expect(entry).toMatchObject({ label: 'findme', owner: process.pid, isOrphan: false });
    expect(entry?.directories.map((d) => d.path).sort()).toEqual(cgroup.directories.map((d) => d.path).sort());
    const again = await openCgroup(cgroup.name);
    await again.setLimits({ pidsMax: 4 });
    expect(control(cgroup, 'pids', 'pids.max', 'pids.max')).toBe('4');
    for (const name of ['x', '../..', '', `${cgroup.name}/..`]) {
      await expect(openCgroup(name)).rejects.toMatchObject({ code: 'not-found' });
    }
  });

  itPids('that were removed and made again by another are not touched', async () => {
    const cgroup = await createCgroup({ limits: { pidsMax: 9 } });
    const [{ path = '' } = {}] = cgroup.directories;
    const keep = `${path.slice(0, path.lastIndexOf('/'))}/keep-${process.pid}`;
    mkdirSync(keep); // holds the parent
    rmdirSync(path);
    mkdirSync(path);
    const child = spawn('/bin/sleep', ['30']);
    children.push(child);
    writeFileSync(`${path}/cgroup.procs`, String(child.pid));
    await cgroup.destroy();
    expect(existsSync(path)).toBe(true);
    expect(child.exitCode ?? child.signalCode).toBeNull();
    await expect(cgroup.add(process.pid)).rejects.toMatchObject({ code: 'gone' });
    await expect(cgroup.setLimits({ pidsMax: 1 })).rejects.toMatchObject({ code: 'gone' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    for (const stale of [path, keep]) await removed(stale);
    await removed(path.slice(0, path.lastIndexOf('/'))).catch(() => undefined);
  });

  itPids('are made and removed at once by several programs without loss', async () => {
    const rounds = Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 6; i++) {
        const cgroup = await createCgroup({ limits: { pidsMax: 9 } });
        expect(control(cgroup, 'pids', 'pids.max', 'pids.max')).toBe('9');
        await cgroup.destroy();
      }
    });
    await Promise.all(rounds);
  });

  itNeeds(isRoot && found.limits.pidsMax.available, 'it needs root')(
    'are made in a subtree that was handed over, and only there',
    async () => {
      const pids = found.hierarchies.find((h) => h.controllers.includes('pids'));
      const given = `${pids?.mountpoint}/casemate-given-${process.pid}`;
      mkdirSync(given);
      try {
        await using cgroup = await createCgroup({ within: given, limits: { pidsMax: 9 } });
        expect(cgroup.directories.map((d) => d.path)).toEqual([expect.stringContaining(`${given}/casemate/`)]);
        expect((await listCgroups({ within: given })).map((e) => e.name)).toEqual([cgroup.name]);
        await expect(createCgroup({ within: temporary })).rejects.toMatchObject({ code: 'no-hierarchy' });
        await expect(createCgroup({ within: `${given}/none` })).rejects.toThrow(CgroupError);
      } finally {
        await removed(given);
      }
    },
  );
});

async function removed(path: string): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      return rmdirSync(path);
    } catch {
      await pause(20);
    }
  }
  rmdirSync(path);
}

/** What lies in the homes of our cgroups. */
function names(): readonly string[] {
  return found.hierarchies.flatMap(({ mountpoint }) => {
    const home = `${mountpoint}/casemate`;
    return existsSync(home) ? readdirSync(home).filter((name) => name.includes(`.${process.pid}.`)) : [];
  });
}

/** The whole disk below the temporary directory, as MAJOR:MINOR; undefined if there is none. */
function wholeDisk(): string | undefined {
  const { dev } = statSync(temporary, { bigint: true });
  const number = `${(dev >> 8n) & 0xfffn}:${dev & 0xffn}`;
  const known = existsSync(`/sys/dev/block/${number}`) && !existsSync(`/sys/dev/block/${number}/partition`);
  return known ? number : undefined;
}

async function weighs(): Promise<boolean> {
  const [{ mountpoint = '' } = {}] = (await readHierarchies()).filter((h) => h.version === 2);
  const qos = existsSync(`${mountpoint}/io.cost.qos`) ? readFileSync(`${mountpoint}/io.cost.qos`, 'utf8') : '';
  const schedulers = execFileSync('sh', ['-c', 'cat /sys/block/*/queue/scheduler || true'], { encoding: 'utf8' });
  return qos.includes('enable=1') || schedulers.includes('[bfq]');
}
