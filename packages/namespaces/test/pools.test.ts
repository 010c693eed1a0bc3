import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { addressAt, formatAddress, parseAddress, parsePrefix } from '../src/addresses.js';
import { type Caller, IdPool, NetworkPool, planSandbox, type RootSpec, startSandbox } from '../src/index.js';
import { takeLease } from '../src/leases.js';
import { bundleStarter, cleanUp, makeRoot, obstacle, releaseLauncher, script, workspace } from './fixtures.js';
import { itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const image = hindrance ? '' : makeRoot('image');
const itRoot = itNeeds(!hindrance && isRoot, hindrance ?? 'it needs root');
const root: RootSpec = { type: 'overlay', lower: [image], changes: { type: 'memory' } };

afterAll(cleanUp);

let number = 0;
function directory(): string {
  return `${workspace}/leases-${number++}`;
}

async function bundle(name: 'lease' | 'caller'): Promise<string> {
  const outfile = `${workspace}/${name}.mjs`;
  const entryPoints = [`${import.meta.dirname}/programs/${name}.ts`];
  await build({
    entryPoints,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile,
    logLevel: 'error',
    alias: {
      '@casemate/wire': `${import.meta.dirname}/../../wire/src/index.ts`,
      '@casemate/cgroups/owner': `${import.meta.dirname}/../../cgroups/src/owner.ts`,
    },
  });
  return outfile;
}

async function answerOf(child: ChildProcess): Promise<readonly number[]> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  return JSON.parse(text);
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

it('who starts sandboxes is found out again where it could not be', async () => {
  const run = 'ulimit -n 64; exec "$0" "$1"';
  const { stdout, stderr } = spawnSync('/bin/sh', ['-c', run, process.execPath, await bundle('caller')], {
    encoding: 'utf8',
  });
  expect(stdout, stderr).toBe(`${JSON.stringify(['EMFILE', process.geteuid?.()])}\n`);
});

describe('a lease', () => {
  it('is of a number that no other process has, however many take one at once; a killed process has none', async () => {
    const [taker, path] = [await bundle('lease'), directory()];
    const run = () => spawn(process.execPath, [taker, path, '60', '10'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const children = Array.from({ length: 6 }, run);
    try {
      const all = (await Promise.all(children.map(answerOf))).flat();
      expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i));
      await expect(takeLease(path, { kind: 'test', count: 60 })).rejects.toMatchObject({ code: 'used-up' });
      const free = all.slice(0, 10);
      await end(children[0] as ChildProcess); // there are six
      const mine = await Promise.all(Array.from({ length: 10 }, () => takeLease(path, { kind: 'test', count: 60 })));
      expect(mine.map((l) => l.index).sort()).toEqual([...free].sort());
      await Promise.all(mine.map((lease) => lease.release()));
      expect(readdirSync(path)).toHaveLength(50);
    } finally {
      await Promise.all(children.slice(1).map(end));
    }
  }, 60_000);

  itRoot('is of one process alone, whatever clocks and process ids the others see', async () => {
    const taker = await bundle('lease');
    const ahead = ['--time', '--boottime', '1000000', '--fork', process.execPath, taker];
    // Its /proc is that of the outside, which seldom has a process of this number.
    const renumber = 'echo 32000 > /proc/sys/kernel/ns_last_pid; "$0" "$@"; exit $?';
    const renumbered = ['--pid', '--fork', '/bin/sh', '-c', renumber, process.execPath, taker];
    // As a service with ProcSubset=pid has it: there is no boot id.
    const bare = 'mount -t proc -o subset=pid proc /proc && exec "$0" "$@"';
    const bootless = ['--mount', '/bin/sh', '-c', bare, process.execPath, taker];
    for (const args of [ahead, renumbered, bootless]) {
      const place = directory();
      const holder = spawn('unshare', [...args, place, '1'], { stdio: ['pipe', 'pipe', 'inherit'] });
      expect(await answerOf(holder)).toEqual([0]);
      await expect(takeLease(place, { kind: 'test', count: 1 })).rejects.toMatchObject({ code: 'used-up' });
      holder.stdin?.end();
      await new Promise((resolve) => holder.once('exit', resolve));
    }
    const place = directory();
    await takeLease(place, { kind: 'test', count: 1 });
    for (const args of [ahead, bootless]) {
      const rival = spawnSync('unshare', [...args, place, '1'], { encoding: 'utf8', input: '' });
      expect([rival.stdout, rival.stderr]).toEqual(['', expect.stringContaining('used-up')]);
    }
  });

  it('leaves a number alone that cannot be used, and kinds do not mix', async () => {
    const path = directory();
    const lease = await takeLease(path, { kind: 'a', count: 3, isUsable: (index) => index === 1 });
    expect(lease.index).toBe(1);
    expect((await takeLease(path, { kind: 'b', count: 1 })).index).toBe(0);
    await expect(takeLease(path, { kind: 'a', count: 3, isUsable: (index) => index === 1 })).rejects.toMatchObject({
      code: 'used-up',
    });
    await lease.release();
    await lease.release();
    expect((await takeLease(path, { kind: 'a', count: 3, isUsable: (index) => index === 1 })).index).toBe(1);
  });

  it('is not written where others could take it away', async () => {
    const open = directory();
    mkdirSync(open);
    chmodSync(open, 0o777);
    await expect(takeLease(open, { kind: 'a', count: 1 })).rejects.toMatchObject({ code: 'bad-spec' });
    const link = directory();
    symlinkSync(open, link);
    await expect(takeLease(link, { kind: 'a', count: 1 })).rejects.toMatchObject({ code: 'bad-spec' });
    writeFileSync(`${workspace}/plain`, '');
    await expect(takeLease(`${workspace}/plain/x`, { kind: 'a', count: 1 })).rejects.toMatchObject({
      code: 'bad-spec',
    });
  });
});

describe('a pool of networks', () => {
  it('gives each sandbox four addresses of each network, or one of a bridge', async () => {
    const own = new NetworkPool({ ipv4: '10.9.0.0/29', ipv6: 'fd09::/125', directory: directory() });
    expect(own.size).toBe(2);
    const leases = [await own.lease(), await own.lease()].sort((a, b) => a.index - b.index);
    expect(leases.map((l) => [l.addresses, l.gateways])).toEqual([
      [
        ['10.9.0.2', 'fd09::2'],
        ['10.9.0.1', 'fd09::1'],
      ],
      [
        ['10.9.0.6', 'fd09::6'],
        ['10.9.0.5', 'fd09::5'],
      ],
    ]);
    expect(leases[0]?.network.links?.[0]).toMatchObject({ addresses: ['10.9.0.2/30', 'fd09::2/126'] });
    await expect(own.lease()).rejects.toMatchObject({ code: 'used-up' });
    const bridged = new NetworkPool({ ipv4: '10.9.1.0/29', bridge: 'br-none', directory: directory() });
    expect(bridged.size).toBe(5);
    const all = await Promise.all(Array.from({ length: 5 }, () => bridged.lease()));
    expect(all.flatMap((l) => l.addresses).sort()).toEqual([
      '10.9.1.2',
      '10.9.1.3',
      '10.9.1.4',
      '10.9.1.5',
      '10.9.1.6',
    ]);
    expect(new Set(all.flatMap((l) => l.gateways))).toEqual(new Set(['10.9.1.1']));
  });

  it('is refused if it has no room or no sense', () => {
    for (const options of [
      { ipv4: '10.0.0.0/31' },
      { ipv4: 'fd00::/64' },
      { ipv6: '10.0.0.0/8' },
      { linkPrefix: 'toolongprefix' },
      { ipv4: 'x' },
    ])
      expect(() => new NetworkPool(options)).toThrow(/expected .* got /);
  });

  itRoot('lets forty sandboxes of one network run at once, and has everything back after them', async () => {
    const before = readdirSync('/sys/class/net').length;
    const pool = new NetworkPool({
      ipv4: '10.214.0.0/24',
      ipv6: 'fd14::/64',
      linkPrefix: `p${process.pid.toString(36)}`,
      directory: directory(),
    });
    const leases = await Promise.all(Array.from({ length: 40 }, () => pool.lease()));
    const sandboxes = await Promise.all(
      leases.map(({ network }) => startSandbox({ root, network, command: ['/bin/sleep', '100'] })),
    );
    expect(readdirSync('/sys/class/net').length).toBe(before + 40);
    for (const lease of leases.slice(0, 5))
      for (const address of lease.addresses) expect(spawnSync('ping', ['-c1', '-W2', address]).status, address).toBe(0);
    await Promise.all(sandboxes.map((s) => s.stop({ grace: 0 })));
    await Promise.all(leases.map((l) => l.release()));
    expect(readdirSync('/sys/class/net').length).toBe(before);
  });
});

describe('a pool of ids', () => {
  itRoot('gives ranges that do not overlap, nor what /etc/subuid promises', async () => {
    const pool = new IdPool({ first: 0x5000_0000, size: 1000, count: 50, directory: directory() });
    const leases = await Promise.all(Array.from({ length: 50 }, () => pool.lease()));
    const starts = leases.map((l) => l.start).sort((a, b) => a - b);
    expect(starts.every((start, i) => i === 0 || start - (starts[i - 1] ?? 0) === 1000)).toBe(true);
    await expect(pool.lease()).rejects.toMatchObject({ code: 'used-up' });
    const { stdout } = await script(
      { root, ids: leases[0]?.ids ?? { type: 'single' } },
      'cat /proc/self/uid_map; stat -c %u /bin/busybox',
    );
    expect(stdout.trim().split(/\s+/)).toEqual(['0', String(leases[0]?.start), '1000', '0']);
    expect(() => new IdPool({ size: 0 })).toThrow();
  });
});

describe('id maps', () => {
  const caller: Caller = {
    uid: 1000,
    gid: 100,
    allIds: true,
    shiftedBase: 0x1000_0000,
    subordinate: {
      uids: [
        { start: 100_000, count: 1000 },
        { start: 300_000, count: 10 },
      ],
      gids: [{ start: 100_000, count: 1000 }],
      newuidmap: '/usr/bin/newuidmap',
      newgidmap: '/usr/bin/newgidmap',
    },
  };
  const plan = (uids: readonly (readonly [number, number, number])[], who = caller) => {
    const ranges = uids.map(([inside, outside, count]) => ({ inside, outside, count }));
    return planSandbox(
      {
        command: ['/bin/true'],
        ids: { type: 'custom', uids: ranges, gids: [{ inside: 0, outside: 100_000, count: 1000 }] },
      },
      who,
    );
  };

  it('of an ordinary user may have any shape within its own ranges', () => {
    const { operations } = plan([
      [0, 1000, 1],
      [1, 100_500, 500],
      [1000, 300_000, 10],
    ]);
    expect(operations).toContainEqual({
      op: 'uid-map',
      helper: '/usr/bin/newuidmap',
      ranges: [
        { inside: 0, outside: 1000, count: 1 },
        { inside: 1, outside: 100_500, count: 500 },
        { inside: 1000, outside: 300_000, count: 10 },
      ],
    });
    expect(operations.map((o) => o.op)).toContain('become'); // the group of the caller is not in the map
  });

  it("say which ids are not the user's, and which it has", () => {
    expect(() => plan([[0, 99_999, 2]])).toThrow(
      "expected ids outside that are the caller's own or in /etc/subuid (1000, 100000-100999, 300000-300009), got 99999-100000",
    );
    expect(() => plan([[0, 0, 1]])).toThrow('got 0-0');
    const { subordinate: _, ...bare } = caller;
    expect(() => plan([[0, 100_000, 2]], bare)).toThrow('/etc/subuid');
  });

  it('that overlap or are too many are refused', () => {
    expect(() =>
      plan([
        [0, 100_000, 10],
        [9, 100_100, 1],
      ]),
    ).toThrow('do not overlap inside, got 9 twice');
    expect(() =>
      plan([
        [0, 100_000, 10],
        [10, 100_009, 1],
      ]),
    ).toThrow('do not overlap outside, got 100009 twice');
    expect(() => plan(Array.from({ length: 341 }, (_r, i) => [i, 100_000 + i, 1] as const))).toThrow('1 … 340');
    expect(() => plan(Array.from({ length: 300 }, (_r, i) => [i * 10_000, 100_000 + i, 1] as const))).toThrow(
      'less than 4096 bytes',
    );
  });

  itRoot('of 340 ranges hold, as root says', async () => {
    const ranges = Array.from({ length: 340 }, (_r, i) => ({ inside: i * 2, outside: 1000 + i * 3, count: 1 }));
    const { stdout } = await script(
      { root: { type: 'bind', source: image }, ids: { type: 'custom', uids: ranges, gids: ranges } },
      'wc -l < /proc/self/uid_map; tail -1 /proc/self/gid_map',
    );
    expect(stdout.trim().split(/\s+/)).toEqual(['340', '678', String(1000 + 339 * 3), '1']);
  });

  itRoot(
    "of an ordinary user with ranges in /etc/subuid hold, divided among sandboxes; without them the helper's words are told",
    async () => {
      const starter = await bundleStarter();
      const file = `${workspace}/subuid`;
      writeFileSync(file, 'nobody:700000:131072\n');
      const look = {
        root,
        mounts: [{ type: 'tmpfs', target: '/t' }],
        command: [
          '/bin/sh',
          '-c',
          'cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /t/f && chown 5:6 /t/f && stat -c "%u %g" /t/f',
        ],
        capabilities: ['CAP_CHOWN'],
      };
      const range = (outside: number, count: number) => [{ inside: 0, outside, count }];
      const jobs = [
        { spec: { ...look, ids: { type: 'custom', uids: range(765_536, 65_536), gids: range(700_000, 10) } } },
        { spec: { ...look, ids: { type: 'subordinate' } } },
      ];
      const enter = `mount --bind ${file} /etc/subuid && mount --bind ${file} /etc/subgid && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"`;
      const run = (more: string, program: unknown) =>
        spawnSync(
          'unshare',
          [
            '--mount',
            '--propagation',
            'private',
            '/bin/sh',
            '-c',
            more + enter,
            process.execPath,
            starter,
            JSON.stringify(program),
          ],
          {
            encoding: 'utf8',
            env: { CASEMATE_LAUNCHER: process.env.CASEMATE_LAUNCHER, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
          },
        );
      const { stdout, stderr } = run('', jobs);
      const [custom, stacked] = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(custom.stdout?.trim().split(/\s+/), stderr + stdout).toEqual([
        '0',
        '765536',
        '65536',
        '0',
        '700000',
        '10',
        '0',
        '5',
        '6',
      ]);
      expect(stacked.stdout?.trim().split(/\s+/), stdout).toEqual([
        '0',
        '65534',
        '1',
        '1',
        '700000',
        '131072',
        '0',
        '65534',
        '1',
        '1',
        '700000',
        '131072',
        '0',
        '5',
        '6',
      ]);
      // The file is there when the plan is made, and gone when newuidmap reads it: the set-uid program has the last word.
      const refusing = `cp /usr/bin/newuidmap ${workspace}/newuidmap && mount --bind ${workspace}/newuidmap /usr/bin/newuidmap && `; // a copy is not set-uid
      const refused = JSON.parse(run(refusing, [jobs[1]]).stdout.trim().split('\n')[0] ?? '{}');
      expect(refused.error).toMatchObject({
        errno: 'EPERM',
        operation: { name: 'uid-map', detail: expect.stringMatching(/newuidmap: /) },
      });
    },
  );
});

describe('addresses', () => {
  it('are read and written as RFC 5952 has them', () => {
    const cases = [
      ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
      ['::', '::'],
      ['::1', '::1'],
      ['1::', '1::'],
      ['2001:db8:0:1:0:0:0:1', '2001:db8:0:1::1'],
      ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
      ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
      ['::ffff:10.0.0.1', '::ffff:a00:1'],
      ['10.0.0.1', '10.0.0.1'],
    ] as const;
    for (const [text, canonical] of cases) expect(formatAddress(parseAddress(text)), text).toBe(canonical);
  });

  it('that are none are refused', () => {
    for (const text of [
      '',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4:5:6:7::8',
      '12345::',
      'g::',
      '1.2.3',
      '1.2.3.4.5',
      '01.2.3.4',
      '::1.2.3',
      '1.2.3.4 ',
      '-1.2.3.4',
      'fe80::1%eth0',
    ])
      expect(() => parseAddress(text), text).toThrow(/expected an IP address/);
    for (const text of ['10.0.0.1', '10.0.0.1/', '10.0.0.1/33', '::/129', '10.0.0.1/-1', '10.0.0.1/08/1'])
      expect(() => parsePrefix(text), text).toThrow();
  });

  it('survive being written and read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.constantFrom(4, 16), (random, length) => {
        const bytes = random.slice(0, length);
        const version = length === 4 ? 4 : 6;
        expect(parseAddress(formatAddress({ version, bytes }))).toEqual({ version, bytes });
      }),
    );
  });

  it('are counted from the network on', () => {
    expect(formatAddress(addressAt(parsePrefix('10.1.2.3/16'), 260n))).toBe('10.1.1.4');
    expect(formatAddress(addressAt(parsePrefix('fd00::ff/64'), 0x1_0000n))).toBe('fd00::1:0');
  });
});
