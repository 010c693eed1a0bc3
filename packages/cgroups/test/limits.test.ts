import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CgroupError } from '../src/error.js';
import { eventsBetween } from '../src/events.js';
import { parseIdList, printIdList } from '../src/id-list.js';
import { blkioOfWeight, type LimitWrite, planLimits } from '../src/limit-writes.js';
import type { CgroupLimits } from '../src/limits.js';
import { parsePressure } from '../src/pressure.js';
import { parseBlkio, parseFlat, parseIoStat } from '../src/stats.js';

const spelled = (limits: CgroupLimits, version: 1 | 2): readonly string[] =>
  planLimits(limits, version).map(({ file, value }) => `${file}=${value}`);

function only(limits: CgroupLimits, version: 1 | 2): LimitWrite {
  const [write] = planLimits(limits, version);
  if (!write) throw new Error('no write');
  return write;
}

describe('limits', () => {
  it('of memory have all four bounds in v2, and the soft one in v1', () => {
    const limits = { memoryMax: 8192, memoryHigh: 4096, memoryLow: 'max', memoryMin: 0 } as const;
    expect(spelled(limits, 2)).toEqual(['memory.max=8192', 'memory.high=4096', 'memory.low=max', 'memory.min=0']);
    expect(spelled(limits, 1)).toEqual(['memory.limit_in_bytes=8192', 'memory.soft_limit_in_bytes=-1']);
  });

  it('of disks are written a line for each device', () => {
    const ioMax = [
      { device: '8:0', readBps: 1_048_576, writeIops: 20 },
      { device: '8:16', writeBps: 'max' },
    ] as const;
    expect(spelled({ ioMax, ioWeight: 10_000 }, 2)).toEqual([
      'io.weight=default 10000',
      'io.max=8:0 rbps=1048576 wiops=20',
      'io.max=8:16 wbps=max',
    ]);
    expect(spelled({ ioMax, ioWeight: 10_000 }, 1)).toEqual([
      'blkio.weight=1000',
      'blkio.throttle.read_bps_device=8:0 1048576',
      'blkio.throttle.write_iops_device=8:0 20',
      'blkio.throttle.write_bps_device=8:16 0',
    ]);
    expect([blkioOfWeight(1), blkioOfWeight(10_000)]).toEqual([10, 1000]);
  });

  it('of disks hold only if the line of the device says so', () => {
    const write = only({ ioMax: [{ device: '8:0', readBps: 100 }] }, 2);
    expect(write.holds('8:16 rbps=100\n8:0 rbps=100 wbps=max riops=max wiops=max')).toBe(true);
    expect(write.holds('8:16 rbps=100')).toBe(false);
    expect(write.holds('8:0 rbps=1000 wbps=100')).toBe(false);
    const freed = only({ ioMax: [{ device: '8:0', readBps: 'max' }] }, 1);
    expect([freed.holds(''), freed.holds('8:0 5')]).toEqual([true, false]);
  });

  it('of CPUs are a list, and what the kernel uses instead does not pass for it', () => {
    expect(spelled({ cpusetCpus: [3, 0, 1, 1], cpusetMems: '0' }, 2)).toEqual(['cpuset.cpus=0-1,3', 'cpuset.mems=0']);
    const write = only({ cpusetCpus: '0-1' }, 2);
    expect([write.holds('0-1'), write.holds('0-3'), write.holds('0')]).toEqual([true, false, false]);
  });

  it('of CPU time have a burst, and no quota', () => {
    expect(spelled({ cpuMax: { quota: 50_000, period: 100_000, burst: 10_000 } }, 2)).toEqual([
      'cpu.max=50000 100000',
      'cpu.max.burst=10000',
    ]);
    expect(spelled({ cpuMax: { quota: 'max', period: 100_000 } }, 1)).toEqual([
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=-1',
    ]);
  });

  it('of huge pages bound reservations too, where the kernel can', () => {
    const writes = planLimits({ hugetlbMax: { '2MB': 4 << 20 } }, 2);
    expect(writes.map(({ file, extra }) => [file, extra])).toEqual([
      ['hugetlb.2MB.max', undefined],
      ['hugetlb.2MB.rsvd.max', true],
    ]);
    expect(spelled({ hugetlbMax: { '1GB': 'max' } }, 1)[0]).toBe('hugetlb.1GB.limit_in_bytes=-1');
  });

  it('taken away hold if none is left', () => {
    expect(only({ memoryMax: 'max' }, 2).holds('max')).toBe(true);
    expect(only({ memoryMax: 'max' }, 1).holds('9223372036854771712')).toBe(true);
    expect(only({ memoryMax: 'max' }, 1).holds('4096')).toBe(false);
  });

  it('that no kernel could hold are refused by name', () => {
    const wrong: readonly (readonly [string, CgroupLimits])[] = [
      ['memoryHigh', { memoryHigh: -1 }],
      ['cpusetCpus', { cpusetCpus: '3-1' }],
      ['cpusetCpus', { cpusetCpus: [] }],
      ['ioWeight', { ioWeight: 10_001 }],
      ['ioMax', { ioMax: [{ device: 'sda', readBps: 1 }] }],
      ['ioMax', { ioMax: [{ device: '8:0' }] }],
      ['ioMax', { ioMax: [{ device: '8:0', readBps: 0 }] }],
      ['hugetlbMax', { hugetlbMax: { '../x': 1 } }],
      ['cpuMax', { cpuMax: { quota: 'max', period: 100_000, burst: 1 } }],
      ['devices', { devices: [{ allow: true, type: 'char', access: 'x' }] }],
      ['pidMax', JSON.parse('{"pidMax":3}')],
    ];
    for (const [limit, limits] of wrong) {
      expect(() => planLimits(limits, 2), JSON.stringify(limits)).toThrow(CgroupError);
      expect(() => planLimits(limits, 2), JSON.stringify(limits)).toThrow(`set limit ${limit}`);
    }
    expect(() => planLimits({ swapMax: 5 }, 1)).toThrow(/expected memoryMax beside it/);
  });
});

describe('lists of numbers', () => {
  it('come back from their text', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(300)), (ids) => {
        expect([...(parseIdList(printIdList(new Set(ids))) ?? [])]).toEqual(ids.sort((a, b) => a - b));
      }),
    );
  });

  it('are refused if they are none', () => {
    fc.assert(fc.property(fc.string(), (text) => parseIdList(text) === undefined || /^[\d,\s-]*$/.test(text)));
    for (const text of ['a', '1-', '-1', '1--2', '99999', '0-99999']) expect(parseIdList(text)).toBeUndefined();
  });
});

describe('statistics', () => {
  it('are read out of the files of v2', () => {
    expect(parseFlat('anon 4096\nfile 0\nslab x\n')).toEqual({ anon: 4096n, file: 0n });
    expect(parseIoStat('8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:1 \n')).toEqual({
      '8:0': { readBytes: 1n, writeBytes: 2n, reads: 3n, writes: 4n },
      '253:1': { readBytes: 0n, writeBytes: 0n, reads: 0n, writes: 0n },
    });
  });

  it('are read out of the files of v1', () => {
    const bytes = '8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Total 30\nTotal 30';
    expect(parseBlkio(bytes, '8:0 Read 1\n8:0 Write 2\nTotal 3')).toEqual({
      '8:0': { readBytes: 10n, writeBytes: 20n, reads: 1n, writes: 2n },
    });
  });

  it('of pressure are read with and without the second line', () => {
    const some = 'some avg10=1.50 avg60=0.20 avg300=0.00 total=123456789012345678';
    expect(parsePressure(some)).toEqual({
      some: { avg10: 1.5, avg60: 0.2, avg300: 0, total: 123456789012345678n },
    });
    expect(parsePressure(`${some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n`)?.full?.total).toBe(7n);
    expect(parsePressure('')).toBeUndefined();
  });
});

describe('events', () => {
  it('are the difference of two observations', () => {
    expect(eventsBetween({ 'oom-kill': 1n, 'is-populated': 1n }, { 'oom-kill': 3n, 'is-populated': 0n })).toEqual([
      { type: 'oom-kill', count: 2n },
      { type: 'empty', count: 1n },
    ]);
    expect(eventsBetween({}, { 'is-frozen': 1n })).toEqual([]);
  });
});
