import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CgroupError } from '../src/error.js';
import { parseHierarchies } from '../src/hierarchies.js';
import { planLimits, sharesOfWeight } from '../src/limit-writes.js';
import { buildName, parseName } from '../src/name.js';

describe('the mounted hierarchies', () => {
  it('are read from a machine with v2 alone', () => {
    const mountinfo =
      '35 24 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot';
    expect(parseHierarchies(mountinfo, '0::/user.slice/user-1000.slice/session-1.scope\n')).toEqual([
      {
        version: 2,
        mountpoint: '/sys/fs/cgroup',
        controllers: [],
        own: '/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope',
      },
    ]);
  });

  it('are read from a hybrid machine, co-mounted and named v1 hierarchies included', () => {
    const mountinfo = [
      '30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      '31 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
      '32 29 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd',
    ].join('\n');
    const cgroup = '3:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/\n';
    expect(parseHierarchies(mountinfo, cgroup)).toEqual([
      { version: 2, mountpoint: '/sys/fs/cgroup/unified', controllers: [], own: '/sys/fs/cgroup/unified' },
      {
        version: 1,
        mountpoint: '/sys/fs/cgroup/cpu,cpuacct',
        controllers: ['cpu', 'cpuacct'],
        own: '/sys/fs/cgroup/cpu,cpuacct/a',
      },
      {
        version: 1,
        mountpoint: '/sys/fs/cgroup/systemd',
        controllers: ['name=systemd'],
        own: '/sys/fs/cgroup/systemd/b:c',
      },
    ]);
  });

  it('know that a process outside the mounted part has no directory there', () => {
    const mountinfo = '31 29 0:27 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory';
    expect(parseHierarchies(mountinfo, '3:memory:/other\n')[0]?.own).toBeUndefined();
    expect(parseHierarchies(mountinfo, '3:memory:/docker/1/x\n')[0]?.own).toBe('/sys/fs/cgroup/memory/x');
    expect(parseHierarchies(mountinfo, '3:memory:/docker/12\n')[0]?.own).toBeUndefined();
  });

  it('survive any text', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (a, b) => Array.isArray(parseHierarchies(a, b))));
  });

  it('have their mount points unescaped', () => {
    const mountinfo = '35 24 0:29 / /sys/fs/c\\040g rw - cgroup2 cgroup2 rw';
    expect(parseHierarchies(mountinfo, '0::/\n')[0]?.mountpoint).toBe('/sys/fs/c g');
  });
});

describe('limits', () => {
  it('are written to the files of v2', () => {
    const limits = {
      memoryMax: 1n << 26n,
      swapMax: 0,
      pidsMax: 20,
      cpuMax: { quota: 50_000, period: 100_000 },
      cpuWeight: 50,
    };
    expect(planLimits(limits, 2).map(({ file, value }) => `${file}=${value}`)).toEqual([
      'memory.max=67108864',
      'memory.swap.max=0',
      'pids.max=20',
      'cpu.max=50000 100000',
      'cpu.weight=50',
    ]);
  });

  it('are written to the files of v1, where swap counts together with memory', () => {
    const limits = {
      memoryMax: 4096,
      swapMax: 4096,
      pidsMax: 1,
      cpuMax: { quota: 1_000, period: 1_000 },
      cpuWeight: 10_000,
    };
    expect(planLimits(limits, 1).map(({ file, value }) => `${file}=${value}`)).toEqual([
      'memory.limit_in_bytes=4096',
      'memory.memsw.limit_in_bytes=8192',
      'pids.max=1',
      'cpu.cfs_period_us=1000',
      'cpu.cfs_quota_us=1000',
      'cpu.shares=262144',
    ]);
  });

  it('map the ends of the weight range to the ends of the shares range', () => {
    expect([sharesOfWeight(1), sharesOfWeight(10_000)]).toEqual([2, 262_144]);
  });

  it('are refused where the kernel could not hold them', () => {
    const wrong = [
      { memoryMax: -1 },
      { memoryMax: 1.5 },
      { memoryMax: Number.NaN },
      { pidsMax: 0 },
      { cpuWeight: 0 },
      { cpuMax: { quota: 50_000, period: 10 } },
    ];
    for (const limits of wrong) {
      expect(() => planLimits(limits, 2), JSON.stringify(limits)).toThrow(CgroupError);
      expect(() => planLimits(limits, 1), JSON.stringify(limits)).toThrow(/expected/);
    }
  });

  it('hold if the kernel rounded down, and do not if it gave more', () => {
    const [write] = planLimits({ memoryMax: 5000 }, 2);
    expect(['4096', '5000', '8192', 'max', ''].map((back) => write?.holds(back))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe('names', () => {
  it('tell their owner', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.nat(), (label, pid, start) => {
        const owner = { namespaces: '40265318364026531834', pid, startTime: String(start) };
        const name = buildName(label, owner);
        expect(parseName(name)).toEqual(owner);
        expect(name).toMatch(/^[A-Za-z0-9_.-]{1,200}$/);
      }),
    );
  });

  it('of others are not taken for ours', () => {
    fc.assert(fc.property(fc.string(), (text) => parseName(text) === undefined));
    expect(parseName('docker')).toBeUndefined();
    expect(parseName('../x.1.2.3.0123456789ab')).toBeUndefined();
  });
});
