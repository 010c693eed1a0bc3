import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createCgroup } from '@casemate/cgroups';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planExec, withTerminal } from '../src/exec-plan.js';
import {
  defaultSeccompProfile,
  NamespaceError,
  planSandbox,
  type Sandbox,
  type SandboxProcess,
  type SandboxSpec,
  type SystemCall,
  type SystemCallAnswer,
  startLauncherServer,
  startSandbox,
} from '../src/index.js';
import {
  asUser,
  bundleStarter,
  cleanUp,
  makeRoot,
  obstacle,
  outcome,
  releaseLauncher,
  sanitizedLauncher,
  workspace,
} from './fixtures.js';
import { itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const image = hindrance ? '' : makeRoot('life');
const starter = await bundleStarter();
const SUID_DUMPABLE = '/proc/sys/fs/suid_dumpable';
const canSetDumpable = isRoot && isWritable(SUID_DUMPABLE);
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;

afterAll(cleanUp);

describe.each(launchers)('%s', (_, launcher) => {
  const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');
  const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');
  const itDumps = itNeeds(!hindrance && launcher !== undefined && canSetDumpable, `it needs to write ${SUID_DUMPABLE}`);
  const root = { type: 'overlay', lower: [image], changes: { type: 'memory' } } as const;
  const sleeping = (spec: Omit<SandboxSpec, 'command'> = {}): Promise<Sandbox> =>
    startSandbox({ root, command: ['/bin/sleep', '1000'], ...spec });
  const shell = (source: string): readonly [string, ...string[]] => ['/bin/sh', '-c', source];

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  describe('another process in a sandbox', () => {
    itRuns('is in all of its namespaces, and leaves them as they are', async () => {
      await using sandbox = await sleeping();
      const kinds = ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'time'];
      const ours = kinds.map((kind) => readlinkSync(`/proc/${sandbox.pid}/ns/${kind}`));
      await using beside = await sandbox.exec({ command: ['/bin/sleep', '1000'] });
      expect(kinds.map((kind) => readlinkSync(`/proc/${beside.pid}/ns/${kind}`))).toEqual(ours);
      expect(ours).not.toContain(readlinkSync('/proc/self/ns/user'));
      const { stdout } = await outcome(await sandbox.exec({ command: shell('touch /tmp/left; ps -o comm | sort') }));
      expect(stdout.trim().split('\n')).toEqual(expect.arrayContaining(['sleep', 'sh']));
      expect(stdout.match(/sleep/g)).toHaveLength(2);
      expect((await outcome(await sandbox.exec({ command: ['/bin/ls', '/tmp'] }))).stdout).toBe('left\n');
    });

    itRuns('has the same confinement', async () => {
      const spec: Omit<SandboxSpec, 'command'> = {
        capabilities: ['CAP_CHOWN'],
        rlimits: { nofile: { soft: 30, hard: 40 } },
        umask: 0o027,
        oomScoreAdj: 300,
        env: { A: 'from the sandbox', PATH: '/bin' },
      };
      const status =
        'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; ulimit -n; umask; cat /proc/self/oom_score_adj; echo $A; id';
      const first = await outcome(await startSandbox({ root, ...spec, command: shell(status) }));
      await using sandbox = await sleeping(spec);
      const second = await outcome(await sandbox.exec({ command: shell(status) }));
      expect(second.stdout).toBe(first.stdout);
      expect(second.stdout).toContain('NoNewPrivs:\t1\nSeccomp:\t2');
      const refused = await outcome(
        await sandbox.exec({ command: shell('unshare -U true; mount -t tmpfs x /tmp; true') }),
      );
      expect(refused.stderr.match(/not permitted|denied/g)).toHaveLength(2);
    });

    itRuns('has its own streams, environment, directory and end', async () => {
      await using sandbox = await sleeping();
      const beside = await sandbox.exec({ command: shell('cat; echo $B; pwd; exit 7'), env: { B: 'b' }, cwd: '/data' });
      beside.stdin?.end('typed\n');
      expect(await outcome(beside)).toEqual({
        stdout: 'typed\nb\n/data\n',
        stderr: '',
        exit: { code: 7, signal: null },
      });
      const stopped = await sandbox.exec({ command: ['/bin/sleep', '1000'] });
      expect(await stopped.stop()).toEqual({ code: null, signal: 'SIGTERM' });
      expect(() => stopped.signal('SIGTERM')).toThrow(NamespaceError);
      expect(() => sandbox.signal('SIGNONE' as NodeJS.Signals)).toThrow(/expected the name of a signal, got "SIGNONE"/);
      sandbox.signal('SIGCONT');
    });

    itRuns('cannot be looked into, nor its image be opened, by what runs there', async () => {
      const watcher =
        'while :; do for p in /proc/[0-9]*; do cat $p/exe 2>/dev/null | head -c4 | grep -q ELF && case $(readlink $p/exe) in *memfd*) echo reached;; esac; done; done';
      await using sandbox = await startSandbox({ root, command: shell(watcher) });
      let seen = '';
      sandbox.stdout?.on('data', (chunk) => {
        seen += chunk;
      });
      for (let i = 0; i < 10; i++) await outcome(await sandbox.exec({ command: ['/bin/true'] }));
      expect(seen).toBe('');
    });

    itDumps('nor where the machine lets who has changed its ids be looked into', async () => {
      const profile = defaultSeccompProfile();
      const owners: number[] = [];
      // At the very last moment before it is the command.
      const notify = ({ pid }: SystemCall): SystemCallAnswer => {
        owners.push(statSync(`/proc/${pid}/status`).uid);
        return { type: 'unsafe-continue' };
      };
      const rules = [{ syscalls: ['execve'], action: { type: 'notify' } } as const, ...profile.rules];
      await using sandbox = await sleeping({ seccomp: { ...profile, rules, notify } });
      const usual = readFileSync(SUID_DUMPABLE, 'utf8');
      writeFileSync(SUID_DUMPABLE, '1');
      try {
        await outcome(await sandbox.exec({ command: ['/bin/true'], user: { uid: 1000, gid: 1000 } }));
      } finally {
        writeFileSync(SUID_DUMPABLE, usual);
      }
      expect(owners.slice(1)).toEqual([0]); // proc(5): what may not be looked into belongs to root
    });

    itRuns('ends with the sandbox', async () => {
      const sandbox = await sleeping();
      const beside = await sandbox.exec({ command: ['/bin/sleep', '1000'] });
      await sandbox.stop({ grace: 0 });
      expect(await beside.wait()).toEqual({ code: null, signal: 'SIGKILL' });
      await expect(sandbox.exec({ command: ['/bin/true'] })).rejects.toMatchObject({
        code: 'operation-failed',
        errno: 'ESRCH',
      });
    });

    itRuns('that cannot be started says why, and the sandbox goes on', async () => {
      await using sandbox = await sleeping();
      await expect(sandbox.exec({ command: ['/bin/none'] })).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'exec', detail: '/bin/none' },
      });
      await expect(sandbox.exec({ command: ['/bin/true'], cwd: '/none' })).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'change-directory' },
      });
      await expect(sandbox.exec({ command: ['true'] })).rejects.toMatchObject({ code: 'bad-spec' });
      expect((await outcome(await sandbox.exec({ command: ['/bin/echo', 'still'] }))).stdout).toBe('still\n');
    });

    itRuns('may be one of many at once', async () => {
      await using sandbox = await sleeping({ init: true });
      const all = await Promise.all(
        Array.from({ length: 12 }, async (__, i) =>
          outcome(await sandbox.exec({ command: shell(`sleep 0.01; echo ${i}`) })),
        ),
      );
      expect(all.map((o) => o.stdout)).toEqual(all.map((__, i) => `${i}\n`));
    });

    itRoot('that cannot be forked costs the launcher no descriptor', async () => {
      const { pid } = await startLauncherServer({ spare: false }); // which would come and go meanwhile
      await using sandbox = await sleeping();
      await startLauncherServer({ spare: true });
      await using cgroup = await createCgroup({ limits: { pidsMax: 1 } }); // which ends the launcher with it
      await cgroup.add(pid);
      const errors = [];
      const before = readdirSync(`/proc/${pid}/fd`).length;
      for (let i = 0; i < 4; i++) {
        const beside = sandbox.exec({ command: ['/bin/true'] });
        errors.push(await beside.catch((error: NamespaceError) => `${error.errno} ${error.operation?.detail}`));
      }
      expect(errors).toEqual(Array.from({ length: 4 }, () => 'EAGAIN fork'));
      expect(readdirSync(`/proc/${pid}/fd`).length).toBe(before);
    });

    itRoot('is another user, in the same cgroup', async () => {
      await using cgroup = await createCgroup({ limits: { pidsMax: 10 } });
      await using sandbox = await sleeping({ cgroup });
      const user = { uid: 1000, gid: 100, groups: [100, 7] };
      await using beside = await sandbox.exec({ command: ['/bin/sleep', '1000'], user });
      expect(await cgroup.members()).toEqual(expect.arrayContaining([sandbox.pid, beside.pid]));
      const { stdout } = await outcome(
        await sandbox.exec({ command: shell('id -u; id -g; grep Groups /proc/self/status'), user }),
      );
      expect(stdout.replace(/\s+/g, ' ')).toBe('1000 100 Groups: 7 100 ');
    });

    itRoot('works for an ordinary user', async () => {
      const job = { spec: { root, command: ['/bin/sleep', '1000'] }, exec: { command: shell('id -u; echo $$') } };
      const [result] = await asUser(starter, launcher ?? '', [job]);
      expect(result).toMatchObject({ exit: { code: 0 } });
      expect(String(result?.stdout).split('\n')[0]).toBe('0');
    });
  });

  describe('a terminal', () => {
    itRuns('is one, with its name, size and session', async () => {
      const sandbox = await startSandbox(
        {
          root,
          command: shell(
            'tty; stty size; test -t 0 && test -t 2 && echo all; cut -d" " -f6,8 /proc/$$/stat; echo x >/dev/tty',
          ),
        },
        { stdio: { pty: { columns: 91, rows: 33 } } },
      );
      expect([sandbox.stdin, sandbox.stdout, sandbox.stderr]).toEqual([null, null, null]);
      expect(await shown(sandbox)).toBe('/dev/pts/0\r\n33 91\r\nall\r\n1 1\r\nx\r\n');
      expect(await sandbox.wait()).toEqual({ code: 0, signal: null });
    });

    itRuns('tells the command of a new size', async () => {
      const script = 'trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done';
      const sandbox = await startSandbox(
        { root, init: true, command: shell(script) },
        { stdio: { pty: { columns: 80, rows: 24 } } },
      );
      sandbox.pty?.once('data', () => sandbox.pty?.resize({ columns: 100, rows: 50 }));
      expect(await shown(sandbox)).toBe('ready\r\n50 100\r\n');
    });

    itRuns('turns what is typed into lines, signals and an end', async () => {
      const sandbox = await startSandbox(
        { root, command: shell('trap "echo told" INT; cat; cat; echo done') },
        { stdio: { pty: { columns: 80, rows: 24 } } },
      );
      setTimeout(() => sandbox.pty?.write('one\n'), 100);
      setTimeout(() => sandbox.pty?.write('\u0003'), 300);
      setTimeout(() => sandbox.pty?.end('two\n'), 500);
      const text = await shown(sandbox);
      expect(text).toContain('one\r\none\r\n');
      expect(text).toContain('told');
      expect(text).toContain('two\r\ntwo\r\n');
      expect(text).toMatch(/done\r\n$/);
    });

    itRuns('loses nothing of much output, and waits for a slow reader', async () => {
      const sandbox = await startSandbox(
        { root, command: shell('yes 0123456789 | head -n 50000') },
        { stdio: { pty: { columns: 80, rows: 24 } } },
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect((await shown(sandbox)).length).toBe(50_000 * 12);
    });

    itRuns('takes any size that the kernel can hold, and no other', async () => {
      await using sandbox = await startSandbox(
        { root, command: shell('until [ "$(stty size)" = "20000 65" ]; do sleep 0.02; done; echo resized') },
        { stdio: { pty: { columns: 80, rows: 24 } } },
      );
      for (const size of [
        { columns: 70_000, rows: 24 },
        { columns: 80, rows: 0 },
      ])
        expect(() => sandbox.pty?.resize(size)).toThrow(/expected a terminal of 1 to 65535 columns and rows/);
      sandbox.pty?.resize({ columns: 65_535, rows: 65_535 }); // of which busybox makes its default size
      sandbox.pty?.resize({ columns: 65, rows: 20_000 });
      expect(await shown(sandbox)).toBe('resized\r\n');
    });

    itRuns('may be that of another process in the sandbox', async () => {
      await using sandbox = await sleeping();
      const beside = await sandbox.exec({ command: ['/bin/tty'] }, { stdio: { pty: { columns: 80, rows: 24 } } });
      expect(await shown(beside)).toBe('/dev/pts/0\r\n');
    });

    itRuns('is refused where the root file system has none, and where something else poses as it', async () => {
      const options = { stdio: { pty: { columns: 80, rows: 24 } } };
      const bare = { root, systemMounts: false, command: ['/bin/true'] } as const;
      await expect(startSandbox(bare, options)).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'terminal' },
      });
      const posing = makeRoot(`posing-${Math.random()}`);
      writeFileSync(`${posing}/data/file`, '');
      symlinkSync('/data/file', `${posing}/dev/ptmx`);
      const spec = { ...bare, root: { type: 'bind', source: posing } } as const;
      await expect(startSandbox({ ...spec, root: { ...spec.root, readOnly: false } }, options)).rejects.toMatchObject({
        errno: 'ENOTTY',
        operation: { name: 'terminal' },
      });
    });
  });

  describe('streams', () => {
    itRuns('are pipes, which the command can open by name', async () => {
      const { stdout, stderr } = await outcome(
        await startSandbox({
          root,
          command: shell('echo out > /dev/stdout; echo err > /dev/stderr; readlink /proc/self/fd/0'),
        }),
      );
      expect(stdout).toMatch(/^out\npipe:/);
      expect(stderr).toBe('err\n');
    });

    itRuns('hold the command back while nobody reads', async () => {
      const sandbox = await startSandbox({
        root,
        command: shell('i=0; while [ $i -lt 400 ]; do head -c 4096 /dev/zero; i=$((i+1)); echo $i >/tmp/at; done'),
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
      const { stdout } = await outcome(await sandbox.exec({ command: ['/bin/cat', '/tmp/at'] }));
      expect(Number(stdout)).toBeLessThan(200);
      const all = await outcome(sandbox);
      expect(all.stdout.length).toBe(400 * 4096);
    });

    itRuns('may be descriptors of this program, and are its own where they are inherited', async () => {
      const path = `${workspace}/taken-${Math.random()}`;
      const fd = openSync(path, 'w');
      const sandbox = await startSandbox(
        { root, command: shell('echo to the file') },
        { stdio: { stdout: fd, stderr: 'ignore', stdin: 'ignore' } },
      );
      expect(await sandbox.wait()).toEqual({ code: 0, signal: null });
      expect(readFileSync(path, 'utf8')).toBe('to the file\n');
    });
  });

  describe('namespaces that exist', () => {
    itRoot('are joined by process, path and descriptor', async () => {
      await using other = await sleeping({ hostname: 'other' });
      const net = openSync(`/proc/${other.pid}/ns/net`, 'r');
      const joined = await startSandbox({
        root,
        namespaces: { uts: { pid: other.pid }, ipc: { path: `/proc/${other.pid}/ns/ipc` }, net: { descriptor: net } },
        systemMounts: false,
        mounts: [{ type: 'proc', target: '/proc' }],
        command: shell('hostname; for k in uts ipc net mnt user; do readlink /proc/self/ns/$k; done'),
      });
      const { stdout } = await outcome(joined);
      const links = ['uts', 'ipc', 'net', 'mnt', 'user'].map((kind) => readlinkSync(`/proc/${other.pid}/ns/${kind}`));
      const lines = stdout.trim().split('\n');
      expect(lines.slice(0, 4)).toEqual(['other', ...links.slice(0, 3)]);
      expect(lines[4]).not.toBe(links[3]);
      expect(lines[5]).not.toBe(links[4]);
    });

    itRuns('may be all of those of a sandbox', async () => {
      await using other = await sleeping();
      const pid = { pid: other.pid };
      const namespaces = { user: pid, mount: pid, pid, net: pid, ipc: pid, uts: pid, cgroup: pid, time: pid };
      const joined = await startSandbox({
        namespaces,
        systemMounts: false,
        command: shell('ps -o comm | grep -c sleep'),
      });
      expect((await outcome(joined)).stdout).toBe('1\n');
    });

    itRuns('of another kind, or of no kind, are refused', async () => {
      const wrong = (namespaces: SandboxSpec['namespaces']): Promise<Sandbox> =>
        startSandbox({ root, ...(namespaces && { namespaces }), systemMounts: false, command: ['/bin/true'] });
      await expect(wrong({ net: { path: '/proc/self/ns/uts' } })).rejects.toMatchObject({
        errno: 'EINVAL',
        operation: { name: 'join' },
      });
      await expect(wrong({ net: { path: '/none' } })).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'join' },
      });
      await expect(wrong({ net: { pid: 0 } })).rejects.toMatchObject({ code: 'bad-spec' });
    });
  });

  describe('the server', () => {
    itRuns('does not keep the program alive, nor outlive it', async () => {
      const source = `import(${JSON.stringify(starter)})`;
      const child = spawn(process.execPath, ['-e', source, '[]', '[]'], {
        stdio: 'ignore',
        env: { CASEMATE_LAUNCHER: launcher ?? '' },
      });
      expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
    });

    itRuns('is one for many sandboxes, and is started again when it was killed', async () => {
      const server = await startLauncherServer();
      expect(await startLauncherServer()).toBe(server);
      await using before = await sleeping();
      process.kill(server.pid, 'SIGKILL');
      await expect(before.wait()).rejects.toMatchObject({ code: 'launcher-failed' });
      expect((await outcome(await startSandbox({ root, command: ['/bin/echo', 'again'] }))).stdout).toBe('again\n');
      expect((await startLauncherServer()).pid).not.toBe(server.pid);
    });

    itRuns('takes a request over where it was killed before it could read it', async () => {
      process.kill((await startLauncherServer()).pid, 'SIGKILL');
      const both = [
        startSandbox({ root, command: ['/bin/echo', 'a'] }),
        startSandbox({ root, command: ['/bin/echo', 'b'] }),
      ];
      expect((await Promise.all((await Promise.all(both)).map(outcome))).map((o) => o.stdout)).toEqual(['a\n', 'b\n']);
    });

    itRuns('runs from memory that nobody can write', async () => {
      const { pid } = await startLauncherServer();
      expect(readlinkSync(`/proc/${pid}/exe`)).toMatch(/memfd:casemate-launcher \(deleted\)/);
      expect(() => writeFileSync(`/proc/${pid}/exe`, 'x')).toThrow(/EPERM|ETXTBSY/);
    });

    itRuns('starts many at once, and none of them sees a descriptor of another', async () => {
      const all = await Promise.all(
        Array.from({ length: 20 }, async (__, i) =>
          outcome(await startSandbox({ root, command: shell(`ls /proc/self/fd | wc -l; echo ${i}`) })),
        ),
      );
      expect(all.map((o) => o.stdout)).toEqual(all.map((__, i) => `4\n${i}\n`));
    });

    itRuns('is ended with all of its sandboxes', async () => {
      const server = await startLauncherServer();
      const sandbox = await sleeping();
      await server.close();
      await expect(sandbox.wait()).rejects.toMatchObject({ code: 'launcher-failed' });
      expect(() => process.kill(sandbox.pid, 0)).toThrow();
      expect(() => process.kill(server.pid, 0)).toThrow();
    });
  });
});

describe('the plan of another process', () => {
  const caller = { uid: 0, gid: 0, allIds: true, shiftedBase: 1_000_000, capabilities: 0n, linkPrefix: 've0' };
  const plan = planSandbox({ command: ['/bin/a'], init: true, capabilities: ['CAP_CHOWN'] }, caller);

  it('keeps every confinement, and makes nothing', () => {
    const names = planExec(plan, { command: ['/bin/b'] }).operations.map((o) => o.op);
    expect(names.slice(0, 2)).toEqual(['namespaces', 'join']);
    expect(names).toEqual(
      expect.arrayContaining(['bounding-set', 'ids', 'capabilities', 'no-new-privileges', 'seccomp']),
    );
    for (const name of ['mount', 'bind', 'pivot-root', 'uid-map', 'init', 'hostname'])
      expect(names).not.toContain(name);
    expect(names.at(-1)).toBe('exec');
  });

  it('is not for a user of whom the kernel would make whoever the launcher is', () => {
    for (const user of [
      { uid: 0xffff_ffff, gid: 0 },
      { uid: 0, gid: 0xffff_ffff },
      { uid: 0.5, gid: 0 },
    ]) {
      expect(() => planExec(plan, { command: ['/bin/b'], user })).toThrow(/^plan ids: expected .* got /);
    }
  });

  it('does not drop groups without a word where the id map forbids them', () => {
    const user = { uid: 0, gid: 0, groups: [7] };
    const single = planSandbox({ command: ['/bin/a'], ids: { type: 'single' } }, caller);
    expect(() => planExec(single, { command: ['/bin/b'], user })).toThrow(/expected no groups .* got some/);
    const shifted = planSandbox({ command: ['/bin/a'] }, { uid: 0, gid: 0, allIds: true, shiftedBase: 1_000_000 });
    const { operations } = planExec(shifted, { command: ['/bin/b'], user });
    expect(operations.find(({ op }) => op === 'groups')).toMatchObject({ groups: [7] });
  });

  it('has a terminal before the filter, whatever its size', () => {
    const names = withTerminal(plan, { columns: 80, rows: 24 }).operations.map((o) => o.op);
    expect(names.indexOf('terminal')).toBeGreaterThan(names.indexOf('init'));
    expect(names.indexOf('terminal')).toBeLessThan(names.indexOf('seccomp'));
    expect(() => withTerminal(plan, { columns: 0, rows: 24 })).toThrow(NamespaceError);
  });
});

async function shown({ pty }: SandboxProcess): Promise<string> {
  let all = '';
  for await (const chunk of pty ?? []) all += String(chunk);
  return all;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
