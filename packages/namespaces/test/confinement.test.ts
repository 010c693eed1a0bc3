/** Capability sets, secure bits, limits, scheduling, keyrings and Landlock: what is asked for is what the command has. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  LANDLOCK_RIGHTS,
  type LandlockRight,
  planSandbox,
  printPlan,
  probe,
  type RlimitName,
  readCaller,
  type SandboxSpec,
  startSandbox,
} from '../src/index.js';
import { calls, makeCallsRoot } from './calls.js';
import { cleanUp, hasPrograms, obstacle, releaseLauncher, sanitizedLauncher } from './fixtures.js';
import { itKernel, itNeeds } from './requirement.js';

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = (await obstacle()) ?? (hasPrograms ? undefined : 'gcc is not installed');
const image = hindrance ? '' : makeCallsRoot();
const isRoot = process.geteuid?.() === 0;
const landlockAbi = hindrance ? 0 : (await probe()).landlock.abi;
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;
const root = { type: 'bind', source: image } as const;
const CHOWN = 0x1;
const BIND_SERVICE = 0x400;

afterAll(cleanUp);

async function statusOf(spec: Omit<SandboxSpec, 'command'>): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await calls(spec, 'open', '/proc/self/status');
  return Object.fromEntries(
    stdout
      .split('\n')
      .map((line) => line.split(/:\s*/))
      .map(([key = '', value = '']) => [key, value]),
  );
}

async function capabilitiesOf(spec: Omit<SandboxSpec, 'command'>): Promise<readonly number[]> {
  const status = await statusOf(spec);
  return ['CapBnd', 'CapPrm', 'CapEff', 'CapInh', 'CapAmb'].map((key) => Number.parseInt(status[key] ?? '', 16));
}

describe('planning', () => {
  const plan = async (spec: Partial<SandboxSpec>) => planSandbox({ command: ['/calls'], ...spec }, await readCaller());

  it('refuses sets of capabilities that the kernel would refuse', async () => {
    await expect(plan({ capabilities: { effective: ['CAP_CHOWN'] } })).rejects.toThrow(/permitted/);
    await expect(plan({ capabilities: { permitted: ['CAP_CHOWN'], ambient: ['CAP_CHOWN'] } })).rejects.toThrow(
      /inheritable/,
    );
  });

  it('refuses new privileges beside a filter that could not be loaded then', async () => {
    await expect(plan({ insecureNewPrivileges: true })).rejects.toThrow(/CAP_SYS_ADMIN/);
    expect(printPlan(await plan({ insecureNewPrivileges: true, seccomp: 'insecure-none' }))).not.toContain(
      'no-new-privileges',
    );
  });

  it('refuses Landlock rules that would not do what they say', async () => {
    const wrong: readonly NonNullable<SandboxSpec['landlock']>[] = [
      { required: [] },
      { required: ['fly' as LandlockRight] },
      { required: ['read-file'], paths: [{ path: 'relative', allow: ['read-file'] }] },
      { required: ['read-file'], paths: [{ path: '/', allow: ['execute'] }] },
      { required: ['bind-tcp'], ports: [{ port: 65_536, allow: ['bind-tcp'] }] },
    ];
    for (const landlock of wrong) await expect(plan({ landlock })).rejects.toMatchObject({ code: 'bad-spec' });
  });

  it('refuses scheduling that the kernel does not have', async () => {
    const wrong: readonly NonNullable<SandboxSpec['scheduling']>[] = [
      { nice: 20 },
      { processors: [-1] },
      { policy: { type: 'fifo', priority: 0 } },
      { policy: { type: 'deadline', runtime: 2n, deadline: 1n, period: 3n } },
      { io: { class: 'idle', level: 8 } },
    ];
    for (const scheduling of wrong) await expect(plan({ scheduling })).rejects.toMatchObject({ code: 'bad-spec' });
  });
});

describe.each(launchers)('%s', (_, launcher) => {
  const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');
  const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  describe('capabilities', () => {
    itRuns('are given set by set', async () => {
      const user = isRoot ? { uid: 1000, gid: 1000 } : { uid: 0, gid: 0 };
      const secureBits = ['noroot'] as const;
      const both = ['CAP_CHOWN', 'CAP_NET_BIND_SERVICE'] as const;
      const one = ['CAP_CHOWN'] as const;
      const ambient = { bounding: both, permitted: both, effective: both, inheritable: both, ambient: one };
      expect(await capabilitiesOf({ root, user, secureBits, capabilities: ambient })).toEqual([
        0x401,
        CHOWN,
        CHOWN,
        0x401,
        CHOWN,
      ]);
      const bounding = { bounding: both, inheritable: [] };
      expect(await capabilitiesOf({ root, user, secureBits, capabilities: bounding })).toEqual([0x401, 0, 0, 0, 0]);
      const inheritable = { bounding: one, permitted: one, inheritable: one };
      expect(await capabilitiesOf({ root, user, secureBits, capabilities: inheritable })).toEqual([
        CHOWN,
        0,
        0,
        CHOWN,
        0,
      ]);
    });

    itRuns('come back to uid 0 when it executes, unless the secure bit noroot is set', async () => {
      const kept = ['CAP_NET_BIND_SERVICE'] as const;
      const capabilities = { bounding: kept, permitted: kept };
      const all = [BIND_SERVICE, BIND_SERVICE, BIND_SERVICE, 0, 0];
      expect(await capabilitiesOf({ root, capabilities })).toEqual(all);
      expect(await capabilitiesOf({ root, capabilities, secureBits: ['noroot'] })).toEqual([BIND_SERVICE, 0, 0, 0, 0]);
    });

    itRuns('can be locked', async () => {
      const secureBits = ['noroot', 'noroot-locked', 'no-cap-ambient-raise'] as const;
      const spec = { root, secureBits, capabilities: ['CAP_SETPCAP'] } as const;
      await expect(startSandbox({ ...spec, command: ['/calls'] })).rejects.toMatchObject({
        operation: { name: 'capabilities' },
      });
      const locked = { root, secureBits: ['noroot', 'noroot-locked'], capabilities: ['CAP_SETPCAP'] } as const;
      expect((await calls(locked, 'raw', '157', '27')).stdout).toBe('3\n'); // PR_GET_SECUREBITS
      expect((await calls(locked, 'raw', '157', '28', '0')).stdout).toBe('-1\n'); // PR_SET_SECUREBITS
      const open = { root, secureBits: ['noroot'], capabilities: ['CAP_SETPCAP'] } as const;
      expect((await calls(open, 'raw', '157', '28', '0')).stdout).toBe('0\n');
    });

    itRuns('can be regained through files only if new privileges are asked for by their insecure name', async () => {
      expect((await statusOf({ root })).NoNewPrivs).toBe('1');
      expect((await statusOf({ root, insecureNewPrivileges: true, seccomp: 'insecure-none' })).NoNewPrivs).toBe('0');
    });
  });

  describe('limits', () => {
    itRuns('are set of every kind', async () => {
      const names: Readonly<Record<RlimitName, string>> = {
        as: 'Max address space',
        core: 'Max core file size',
        cpu: 'Max cpu time',
        data: 'Max data size',
        fsize: 'Max file size',
        locks: 'Max file locks',
        memlock: 'Max locked memory',
        msgqueue: 'Max msgqueue size',
        nice: 'Max nice priority',
        nofile: 'Max open files',
        nproc: 'Max processes',
        rss: 'Max resident set',
        rtprio: 'Max realtime priority',
        rttime: 'Max realtime timeout',
        sigpending: 'Max pending signals',
        stack: 'Max stack size',
      };
      const small = new Set<string>(['nice', 'rtprio']); // they are 0 already, and only a privileged caller may raise them
      const kinds = Object.keys(names) as RlimitName[]; // the keys of this very object
      const rlimits = Object.fromEntries(
        kinds.map((name, i) => [
          name,
          small.has(name) ? { soft: 0, hard: 0 } : { soft: 2_000_000 + i, hard: 3_000_000 + i },
        ]),
      );
      rlimits.as = { soft: 2 ** 46, hard: 2 ** 47 }; // AddressSanitizer needs terabytes
      rlimits.data = { soft: 2 ** 46 + 4096, hard: 2 ** 47 };
      rlimits.nofile = { soft: 100, hard: 200 };
      rlimits.nproc = { soft: 50, hard: 60 };
      rlimits.sigpending = { soft: 10, hard: 20 };
      rlimits.memlock = { soft: 4096, hard: 8192 };
      rlimits.msgqueue = { soft: 1000, hard: 2000 };
      const { stdout } = await calls({ root, rlimits }, 'open', '/proc/self/limits');
      for (const name of kinds) {
        const line = stdout.split('\n').find((l) => l.startsWith(names[name])) ?? '';
        const { soft, hard } = rlimits[name] ?? {};
        expect(line, name).toMatch(new RegExp(`\\s${soft}\\s+${hard}\\s`));
      }
    });
  });

  describe('scheduling', () => {
    itRuns('sets niceness, policy, processors and the order of disk requests', async () => {
      const nice = { scheduling: { nice: 7 } } as const;
      expect((await calls({ root, ...nice }, 'raw', '140', '0', '0')).stdout).toBe('13\n'); // getpriority: 20 - 7
      const batch = {
        scheduling: { policy: { type: 'batch' }, nice: 3, io: { class: 'best-effort', level: 6 } },
      } as const;
      expect((await calls({ root, ...batch }, 'raw', '145', '0')).stdout).toBe('3\n'); // sched_getscheduler: SCHED_BATCH
      expect((await calls({ root, ...batch }, 'raw', '140', '0', '0')).stdout).toBe('17\n');
      expect((await calls({ root, ...batch }, 'raw', '252', '1', '0')).stdout).toBe(`${(2 << 13) | 6}\n`); // ioprio_get
      expect((await statusOf({ root, scheduling: { processors: [0] } })).Cpus_allowed_list).toBe('0');
    });
  });

  describe('keyrings', () => {
    itRoot('give each sandbox a session of its own', async () => {
      // A user namespace has user keyrings of its own, which stand in for a session keyring that is not there.
      const spec = { root, namespaces: { user: false }, seccomp: 'insecure-none' } as const;
      const session = async (more: Partial<SandboxSpec>) =>
        Number((await calls({ ...spec, ...more }, 'raw', '250', '0', '0xfffffffffffffffd', '0')).stdout); // KEYCTL_GET_KEYRING_ID
      const [one, two] = [await session({}), await session({})];
      expect(one).toBeGreaterThan(0);
      expect(two).toBeGreaterThan(0);
      expect(one).not.toBe(two);
      const [mine, again] = [
        await session({ sessionKeyring: 'insecure-inherit' }),
        await session({ sessionKeyring: 'insecure-inherit' }),
      ];
      expect(mine).toBe(again);
    });
  });

  describe('Landlock', () => {
    const program = { path: '/calls', allow: ['execute', 'read-file'] } as const;
    const itAbi = (version: number, declare = itRuns) =>
      itKernel(landlockAbi >= version, `it needs ABI ${version} of Landlock`, declare);
    const itLacks = itKernel(landlockAbi > 0 && landlockAbi < 6, 'the kernel has every right of Landlock', itRuns);

    itLacks(
      'starts nothing if the kernel lacks a right that is required, and goes without one that is not',
      async () => {
        const lacking = startSandbox({ root, landlock: { required: ['signal'] }, command: ['/calls', 'raw', '110'] });
        await expect(lacking).rejects.toMatchObject({
          operation: { name: 'landlock' },
          errno: 'EOPNOTSUPP',
          remedy: expect.stringMatching(/newer one/),
        });
        const landlock = { required: program.allow, ifSupported: ['signal'], paths: [program] } as const;
        expect((await calls({ root, landlock }, 'raw', '110')).stdout).toBe('0\n');
      },
    );

    itRuns('refuses files that no rule allows, and allows those that one does', async () => {
      writeFileSync(`${image}/data/file`, 'content\n');
      expect((await calls({ root }, 'open', '/data/file')).stdout).toBe('3\ncontent\n');
      const required = LANDLOCK_RIGHTS.execute;
      expect((await calls({ root, landlock: { required, paths: [program] } }, 'open', '/data/file')).stdout).toBe(
        '-13\n',
      );
      const paths = [program, { path: '/data', allow: LANDLOCK_RIGHTS.read }];
      expect((await calls({ root, landlock: { required, paths } }, 'open', '/data/file')).stdout).toBe('3\ncontent\n');
      const fileRule = [program, { path: '/data/file', allow: LANDLOCK_RIGHTS.read }]; // read-dir says nothing about a file
      expect((await calls({ root, landlock: { required, paths: fileRule } }, 'open', '/data/file')).stdout).toBe(
        '3\ncontent\n',
      );
    });

    itRuns('refuses to execute what no rule allows', async () => {
      const landlock = { required: ['execute'] } as const;
      await expect(startSandbox({ root, landlock, command: ['/calls'] })).rejects.toMatchObject({
        operation: { name: 'exec' },
        errno: 'EACCES',
      });
    });

    itRuns('follows no link of the root file system, and passes over what is not there only if told so', async () => {
      const required = ['execute'] as const;
      const link = { required, paths: [{ path: '/proc/self/exe', allow: required }] };
      await expect(startSandbox({ root, landlock: link, command: ['/calls'] })).rejects.toMatchObject({
        errno: 'ELOOP',
      });
      const missing = {
        required,
        paths: [program, { path: '/nothing', allow: required }].map((p) => ({ ...p, allow: required })),
      };
      await expect(startSandbox({ root, landlock: missing, command: ['/calls'] })).rejects.toMatchObject({
        operation: { name: 'landlock', detail: '/nothing' },
        errno: 'ENOENT',
      });
      const optional = { required, paths: missing.paths.map((p) => ({ ...p, ifPresent: true })) };
      expect((await calls({ root, landlock: optional }, 'raw', '110')).stdout).toBe('0\n');
    });

    itAbi(5)('refuses to truncate, to move between directories, and ioctl on devices', async () => {
      const writable = {
        root: { type: 'overlay', lower: [image], changes: { type: 'memory' } },
      } as const;
      mkdirSync(`${image}/data/a`, { recursive: true });
      mkdirSync(`${image}/data/b`, { recursive: true });
      writeFileSync(`${image}/data/a/x`, 'x');
      const under = (right: LandlockRight) => ({ ...writable, landlock: { required: [right] } });
      expect((await calls(writable, 'truncate', '/data/file')).stdout).toBe('0\n');
      expect((await calls(under('truncate'), 'truncate', '/data/file')).stdout).toBe('-13\n');
      expect((await calls(writable, 'raw', '82', '@/data/a/x', '@/data/b/x')).stdout).toBe('0\n');
      expect((await calls(under('refer'), 'raw', '82', '@/data/a/x', '@/data/b/x')).stdout).toBe('-18\n');
      expect((await calls(writable, 'ioctl', '/dev/zero')).stdout).toBe('-25\n');
      expect((await calls(under('ioctl-dev'), 'ioctl', '/dev/zero')).stdout).toBe('-13\n');
    });

    itAbi(4)('refuses TCP ports that no rule allows', async () => {
      const landlock = {
        required: LANDLOCK_RIGHTS.network,
        ports: [
          { port: 8080, allow: ['bind-tcp'] },
          { port: 9090, allow: ['connect-tcp'] },
        ],
      } as const;
      expect((await calls({ root }, 'bind', '8081')).stdout).toBe('0\n');
      expect((await calls({ root, landlock }, 'bind', '8080')).stdout).toBe('0\n');
      expect((await calls({ root, landlock }, 'bind', '8081')).stdout).toBe('-13\n');
      expect((await calls({ root, landlock }, 'connect', '9090')).stdout).toBe('-111\n'); // nobody listens: it was tried
      expect((await calls({ root, landlock }, 'connect', '9091')).stdout).toBe('-13\n');
    });

    itAbi(6, itRoot)('keeps connections to abstract sockets and signals within the sandbox', async () => {
      const name = `casemate-${process.pid}`;
      const server = createServer((socket) => socket.destroy()).listen(`\0${name}`);
      const shared = { root, namespaces: { net: false, user: false, pid: false }, systemMounts: false } as const;
      const kill = { ...shared, capabilities: ['CAP_KILL'] } as const;
      try {
        expect((await calls(shared, 'abstract', name)).stdout).toBe('0\n');
        const sockets = { required: ['abstract-unix-socket'] } as const;
        expect((await calls({ ...shared, landlock: sockets }, 'abstract', name)).stdout).toBe('-1\n');
        expect((await calls(kill, 'raw', '62', String(process.pid), '0')).stdout).toBe('0\n');
        const signals = { required: ['signal'] } as const;
        expect((await calls({ ...kill, landlock: signals }, 'raw', '62', String(process.pid), '0')).stdout).toBe(
          '-1\n',
        );
      } finally {
        server.close();
      }
    });

    itRuns('holds beside an init, a filter and a callback', async () => {
      const landlock = { required: LANDLOCK_RIGHTS.execute, ifSupported: LANDLOCK_RIGHTS.scopes, paths: [program] };
      expect((await calls({ root, init: true, landlock }, 'open', '/data/file')).stdout).toBe('-13\n');
      const sandbox = await startSandbox({ root, init: true, landlock, command: ['/calls', 'wait'] });
      expect(await sandbox.wait()).toEqual({ code: 0, signal: null });
    });
  });
});
