import { spawn, spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { createCgroup } from '@casemate/cgroups';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NamespaceError, type SandboxSpec, startSandbox } from '../src/index.js';
import { EVENT, EventReader, encodeRequest, type LauncherEvent } from '../src/protocol.js';
import {
  asUser,
  bundleStarter,
  cleanUp,
  inChroot,
  makeRoot,
  obstacle,
  outcome,
  releaseLauncher,
  sanitizedLauncher,
  script,
  workspace,
} from './fixtures.js';
import { itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const image = hindrance ? '' : makeRoot('image');
const starter = await bundleStarter();
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;

afterAll(cleanUp);

describe.each(launchers)('%s', (_, launcher) => {
  const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');
  const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');
  const root = { type: 'overlay', lower: [image], changes: { type: 'memory' } } as const;

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  describe('isolates', () => {
    itRuns('ids: the command is root inside and nobody outside', async () => {
      const { stdout, exit } = await script({ root }, 'id -u; id -g; cat /proc/self/uid_map');
      const [uid, gid, map = ''] = stdout.split('\n');
      expect([uid, gid, exit]).toEqual(['0', '0', { code: 0, signal: null }]);
      expect(Number(map.trim().split(/\s+/)[1])).not.toBe(0);
    });

    itRuns('privileges: no capability in any set, no new ones, a filter', async () => {
      const { stdout } = await script({ root }, 'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status');
      const status = Object.fromEntries(
        stdout
          .trim()
          .split('\n')
          .map((line) => line.split(/:\s*/)),
      );
      const none = '0000000000000000';
      expect(status).toEqual({
        CapInh: none,
        CapPrm: none,
        CapEff: none,
        CapBnd: none,
        CapAmb: none,
        NoNewPrivs: '1',
        Seccomp: '2',
      });
    });

    itRuns('processes: the command is pid 1 and sees no other', async () => {
      const { stdout } = await script(
        { root },
        'tr "\\0" " " < /proc/1/cmdline; echo; ls /proc | grep -c "^[0-9]"; echo $$',
      );
      expect(stdout.split('\n')[0]).toMatch(/^\/bin\/sh -c tr/);
      expect(Number(stdout.split('\n')[1])).toBeLessThanOrEqual(4);
      expect(stdout.split('\n')[2]).toBe('1');
    });

    itRuns('mounts: nothing of the outside is left in the table, reachable or not', async () => {
      const { stdout } = await script({ root }, 'cat /proc/self/mountinfo');
      const mounts = stdout
        .trim()
        .split('\n')
        .map((line) => {
          const [left = '', right = ''] = line.split(' - ');
          return { point: left.split(' ')[4] ?? '', type: right.split(' ')[0] ?? '' };
        });
      expect(mounts[0]).toEqual({ point: '/', type: 'overlay' });
      expect(mounts.filter((m) => m.point === '/')).toHaveLength(1);
      const types = new Set(mounts.map((m) => (m.type === 'devtmpfs' ? 'tmpfs' : m.type)));
      expect([...types].sort()).toEqual(['devpts', 'mqueue', 'overlay', 'proc', 'sysfs', 'tmpfs']);
      expect(mounts.length).toBeLessThan(40);
    });

    itRuns('the host name', async () => {
      expect((await script({ root, hostname: 'inner.example' }, 'hostname')).stdout).toBe('inner.example\n');
    });

    itRuns('the network: a loopback that works and nothing else', async () => {
      const { stdout } = await script(
        { root },
        'ls /sys/class/net; cat /sys/class/net/lo/flags; ping -c1 -w1 127.0.0.1 >/dev/null 2>&1; ip -4 a',
      );
      expect(stdout.split('\n')[0]).toBe('lo');
      expect(Number(stdout.split('\n')[1]) & 1).toBe(1);
      expect(stdout).toContain('127.0.0.1/8');
    });

    itRuns('the environment, the descriptors, the session', async () => {
      const spec = { root, env: { A: '1', B: 'x y' } };
      const { stdout } = await script(
        spec,
        'tr "\\0" "\\n" < /proc/self/environ; { sleep 0.3; ls /proc/$$/fd; } | tr "\\n" " "; cut -d" " -f6 /proc/$$/stat',
      );
      const lines = stdout.split('\n');
      expect(lines.filter((l) => /^[AB]=/.test(l)).sort()).toEqual(['A=1', 'B=x y']);
      expect(stdout).not.toMatch(/CASEMATE|NODE|HOME=/);
      expect(lines.find((l) => l.startsWith('0 1 2'))).toBe('0 1 2 1');
    });

    itRuns('cgroups: the command sees its own as the root', async () => {
      const { stdout } = await script({ root }, 'cut -d: -f3 /proc/self/cgroup | sort -u');
      expect(stdout).toBe('/\n');
    });

    itRuns('time: clocks run with their own offset', async () => {
      const ahead = 1_000_000n * 1_000_000_000n;
      const { stdout } = await script({ root, clockOffsets: { boottime: ahead } }, 'cut -d. -f1 /proc/uptime');
      const outside = Number(readFileSync('/proc/uptime', 'utf8').split('.')[0]);
      expect(Math.abs(Number(stdout) - outside - 1_000_000)).toBeLessThan(10);
    });

    itRuns('the kernel: what is masked cannot be read, what is read-only not written', async () => {
      const { stdout } = await script(
        { root, maskedPaths: ['/etc/greeting', '/data'], readOnlyPaths: ['/tmp'] },
        `cat /proc/timer_list | wc -c; cat /etc/greeting | wc -c; ls /data | wc -l
         for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /tmp/x /sys/x /etc/greeting; do (echo a > $f) 2>/dev/null && echo "wrote $f"; done; true`,
      );
      expect(stdout.trim().split(/\s+/)).toEqual(['0', '0', '0']);
    });

    itRuns('system calls: new namespaces, mounts and keyrings are refused', async () => {
      const { stdout } = await script(
        { root },
        'unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1; chroot / true 2>&1; true',
      );
      expect(stdout.match(/not permitted|permission denied/g), stdout).toHaveLength(3);
    });
  });

  describe('gives', () => {
    itRuns('a /dev that works', async () => {
      const { stdout } = await script(
        { root },
        'head -c5 /dev/zero | wc -c; echo x > /dev/null; head -c4 /dev/urandom | wc -c; test -c /dev/ptmx && echo pty; echo shm > /dev/shm/a && cat /dev/shm/a; ls -d /dev/mqueue; (echo x > /dev/full) 2>&1 | grep -c space',
      );
      expect(stdout.split('\n').slice(0, -1)).toEqual(['5', '4', 'pty', 'shm', '/dev/mqueue', '1']);
    });

    itRuns('streams: what goes in comes out, and a closed input ends the command', async () => {
      const sandbox = await startSandbox({ root, command: ['/bin/cat'] });
      const megabyte = new Uint8Array(1 << 20).fill(97);
      sandbox.stdin?.end(megabyte);
      const { stdout, exit } = await outcome(sandbox);
      expect([stdout.length, exit.code]).toEqual([1 << 20, 0]);
    });

    itRuns('the exit code, or the signal', async () => {
      expect((await script({ root }, 'exit 42')).exit).toEqual({ code: 42, signal: null });
      expect((await script({ root, init: true }, 'exit 43')).exit).toEqual({ code: 43, signal: null });
      expect((await script({ root, init: true }, 'kill -SEGV $$')).exit).toEqual({ code: null, signal: 'SIGSEGV' });
    });

    itRuns('a working directory, a mask and limits', async () => {
      const spec: Omit<SandboxSpec, 'command'> = {
        root,
        cwd: '/data',
        umask: 0o077,
        rlimits: { nofile: { soft: 17, hard: 20 }, core: { soft: 0, hard: 0 } },
      };
      const { stdout } = await script(spec, 'pwd; umask; ulimit -n; ulimit -Hn; touch /tmp/f; stat -c %a /tmp/f');
      expect(stdout.trim().split('\n')).toEqual(['/data', '0077', '17', '20', '600']);
    });

    itRuns('the capabilities that are asked for, and their use', async () => {
      const spec: Omit<SandboxSpec, 'command'> = { root, capabilities: ['CAP_SYS_CHROOT', 'CAP_NET_BIND_SERVICE'] };
      const { stdout } = await script(spec, 'grep ^Cap /proc/self/status | cut -f2 | sort -u; chroot / echo rooted');
      expect(stdout).toBe('0000000000040400\nrooted\n');
    });

    itRuns('an init that reaps orphans, passes signals on and hides its image', async () => {
      const sandbox = await startSandbox({
        root,
        init: true,
        command: [
          '/bin/sh',
          '-c',
          'trap "echo told; exit 5" TERM; (sleep 0.05 & exit) ; sleep 0.2; ps -o stat,comm | grep -c ^Z; cat /proc/1/exe >/dev/null 2>&1 || echo hidden; echo ready; while :; do sleep 0.05; done',
        ],
      });
      sandbox.stdout?.on('data', (chunk) => String(chunk).includes('ready') && sandbox.signal('SIGTERM'));
      const { stdout, exit } = await outcome(sandbox);
      expect(stdout).toBe('0\nhidden\nready\ntold\n');
      expect(exit).toEqual({ code: 5, signal: null });
    });

    itRuns('an out-of-memory score', async () => {
      expect((await script({ root, oomScoreAdj: 700 }, 'cat /proc/self/oom_score_adj')).stdout).toBe('700\n');
    });

    itRuns('a filter of the caller', async () => {
      const seccomp = {
        rules: [{ syscalls: ['mkdir', 'mkdirat'], action: { type: 'errno', errno: 28 } }],
        otherwise: { type: 'allow' },
      } as const;
      expect((await script({ root, seccomp }, 'mkdir /tmp/a 2>&1; mkdir /tmp/b 2>/dev/null; ls /tmp')).stdout).toMatch(
        /^mkdir: .*No space left on device\n$/,
      );
      expect((await script({ root, seccomp: 'insecure-none' }, 'grep Seccomp: /proc/self/status')).stdout).toMatch(
        /0\n/,
      );
    });

    itRoot('users and groups of the inside', async () => {
      const spec = { root, user: { uid: 1000, gid: 100, groups: [100, 5] } };
      const { stdout } = await script(
        spec,
        'id -u; id -g; grep ^Groups /proc/self/status; touch /tmp/x 2>/dev/null || echo denied; grep ^CapEff /proc/self/status',
      );
      expect(stdout.replace(/\s+/g, ' ').trim()).toBe('1000 100 Groups: 5 100 denied CapEff: 0000000000000000');
    });
  });

  describe('mounts', () => {
    itRuns('an overlay whose changes stay in memory', async () => {
      const { stdout } = await script(
        { root },
        'echo changed > /etc/greeting; rm /bin/vi; mkdir /new; cat /etc/greeting; ls /bin/vi 2>/dev/null',
      );
      expect(stdout).toBe('changed\n');
      expect(readFileSync(`${image}/etc/greeting`, 'utf8')).toBe('from the image\n');
      expect(existsSync(`${image}/new`)).toBe(false);
    });

    itRuns('an overlay whose changes stay in a directory', async () => {
      const path = `${workspace}/changes-${Math.random()}`;
      mkdirSync(`${path}/upper`, { recursive: true });
      mkdirSync(`${path}/work`);
      const kept = { type: 'overlay', lower: [image], changes: { type: 'directory', path } } as const;
      expect((await script({ root: kept }, 'echo kept > /data/f; rm /etc/greeting')).exit.code).toBe(0);
      expect((await script({ root: kept }, 'cat /data/f; ls /etc')).stdout).toBe('kept\n');
      expect(readFileSync(`${path}/upper/data/f`, 'utf8')).toBe('kept\n');
    });

    itRuns('several layers, the first one uppermost', async () => {
      const top = `${workspace}/top-${Math.random()}`;
      mkdirSync(`${top}/etc`, { recursive: true });
      writeFileSync(`${top}/etc/greeting`, 'from the top\n');
      const layered = { type: 'overlay', lower: [top, image], changes: 'refused' } as const;
      const { stdout } = await script(
        { root: layered, systemMounts: false },
        'cat /etc/greeting; (echo x > /x) 2>&1 | grep -c Read-only',
      );
      expect(stdout).toBe('from the top\n1\n');
    });

    itRuns('a directory as a root that cannot be written', async () => {
      const { stdout } = await script(
        { root: { type: 'bind', source: image } },
        'cat /etc/greeting; (echo x > /etc/new) 2>&1 | grep -c Read-only',
      );
      expect(stdout).toBe('from the image\n1\n');
    });

    itRuns('files and directories of the outside, read-only unless told otherwise', async () => {
      const shared = `${workspace}/shared-${Math.random()}`;
      mkdirSync(shared);
      writeFileSync(`${shared}/f`, 'outside\n');
      const mounts: SandboxSpec['mounts'] = [
        { type: 'bind', source: shared, target: '/mnt/ro' },
        { type: 'bind', source: shared, target: '/mnt/rw', readOnly: false, executable: false },
        { type: 'bind', source: `${shared}/f`, target: '/one/file' },
        { type: 'tmpfs', target: '/scratch', mode: 0o700 },
      ];
      const { stdout } = await script(
        { root, mounts },
        'cat /mnt/ro/f /one/file; (echo x > /mnt/ro/f) 2>&1 | grep -c Read-only; echo inside > /mnt/rw/g; echo t > /scratch/t; stat -c %a /scratch; cp /bin/busybox /mnt/rw/sh; (/mnt/rw/sh) 2>&1 | grep -c denied',
      );
      expect(stdout).toBe('outside\noutside\n1\n700\n1\n');
      expect(readFileSync(`${shared}/g`, 'utf8')).toBe('inside\n');
    });

    itRuns('nothing where no namespaces are wanted but the user and pid ones', async () => {
      const namespaces = { mount: false, net: false, ipc: false, uts: false, cgroup: false, time: false };
      const { stdout } = await script({ namespaces, systemMounts: false }, 'echo alive; echo $$');
      expect(stdout).toBe('alive\n1\n');
    });

    itRuns("the caller's own file system read-only where no root is given", async () => {
      const { stdout } = await script(
        {},
        '(echo x > /usr/x) 2>&1 | grep -ci -e read-only -e denied -e create; ls /proc | grep -c "^[0-9]"',
      );
      expect(Number(stdout.split('\n')[0])).toBe(1);
      expect(Number(stdout.split('\n')[1])).toBeLessThan(8);
    });
  });

  describe('does not let a hostile root file system', () => {
    itRuns('lead a mount outside, or to another place inside, by a symbolic link', async () => {
      const hostile = makeRoot(`hostile-${Math.random()}`);
      symlinkSync('/etc', `${hostile}/absolute`);
      symlinkSync('../../../../../../tmp', `${hostile}/climbing`);
      symlinkSync('/proc/self/root', `${hostile}/magic`);
      for (const target of ['/absolute', '/climbing/x', '/magic/x', '/absolute/deep/er']) {
        const spec: SandboxSpec = {
          root: { type: 'bind', source: hostile, readOnly: false },
          mounts: [{ type: 'tmpfs', target }],
          command: ['/bin/true'],
        };
        const error = await startSandbox(spec).then(
          () => undefined,
          (e: unknown) => e,
        );
        expect(error, target).toMatchObject({
          code: 'operation-failed',
          errno: 'ELOOP',
          operation: { name: 'mount', detail: target },
        });
      }
      expect(existsSync('/tmp/x')).toBe(false);
      expect(existsSync('/etc/deep')).toBe(false);
    });

    itRuns('lead the system mounts astray', async () => {
      const hostile = makeRoot(`astray-${Math.random()}`);
      const { renameSync } = await import('node:fs');
      renameSync(`${hostile}/proc`, `${hostile}/other`);
      symlinkSync('/other', `${hostile}/proc`);
      const spec: SandboxSpec = { root: { type: 'bind', source: hostile }, command: ['/bin/true'] };
      await expect(startSandbox(spec)).rejects.toMatchObject({
        errno: 'ELOOP',
        operation: { name: 'mount', detail: '/proc' },
      });
    });

    itRuns('lead the command to what the launcher has open', async () => {
      const hostile = makeRoot(`links-${Math.random()}`);
      for (let fd = 3; fd < 16; fd++) symlinkSync(`/proc/self/fd/${fd}`, `${hostile}/data/${fd}`);
      const spec: SandboxSpec = {
        root: { type: 'overlay', lower: [hostile], changes: { type: 'memory' } },
        mounts: [{ type: 'file', target: '/etc/secret', content: 'not to be changed' }],
        maskedPaths: ['/etc/greeting', '/tmp'],
        command: ['/bin/ls', '-l'],
      };
      for (let fd = 3; fd < 16; fd++) {
        const start = startSandbox({ ...spec, cwd: `/data/${fd}` }).then(outcome);
        await expect(start).rejects.toMatchObject({
          operation: { name: 'change-directory' },
          errno: fd === 3 ? 'ENOTDIR' : 'ENOENT', // 3 is the socket by which it tells of this
        });
      }
    });

    itRuns('have a mask passed over through a link', async () => {
      const hostile = makeRoot(`masked-${Math.random()}`);
      symlinkSync('etc', `${hostile}/secrets`);
      const spec: SandboxSpec = {
        root: { type: 'bind', source: hostile },
        maskedPaths: ['/secrets/greeting'],
        command: ['/bin/true'],
      };
      await expect(startSandbox(spec)).rejects.toMatchObject({ errno: 'ELOOP', operation: { name: 'mask' } });
    });
  });

  describe('tells which operation failed, and what mends it', () => {
    const cases: readonly (readonly [string, Partial<SandboxSpec>, string, string])[] = [
      ['a command that is not there', { command: ['/bin/none'] }, 'exec', 'ENOENT'],
      ['a command that is a directory', { command: ['/bin'] }, 'exec', 'EACCES'],
      ['a command that is no program', { command: ['/etc/greeting'] }, 'exec', 'EACCES'],
      ['a working directory that is not there', { cwd: '/none' }, 'change-directory', 'ENOENT'],
      ['a working directory that is a file', { cwd: '/etc/greeting' }, 'change-directory', 'ENOTDIR'],
      [
        'a layer that is not there',
        { root: { type: 'overlay', lower: ['/none/such'], changes: 'refused' } },
        isRoot ? 'tree' : 'bind',
        'ENOENT',
      ],
      ['a directory on a file', { mounts: [{ type: 'tmpfs', target: '/etc/greeting' }] }, 'mount', 'ENOTDIR'],
      [
        'a mount point in a root that cannot be written',
        { root: { type: 'bind', source: image }, mounts: [{ type: 'tmpfs', target: '/none' }] },
        'mount',
        'EROFS',
      ],
    ];

    for (const [what, part, name, errno] of cases) {
      itRuns(what, async () => {
        const error = await startSandbox({ root, command: ['/bin/true'], ...part }).then(
          () => undefined,
          (e: unknown) => e,
        );
        expect(error).toBeInstanceOf(NamespaceError);
        expect(error).toMatchObject({ code: 'operation-failed', errno, operation: { name } });
        if (error instanceof NamespaceError) expect(error.message).toContain(`(${name}, `);
      });
    }

    itRuns('also where an init stands between', async () => {
      const spec: SandboxSpec = { root, init: true, command: ['/bin/none'] };
      await expect(startSandbox(spec)).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'exec', detail: '/bin/none' },
        remedy: expect.stringContaining('loader'),
      });
    });

    itRoot('a /proc by whose numbers strangers would be struck', () => {
      const job = { spec: { command: ['/bin/true'], namespaces: { user: false, pid: false }, oomScoreAdj: 1 } };
      const args = ['--pid', '--fork', process.execPath, starter, JSON.stringify([job])];
      const { stdout, stderr } = spawnSync('unshare', args, {
        encoding: 'utf8',
        env: { ...process.env, CASEMATE_LAUNCHER: launcher },
        timeout: 30_000,
      });
      expect(JSON.parse(stdout || '{}'), stderr).toMatchObject({
        error: {
          errno: 'EXDEV',
          message: expect.stringContaining('the launcher (/proc shows another pid namespace)'),
          remedy: expect.stringContaining('--mount-proc'),
        },
      });
    });

    itRuns('a description that is too large, and neither other sandboxes nor the program hear of it', async () => {
      await using other = await startSandbox({ root, command: ['/bin/cat'] });
      const content = new Uint8Array(1 << 20);
      const mounts = Array.from({ length: 5 }, (__, i) => ({ type: 'file', target: `/tmp/${i}`, content }) as const);
      const long = 'x'.repeat(1 << 17);
      for (const spec of [
        { root, mounts, command: ['/bin/true'] },
        { root, command: ['/bin/echo', long] },
        { root, env: { LONG: long }, command: ['/bin/true'] },
      ] satisfies SandboxSpec[]) {
        await expect(startSandbox(spec)).rejects.toMatchObject({ name: 'NamespaceError', code: 'bad-spec' });
        await expect(startSandbox(spec, { stdio: { stdin: 0 } })).rejects.toMatchObject({ code: 'bad-spec' });
      }
      await expect(other.exec({ command: ['/bin/echo', 'a\0b'] })).rejects.toMatchObject({ code: 'bad-spec' });
      other.stdin?.end('still there');
      expect(await outcome(other)).toMatchObject({ stdout: 'still there', exit: { code: 0, signal: null } });
    });

    itRuns('a broken request, and is there for the next one unless its frame is broken', async () => {
      const good = encodeRequest(1, {
        verb: 'start',
        target: 0,
        streams: ['ignore', 'ignore', 'ignore'],
        operations: [
          { op: 'namespaces', flags: 0 },
          { op: 'hostname', name: 'x' },
        ],
      });
      for (const at of [12, 16, 20, 28, 32, 33, 34, 38, 42, 44, 50, good.length - 1]) {
        const { events, status } = await serve(launcher ?? '', [flip(good, at), encodeRequest(2, { verb: 'probe' })]);
        expect(events.filter((e) => e.id === 1 && e.type === EVENT.failed).length, `byte ${at}`).toBe(1);
        expect(events.find((e) => e.id === 1 && e.type === EVENT.gone)?.b, `byte ${at}`).toBe(125);
        expect(events.filter((e) => e.id === 2 && e.type === EVENT.probe).length).toBeGreaterThan(10);
        expect(status).toBe(0);
      }
      for (const at of [2, 3]) expect((await serve(launcher ?? '', [flip(good, at)])).status).toBe(0);
      expect((await serve(launcher ?? '', [flip(good, 5)])).events.map((e) => e.type)).toEqual([
        EVENT.failed,
        EVENT.gone,
      ]);
    });
  });

  describe('ends', () => {
    itRuns('at once when it is stopped without grace, with every process', async () => {
      const sandbox = await startSandbox({
        root,
        command: ['/bin/sh', '-c', 'trap "" TERM; sleep 100 & sleep 100 & echo up; wait'],
      });
      await new Promise((resolve) => sandbox.stdout?.once('data', resolve));
      const inside = descendants(sandbox.pid);
      expect(inside.length).toBe(3);
      expect(await sandbox.stop({ grace: 0 })).toEqual({ code: null, signal: 'SIGKILL' });
      expect(inside.filter(isAlive)).toEqual([]);
      expect(await sandbox.stop()).toEqual({ code: null, signal: 'SIGKILL' });
      expect(() => sandbox.signal('SIGTERM')).toThrow(NamespaceError);
    });

    itRuns('by SIGTERM if the command heeds it, and by SIGKILL after the grace if not', async () => {
      await using heeding = await startSandbox({ root, init: true, command: ['/bin/sleep', '100'] });
      expect(await heeding.stop()).toEqual({ code: null, signal: 'SIGTERM' });
      await using deaf = await startSandbox({ root, command: ['/bin/sleep', '100'] });
      const before = Date.now();
      expect(await deaf.stop({ grace: 150 })).toEqual({ code: null, signal: 'SIGKILL' });
      expect(Date.now() - before).toBeGreaterThanOrEqual(140);
    });

    itRuns('when its abort signal fires', async () => {
      const abort = new AbortController();
      const sandbox = await startSandbox({ root, command: ['/bin/sleep', '100'] }, { signal: abort.signal });
      abort.abort();
      expect(await sandbox.wait()).toEqual({ code: null, signal: 'SIGKILL' });
      await expect(startSandbox({ root, command: ['/bin/true'] }, { signal: abort.signal })).rejects.toThrow();
    });

    itRuns('when its abort signal fires while it is being made', async () => {
      const abort = new AbortController();
      const starting = startSandbox({ root, command: ['/bin/sleep', '100'] }, { signal: abort.signal });
      abort.abort(new Error('enough'));
      await expect(starting).rejects.toThrow('enough');
      await using sandbox = await startSandbox({ root, command: ['/bin/sleep', '100'] });
      const again = new AbortController();
      const beside = sandbox.exec({ command: ['/bin/sleep', '100'] }, { signal: again.signal });
      again.abort(new Error('enough'));
      await expect(beside).rejects.toThrow('enough');
    });

    itRuns('without a trace at an abort signal that outlives it', async () => {
      const { signal } = new AbortController();
      const sandbox = await startSandbox({ root, command: ['/bin/true'] }, { signal });
      await sandbox.wait();
      await eventually(() => getEventListeners(signal, 'abort').length === 0);
    });

    itRuns('with all that it started, without a pid namespace too', async () => {
      const namespaces = { pid: false };
      const sandbox = await startSandbox({
        root,
        namespaces,
        command: ['/bin/sh', '-c', 'setsid sleep 100 & sleep 0.2; exit 0'],
      });
      await new Promise((resolve) => setTimeout(resolve, 120));
      const inside = descendants(sandbox.pid);
      expect(inside.length).toBeGreaterThanOrEqual(2);
      await sandbox.wait();
      expect(inside.filter(isAlive)).toEqual([]);
    });

    itRuns('and before that collects what loses its parent where there is no pid namespace', async () => {
      const source = 'i=0; while [ $i -lt 30 ]; do (true &); i=$((i+1)); done; echo made; exec sleep 100';
      await using sandbox = await startSandbox({
        root,
        namespaces: { pid: false },
        command: ['/bin/sh', '-c', source],
      });
      await new Promise((resolve) => sandbox.stdout?.once('data', resolve));
      const list = `/proc/${parentOf(sandbox.pid)}/task/${parentOf(sandbox.pid)}/children`;
      await eventually(() => readFileSync(list, 'utf8').trim() === String(sandbox.pid));
      await sandbox.stop({ grace: 0 });
    });

    itRuns('however many signals were sent to it before', async () => {
      for (let tries = 0; tries < 5; tries++) {
        await using sandbox = await startSandbox({ root, command: ['/bin/sleep', '100'] });
        for (let i = 0; i < 3000; i++) sandbox.signal('SIGWINCH');
        expect(await sandbox.stop({ grace: 0 })).toEqual({ code: null, signal: 'SIGKILL' });
      }
    });

    for (const namespaces of [{}, { pid: false }]) {
      itRuns(
        `when the program that started it is killed (${JSON.stringify(namespaces)}), and leaves no process and no cgroup`,
        async () => {
          const spec = { root, namespaces, command: ['/bin/sh', '-c', 'sleep 100 & sleep 100'] };
          const job = { spec, hold: true, ...(isRoot && { pidsMax: 20 }) };
          const parent = spawn(process.execPath, [starter, JSON.stringify([job])], {
            env: { CASEMATE_LAUNCHER: launcher ?? '' },
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          const line = await new Promise<string>((resolve) =>
            parent.stdout.once('data', (chunk) => resolve(String(chunk))),
          );
          const { pid, directories } = JSON.parse(line) as { pid: number; directories: string[] };
          await eventually(() => descendants(pid).length === 2 + 1 || descendants(pid).length === 2);
          const tree = [...descendants(pid), parentOf(pid)];
          parent.kill('SIGKILL');
          await eventually(() => tree.filter(isAlive).length === 0);
          await eventually(() => directories.every((path) => !existsSync(path)));
          expect(directories.length > 0).toBe(isRoot);
        },
      );
    }

    itRuns('when its launcher is killed', async () => {
      const sandbox = await startSandbox({ root, command: ['/bin/sleep', '100'] });
      process.kill(parentOf(sandbox.pid), 'SIGKILL');
      await expect(sandbox.wait()).rejects.toMatchObject({ code: 'launcher-failed' });
      await eventually(() => !isAlive(sandbox.pid));
    });
  });

  describe('in a cgroup', () => {
    itRoot('starts the command, with its limits in force', async () => {
      await using cgroup = await createCgroup({
        limits: { pidsMax: 6, memoryMax: 32 << 20, cpuMax: { quota: 50_000, period: 100_000 } },
      });
      const sandbox = await startSandbox({
        root,
        cgroup,
        command: ['/bin/sh', '-c', 'read go; i=0; while [ $i -lt 20 ]; do sleep 9 & i=$((i+1)); done'],
      });
      expect(await cgroup.members()).toContain(sandbox.pid);
      sandbox.stdin?.end('go\n');
      const { stderr, exit } = await outcome(sandbox);
      expect(stderr).toMatch(/fork/);
      expect(exit.code).toBe(2);
      const glutton = await script({ root, cgroup }, 'dd if=/dev/zero of=/dev/null bs=100M count=1');
      expect(glutton.exit).not.toEqual({ code: 0, signal: null });
      expect((await cgroup.stats()).memory?.oomKills).toBeGreaterThan(0n);
    });

    itRoot('that is gone does not start', async () => {
      const cgroup = await createCgroup({ limits: { pidsMax: 6 } });
      await cgroup.destroy();
      await expect(startSandbox({ root, cgroup, command: ['/bin/true'] })).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'cgroup' },
      });
    });
  });

  describe('for an ordinary user', () => {
    itRoot('isolates in a chroot too, where the kernel by itself refuses user namespaces', () => {
      const refused = spawnSync('chroot', [image, '/bin/unshare', '-U', '/bin/true'], { encoding: 'utf8' });
      expect(refused.stderr).toContain('Operation not permitted');
      const command = ['/bin/sh', '-c', 'id -u; cat /proc/1/comm; cat /etc/greeting; ls -d /usr /var 2>/dev/null'];
      const { stdout, exit } = inChroot(starter, launcher ?? '', { spec: { root, command } });
      expect(stdout).toBe('0\nsh\nfrom the image\n');
      expect(exit).toEqual({ code: 1, signal: null });
    });

    itRoot('isolates as it does for root', async () => {
      const status =
        'id -u; cat /proc/self/uid_map; grep -E "^(CapBnd|CapEff|NoNewPrivs|Seccomp:)" /proc/self/status; cat /proc/1/comm; hostname; touch /new && ls /new; (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo kept; wc -l < /proc/self/mountinfo';
      const [all, bind, failing] = await asUser(starter, launcher ?? '', [
        { spec: { root, command: ['/bin/sh', '-c', status] } },
        {
          spec: {
            root: { type: 'bind', source: image },
            init: true,
            command: ['/bin/sh', '-c', 'cat /etc/greeting; cat /proc/1/comm'],
          },
        },
        { spec: { root, rlimits: { nofile: { soft: 1 << 30, hard: 1 << 30 } }, command: ['/bin/true'] } },
      ]);
      expect(
        String(all?.stdout)
          .replace(/[ \t]+/g, ' ')
          .split('\n')
          .slice(0, -2),
      ).toEqual([
        '0',
        ' 0 65534 1',
        'CapEff: 0000000000000000',
        'CapBnd: 0000000000000000',
        'NoNewPrivs: 1',
        'Seccomp: 2',
        'sh',
        'sandbox',
        '/new',
        'kept',
      ]);
      expect(bind?.stdout).toMatch(/^from the image\ncasemate\n/);
      expect(failing?.error).toMatchObject({ errno: 'EPERM', operation: { name: 'rlimit' } });
    });
  });
});

describe('a launcher that is not there', () => {
  it('is named in the error', async () => {
    process.env.CASEMATE_LAUNCHER = '/none/launcher';
    await expect(startSandbox({ command: ['/bin/true'] })).rejects.toMatchObject({ code: 'launcher-missing' });
  });
});

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const broken = bytes.slice();
  broken[at] = (broken[at] ?? 0) ^ 0xff;
  return broken;
}

/** A server that is sent these bytes and then nothing more: what it answers, and how it ends. */
async function serve(
  launcher: string,
  requests: readonly Uint8Array[],
): Promise<{ readonly events: readonly LauncherEvent[]; readonly status: unknown }> {
  const child = spawn(launcher, [], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'], env: {} });
  const control = child.stdio[3] as Duplex;
  const status = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  const reader = new EventReader();
  const events: LauncherEvent[] = [];
  control.on('error', () => undefined);
  for (const bytes of requests) control.write(bytes);
  const gone = (): number => events.filter((e) => e.type === EVENT.gone).length;
  await new Promise<void>((resolve) => {
    control.on('data', (chunk: Uint8Array) => {
      events.push(...reader.push(chunk));
      if (gone() === requests.length) resolve();
    });
    control.once('close', () => resolve());
  });
  control.end();
  return { events, status: await status };
}

function descendants(pid: number): readonly number[] {
  if (!isAlive(pid)) return [];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return [pid, ...children.flatMap(descendants)];
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

async function eventually(done: () => boolean): Promise<void> {
  const until = Date.now() + 5000;
  while (!done()) {
    if (Date.now() > until)
      throw new Error(`expected it to come true within 5 s: ${done}; ${readdirSync('/proc').length}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
