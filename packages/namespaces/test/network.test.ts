import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  NamespaceError,
  type NetworkSpec,
  planSandbox,
  type RootSpec,
  type SandboxSpec,
  startSandbox,
} from '../src/index.js';
import {
  asUser,
  bundleStarter,
  cleanUp,
  killFamily,
  makeRoot,
  obstacle,
  releaseLauncher,
  sanitizedLauncher,
  script,
  workspace,
} from './fixtures.js';
import { itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance =
  (await obstacle()) ??
  (existsSync('/usr/sbin/ip') || existsSync('/sbin/ip') ? undefined : 'ip (iproute2) is not installed');
const image = hindrance ? '' : makeRoot('image');
const starter = await bundleStarter();
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;
const root: RootSpec = { type: 'overlay', lower: [image], changes: { type: 'memory' } };

afterAll(cleanUp);

/** What `ip -j` tells about a link. */
interface Link {
  readonly ifindex: number;
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly operstate: string;
  readonly master?: string;
  readonly flags: readonly string[];
  readonly addr_info?: readonly { readonly local: string; readonly prefixlen: number; readonly flags?: unknown }[];
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

/** The links of a network namespace, by `ip` outside. */
function linksOf(pid: number): readonly Link[] {
  return JSON.parse(execFileSync('nsenter', ['-t', String(pid), '-n', 'ip', '-j', 'addr'], { encoding: 'utf8' }));
}

function routesOf(pid: number, family: string): readonly Record<string, unknown>[] {
  return JSON.parse(
    execFileSync('nsenter', ['-t', String(pid), '-n', 'ip', family, '-j', 'route'], { encoding: 'utf8' }),
  );
}

function linksHere(): readonly Link[] {
  return JSON.parse(ip('-j', 'addr'));
}

/** The numbers that the other ends of a sandbox's links have out here. */
function peersOf(pid: number): readonly number[] {
  const links = execFileSync('nsenter', ['-t', String(pid), '-n', 'ip', '-j', 'link'], { encoding: 'utf8' });
  return (JSON.parse(links) as { link_index?: number }[]).flatMap(({ link_index }) => link_index ?? []);
}

/** Runs `body` with a network namespace of this test's own to put links into; whatever is left goes with it. */
async function within(links: readonly string[][], body: () => Promise<void>, undo: readonly string[][]): Promise<void> {
  try {
    for (const args of links) ip(...args);
    await body();
  } finally {
    for (const args of undo) spawnSync('ip', args);
  }
}

/** A sandbox that waits, for looking at it from outside. */
async function hold<T>(
  network: NetworkSpec,
  look: (pid: number) => Promise<T> | T,
  more: Partial<SandboxSpec> = {},
): Promise<T> {
  await using sandbox = await startSandbox({ root, network, ...more, command: ['/bin/sleep', '100'] });
  return await look(sandbox.pid);
}

let number = 0;
/** A name that this test run alone uses. */
function unique(): string {
  return `t${process.pid.toString(36)}${(number++).toString(36)}`;
}

describe.each(launchers)('%s', (_, launcher) => {
  const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');
  const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  describe('a cable to the outside', () => {
    itRoot('carries packets of both IP versions, with the names, sizes and addresses that were asked for', async () => {
      const outside = { name: unique(), addresses: ['10.213.7.1/30', 'fd07::1/126'], mac: '02:00:00:00:07:01' };
      const link = {
        type: 'veth',
        name: 'eth0',
        addresses: ['10.213.7.2/30', 'fd07::2/126'],
        mtu: 1400,
        mac: '02:00:00:00:07:02',
        outside,
      } as const;
      const routes = [
        { to: 'default', via: '10.213.7.1' },
        { to: 'default', via: 'fd07::1', metric: 7 },
        { to: '10.99.0.0/16', link: 'eth0', source: '10.213.7.2' },
      ];
      await hold({ links: [link], routes }, (pid) => {
        const [lo, eth0, ...more] = linksOf(pid);
        expect(more).toEqual([]);
        expect(lo).toMatchObject({ ifname: 'lo', flags: expect.arrayContaining(['UP', 'LOOPBACK']) });
        expect(eth0).toMatchObject({ ifname: 'eth0', mtu: 1400, address: '02:00:00:00:07:02', operstate: 'UP' });
        expect(eth0?.addr_info?.map((a) => `${a.local}/${a.prefixlen}`)).toEqual(
          expect.arrayContaining(['10.213.7.2/30', 'fd07::2/126']),
        );
        const here = linksHere().find((l) => l.ifname === outside.name);
        expect(here).toMatchObject({ mtu: 1400, address: '02:00:00:00:07:01', operstate: 'UP' });
        expect(routesOf(pid, '-4')).toEqual(
          expect.arrayContaining([
            expect.objectContaining({ dst: 'default', gateway: '10.213.7.1', dev: 'eth0' }),
            expect.objectContaining({ dst: '10.99.0.0/16', dev: 'eth0', scope: 'link', prefsrc: '10.213.7.2' }),
          ]),
        );
        expect(routesOf(pid, '-6')).toEqual(
          expect.arrayContaining([expect.objectContaining({ dst: 'default', gateway: 'fd07::1', metric: 7 })]),
        );
        for (const address of ['10.213.7.2', 'fd07::2'])
          expect(spawnSync('ping', ['-c1', '-W2', address]).status, address).toBe(0);
        for (const address of ['10.213.7.1', 'fd07::1'])
          expect(spawnSync('nsenter', ['-t', String(pid), '-n', 'ping', '-c1', '-W2', address]).status, address).toBe(
            0,
          );
      });
      expect(linksHere().map((l) => l.ifname)).not.toContain(outside.name);
    });

    itRoot('gets a name outside that nobody else has, and is gone when the end is told', async () => {
      const links = [
        { type: 'veth', name: 'eth0' },
        { type: 'veth', name: 'eth1' },
      ] as const;
      const sandboxes = await Promise.all(
        Array.from({ length: 10 }, () => startSandbox({ root, network: { links }, command: ['/bin/sleep', '100'] })),
      );
      // By number: the tests beside this one have links of their own.
      const peers = new Set(sandboxes.flatMap(({ pid }) => peersOf(pid)));
      const mine = () => linksHere().filter(({ ifindex }) => peers.has(ifindex));
      expect(new Set(mine().map((l) => l.ifname)).size).toBe(20);
      await Promise.all(sandboxes.map((s) => s.stop({ grace: 0 })));
      expect(mine()).toEqual([]);
    });

    itRoot('to a bridge lets sandboxes talk to each other', async () => {
      const bridge = unique();
      const body = async (): Promise<void> => {
        const link = (last: number) =>
          ({ type: 'veth', name: 'eth0', addresses: [`10.213.9.${last}/24`], outside: { bridge } }) as const;
        await hold({ links: [link(2)] }, async (first) => {
          const port = linksHere().find((l) => l.master === bridge);
          expect(port?.operstate).toBe('UP');
          await hold({ links: [link(3)], routes: [{ to: 'default', via: '10.213.9.1' }] }, (second) => {
            expect(spawnSync('nsenter', ['-t', String(second), '-n', 'ping', '-c1', '-W2', '10.213.9.2']).status).toBe(
              0,
            );
            expect(spawnSync('nsenter', ['-t', String(first), '-n', 'ping', '-c1', '-W2', '10.213.9.1']).status).toBe(
              0,
            );
          });
        });
        expect(linksHere().filter((l) => l.master === bridge)).toEqual([]);
      };
      await within(
        [
          ['link', 'add', bridge, 'type', 'bridge'],
          ['addr', 'add', '10.213.9.1/24', 'dev', bridge],
          ['link', 'set', bridge, 'up'],
        ],
        body,
        [['link', 'del', bridge]],
      );
    });

    itRoot('is seen and used by the command itself', async () => {
      const outside = { addresses: ['10.213.8.1/30'] };
      const network: NetworkSpec = {
        links: [{ type: 'veth', name: 'eth0', addresses: ['10.213.8.2/30'], outside }],
        routes: [{ to: 'default', via: '10.213.8.1' }],
      };
      const { stdout } = await script(
        { root, network, sysctls: { 'net.ipv4.ping_group_range': '0 65535' }, capabilities: ['CAP_NET_RAW'] },
        'ls /sys/class/net | tr "\\n" " "; cat /proc/sys/net/ipv4/ping_group_range; ping -c1 -W2 10.213.8.1 | grep -c "1 packets received"; ip route | head -1',
      );
      expect(stdout).toMatch(/^eth0 lo 0\s+65535\n1\ndefault via 10\.213\.8\.1 dev eth0/);
    });
  });

  itRoot('an existing link moves in, with a new name and its addresses', async () => {
    const [inside, outside] = [unique(), unique()];
    const body = async (): Promise<void> => {
      const link = {
        type: 'move',
        source: inside,
        name: 'wan',
        addresses: ['10.213.10.2/24'],
        mac: '02:00:00:00:10:02',
        mtu: 1300,
      } as const;
      await hold({ links: [link] }, (pid) => {
        expect(linksHere().map((l) => l.ifname)).not.toContain(inside);
        expect(linksOf(pid).find((l) => l.ifname === 'wan')).toMatchObject({
          operstate: 'UP',
          mtu: 1300,
          address: '02:00:00:00:10:02',
        });
        expect(spawnSync('ping', ['-c1', '-W2', '10.213.10.2']).status).toBe(0);
      });
    };
    await within(
      [
        ['link', 'add', inside, 'type', 'veth', 'peer', outside],
        ['addr', 'add', '10.213.10.1/24', 'dev', outside],
        ['link', 'set', outside, 'up'],
      ],
      body,
      [['link', 'del', outside]],
    );
  });

  itRoot('a macvlan link shares a card of the outside', async () => {
    const [card, peer] = [unique(), unique()];
    const body = async (): Promise<void> => {
      const link = (last: number) =>
        ({ type: 'macvlan', name: 'eth0', parent: card, addresses: [`10.213.11.${last}/24`] }) as const;
      await hold({ links: [link(2)] }, (first) =>
        hold({ links: [link(3)] }, (second) => {
          expect(linksOf(first).find((l) => l.ifname === 'eth0')?.operstate).toMatch(/UP|UNKNOWN/);
          expect(spawnSync('nsenter', ['-t', String(second), '-n', 'ping', '-c1', '-W2', '10.213.11.2']).status).toBe(
            0,
          );
        }),
      );
    };
    await within(
      [
        ['link', 'add', card, 'type', 'veth', 'peer', peer],
        ['link', 'set', card, 'up'],
        ['link', 'set', peer, 'up'],
      ],
      body,
      [['link', 'del', card]],
    );
  });

  itRuns('names: resolv.conf and hosts are written as the description says, and cannot be changed', async () => {
    const network: NetworkSpec = {
      dns: { servers: ['10.0.0.53', '2001:DB8:0:0:0:0:0:53'], search: ['example.org'], options: ['ndots:2'] },
      hosts: { 'db.internal': '10.0.0.9' },
    };
    const { stdout } = await script(
      { root, network, hostname: 'web' },
      'cat /etc/resolv.conf /etc/hosts; (echo > /etc/hosts) 2>&1 | grep -c Read-only',
    );
    expect(stdout).toBe(
      'nameserver 10.0.0.53\nnameserver 2001:db8::53\nsearch example.org\noptions ndots:2\n127.0.0.1 localhost\n::1 localhost\n10.0.0.9 db.internal\n1\n',
    );
  });

  itRuns('the host, domain and parameters of its namespaces are its own', async () => {
    const sysctls = {
      'net.ipv4.ip_unprivileged_port_start': '0',
      'kernel.shmmax': '12345678',
      'net.ipv4.ip_forward': '1',
    };
    const { stdout } = await script(
      { root, hostname: 'h', domainname: 'd.example', sysctls },
      'hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_forward',
    );
    expect(stdout).toBe('h\nd.example\n0\n12345678\n1\n');
    await expect(startSandbox({ root, sysctls: { 'net.none': '1' }, command: ['/bin/true'] })).rejects.toMatchObject({
      errno: 'ENOENT',
      operation: { name: 'sysctl' },
    });
  });

  itRuns('time: clocks keep their offsets to the nanosecond, and what the kernel cannot hold is refused', async () => {
    const clockOffsets = { monotonic: 5_000_000_000n, boottime: 7_000_000_001n };
    const { stdout } = await script({ root, clockOffsets }, 'cat /proc/self/timens_offsets');
    expect(stdout.replace(/\s+/g, ' ').trim()).toBe('monotonic 5 0 boottime 7 1');
    const past = { boottime: -(10n ** 18n) };
    await expect(startSandbox({ root, clockOffsets: past, command: ['/bin/true'] })).rejects.toMatchObject({
      errno: 'ERANGE',
      operation: { name: 'time-namespace' },
    });
  });

  describe('tells which request failed, in the words of the kernel', () => {
    const veth = (more: object) => ({ type: 'veth', name: 'eth0', ...more }) as never;
    const cases: readonly (readonly [string, NetworkSpec, string, string, RegExp])[] = [
      [
        'a bridge that is not there',
        { links: [veth({ outside: { bridge: 'nobridge0' } })] },
        'netlink-outside',
        'ENODEV',
        /nobridge0/,
      ],
      [
        'a name that is taken',
        { links: [veth({ outside: { name: 'lo' } })] },
        'netlink-outside',
        'EEXIST',
        /create link lo/,
      ],
      [
        'a link that is not there',
        { links: [{ type: 'move', source: 'nolink0' }] },
        'netlink-outside',
        'ENODEV',
        /nolink0/,
      ],
      [
        'a gateway that no address reaches',
        { links: [veth({ addresses: ['10.1.1.2/24'] })], routes: [{ to: 'default', via: '10.9.9.9' }] },
        'netlink',
        'ENETUNREACH',
        /add route to default: .*gateway/,
      ],
      [
        'an address twice',
        { links: [veth({ addresses: ['10.1.1.2/24', '10.1.1.2/24'] })] },
        'netlink',
        'EEXIST',
        /add address to eth0/,
      ],
    ];
    for (const [what, network, name, errno, detail] of cases) {
      itRoot(what, async () => {
        const before = new Set(linksHere().map((l) => l.ifname));
        await expect(startSandbox({ root, network, command: ['/bin/true'] })).rejects.toMatchObject({
          code: 'operation-failed',
          errno,
          operation: { name, detail: expect.stringMatching(detail) },
        });
        const left = () => linksHere().filter((l) => !before.has(l.ifname));
        await vi.waitFor(() => expect(left()).toEqual([]), { timeout: 10_000 }); // tests beside this one make links too
      });
    }
  });

  itRoot('links end with everything that knows of them, killed at once', async () => {
    const name = unique();
    const isThere = () => linksHere().some(({ ifname }) => ifname === name);
    const network = { links: [{ type: 'veth', name: 'eth0', outside: { name } }] };
    const job = { spec: { root, network, command: ['/bin/sleep', '100'] }, hold: true };
    const parent = spawn(process.execPath, [starter, JSON.stringify([job])], {
      env: { CASEMATE_LAUNCHER: launcher ?? '' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => parent.stdout.once('data', resolve));
    expect(isThere()).toBe(true);
    killFamily(parent.pid ?? 0);
    const until = Date.now() + 8000;
    while (isThere() && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isThere()).toBe(false);
  });

  itRoot('the outside is the network namespace that the program is in', () => {
    const name = unique();
    const network = {
      links: [
        {
          type: 'veth',
          name: 'eth0',
          addresses: ['10.213.13.2/30'],
          outside: { name: 'cable', addresses: ['10.213.13.1/30'] },
        },
      ],
    };
    const job = {
      spec: { root, network, command: ['/bin/sh', '-c', 'echo up; read go'] },
      during: [
        [
          'sh',
          '-c',
          `ip netns exec ${name} ping -c1 -W2 10.213.13.2 && ip netns exec ${name} ip -j addr show cable > ${workspace}/cable`,
        ],
      ],
    };
    try {
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
      const program = ['netns', 'exec', name, process.execPath, starter, JSON.stringify([job])];
      const { stdout, stderr } = spawnSync('ip', program, {
        encoding: 'utf8',
        env: { ...process.env, CASEMATE_LAUNCHER: launcher },
      });
      expect(JSON.parse(stdout || '{}'), stderr).toMatchObject({ exit: { code: 0 } });
      expect(JSON.parse(readFileSync(`${workspace}/cable`, 'utf8'))[0]).toMatchObject({
        ifname: 'cable',
        operstate: 'UP',
      });
      expect(JSON.parse(ip('-n', name, '-j', 'link')).map((l: Link) => l.ifname)).toEqual(['lo']);
    } finally {
      spawnSync('ip', ['netns', 'del', name]);
    }
  });

  describe('for an ordinary user', () => {
    const network = {
      links: [
        { type: 'veth', name: 'eth0', addresses: ['10.213.12.2/30'], outside: { addresses: ['10.213.12.1/30'] } },
      ],
    };
    const command = [
      '/bin/sh',
      '-c',
      'cat /proc/self/uid_map; ip -4 addr show eth0 | grep -c 10.213.12.2; ping -c1 -W2 10.213.12.1 | grep -c "1 packets received"',
    ];
    const capabilities = ['CAP_NET_RAW'];

    itRoot('links are refused with what helps, before anything is tried', async () => {
      const [answer] = await asUser(starter, launcher ?? '', [{ spec: { root, network, command } }]);
      expect(answer?.error).toMatchObject({ code: 'bad-spec', remedy: expect.stringContaining('unshare --user') });
    });

    itRoot('links work where the user owns both ends, in a namespace of its own', () => {
      const { stdout, stderr } = spawnSync(
        'unshare',
        [
          '--user',
          '--map-root-user',
          '--net',
          process.execPath,
          starter,
          JSON.stringify([{ spec: { root, network, capabilities, command } }]),
        ],
        {
          encoding: 'utf8',
          uid: 65534,
          gid: 65534,
          env: { CASEMATE_LAUNCHER: launcher },
        },
      );
      expect(JSON.parse(stdout || '{}'), stderr).toMatchObject({ stdout: expect.stringMatching(/\n1\n1\n$/) });
    });

    itRoot('who only seems to be root hears of it from the kernel', () => {
      const { stdout, stderr } = spawnSync(
        'unshare',
        [
          '--user',
          '--map-root-user',
          process.execPath,
          starter,
          JSON.stringify([{ spec: { root, network, command } }]),
        ],
        {
          encoding: 'utf8',
          uid: 65534,
          gid: 65534,
          env: { CASEMATE_LAUNCHER: launcher },
        },
      );
      expect(JSON.parse(stdout || '{}').error, stderr).toMatchObject({
        errno: 'EPERM',
        operation: { name: 'netlink-outside' },
        remedy: expect.stringContaining('root'),
      });
    });
  });
});

describe('a description of a network is refused', () => {
  const caller = { uid: 0, gid: 0, allIds: true, shiftedBase: 0x1000_0000 };
  const link = { type: 'veth', name: 'eth0' } as const;
  const wrong: readonly (readonly [string, Partial<SandboxSpec>])[] = [
    ['without the namespace', { network: { links: [link] }, namespaces: { net: false } }],
    ['with a name that is too long', { network: { links: [{ ...link, name: 'a-name-that-is-long' }] } }],
    ['with a name that the kernel would change', { network: { links: [{ ...link, name: 'eth%d' }] } }],
    ['with the name of the loopback', { network: { links: [{ ...link, name: 'lo' }] } }],
    ['with a name twice', { network: { links: [link, link] } }],
    ['with an address without a prefix', { network: { links: [{ ...link, addresses: ['10.0.0.1'] }] } }],
    ['with a prefix that is too long', { network: { links: [{ ...link, addresses: ['10.0.0.1/33'] }] } }],
    ['with an address that is none', { network: { links: [{ ...link, addresses: ['10.0.0.256/8'] }] } }],
    ['with an address in octal', { network: { links: [{ ...link, addresses: ['010.0.0.1/8'] }] } }],
    ['with a group as hardware address', { network: { links: [{ ...link, mac: '01:00:00:00:00:01' }] } }],
    ['with an MTU that is none', { network: { links: [{ ...link, mtu: 10 }] } }],
    [
      'with addresses on the port of a bridge',
      { network: { links: [{ ...link, outside: { bridge: 'b', addresses: ['10.0.0.1/8'] } }] } },
    ],
    [
      'with a route of two IP versions',
      { network: { links: [link], routes: [{ to: 'default', via: '::1', source: '10.0.0.1' }] } },
    ],
    [
      'with a route to a host that says network',
      { network: { links: [link], routes: [{ to: '10.0.0.1/24', link: 'eth0' }] } },
    ],
    ['with a route that leads nowhere', { network: { routes: [{ to: 'default' }] } }],
    ['with a route over a link that is not there', { network: { routes: [{ to: '10.0.0.0/8', link: 'eth7' }] } }],
    ['with a search domain of two words', { network: { dns: { servers: [], search: ['a b'] } } }],
    ['with a nameserver that is a name', { network: { dns: { servers: ['dns.example'] } } }],
    ['with a line break in a host', { network: { hosts: { 'a\nb': '10.0.0.1' } } }],
    ['with a parameter of the machine', { sysctls: { 'kernel.core_pattern': '|/bin/sh' } }],
    ['with a parameter that climbs', { sysctls: { 'net/../kernel/x': '1' } }],
    [
      'with a parameter of a namespace that it lacks',
      { sysctls: { 'net.ipv4.ip_forward': '1' }, namespaces: { net: false } },
    ],
    ['with a domain name that is none', { domainname: 'a b' }],
  ];
  for (const [what, part] of wrong) {
    it(what, () => {
      let thrown: unknown;
      try {
        planSandbox({ command: ['/bin/true'], ...part }, caller);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(NamespaceError);
      expect(thrown).toMatchObject({ code: 'bad-spec', message: expect.stringMatching(/expected .*, got /) });
    });
  }
});
