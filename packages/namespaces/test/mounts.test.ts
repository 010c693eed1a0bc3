import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Caller,
  type MountSpec,
  NamespaceError,
  planSandbox,
  probe,
  type RootSpec,
  type SandboxSpec,
  startSandbox,
} from '../src/index.js';
import {
  asUser,
  bundleStarter,
  cleanUp,
  isLinux,
  makeRoot,
  obstacle,
  outcome,
  releaseLauncher,
  sanitizedLauncher,
  script,
  workspace,
} from './fixtures.js';
import { itKernel, itNeeds } from './requirement.js';

const isRoot = process.geteuid?.() === 0;
process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const image = hindrance ? '' : makeRoot('image');
const starter = await bundleStarter();
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;
const memory: RootSpec = { type: 'overlay', lower: [image], changes: { type: 'memory' } };
let number = 0;

afterAll(cleanUp);

/** A new directory in the workspace. */
function directory(name: string): string {
  const path = `${workspace}/${name}-${number++}`;
  mkdirSync(path, { recursive: true });
  return path;
}

/** The mounts of a sandbox as it sees them: proc_pid_mountinfo(5). */
function parseMounts(text: string) {
  return text
    .trim()
    .split('\n')
    .filter((line) => line.includes(' - '))
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [, , , root = '', point = '', flags = '', ...optional] = left.split(' ');
      const [type = '', source = '', options = ''] = right.split(' ');
      return { point, root, flags: flags.split(','), optional, type, source, options: options.split(',') };
    });
}

async function mountsOf(spec: Omit<SandboxSpec, 'command'>) {
  const { stdout, stderr, exit } = await script(spec, 'cat /proc/self/mountinfo');
  expect(stderr).toBe('');
  expect(exit.code).toBe(0);
  return parseMounts(stdout);
}

async function mountOf(mount: MountSpec, root: RootSpec = memory) {
  const all = await mountsOf({ root, mounts: [mount] });
  const found = all.filter((m) => m.point === mount.target).at(-1);
  if (!found) throw new Error(`nothing is mounted on ${mount.target}`);
  return found;
}

describe.each(launchers)('%s', (_, launcher) => {
  const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');
  const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');
  const itShows = itKernel(isLinux(6, 3), 'it needs Linux 6.3, whose tmpfs can be id-mapped', itRoot);

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  describe('a bind', () => {
    itRuns('is read-only, without devices and set-user-id unless told otherwise', async () => {
      const source = directory('plain');
      const plain = await mountOf({ type: 'bind', source, target: '/mnt' });
      expect(plain.flags).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev']));
      expect(plain.flags).not.toContain('noexec');
      const open = { readOnly: false, devices: true, setuid: true };
      const free = await mountOf({ type: 'bind', source, target: '/mnt', ...open });
      expect(free.flags.filter((f) => /^(ro|nosuid|nodev|noexec)$/.test(f))).toEqual([]);
    });

    itRuns('takes every flag that mount(8) knows', async () => {
      const source = directory('flagged');
      const flags = { executable: false, symlinks: false, accessTimes: 'never', directoryAccessTimes: false } as const;
      const mount = await mountOf({ type: 'bind', source, target: '/mnt', ...flags });
      expect(mount.flags).toEqual(
        expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'nosymfollow']),
      );
      const always = await mountOf({ type: 'tmpfs', target: '/mnt', accessTimes: 'always' });
      expect(always.flags.filter((f) => f.includes('atime'))).toEqual([]); // strictatime is what has no word of its own
      const relative = await mountOf({ type: 'tmpfs', target: '/mnt', accessTimes: 'relative' });
      expect(relative.flags).toContain('relatime');
    });

    itRuns(
      'of a directory that others write leads through its subpath, past no symbolic link and not out of it',
      async () => {
        const source = directory('shared');
        mkdirSync(`${source}/volume/data`, { recursive: true });
        writeFileSync(`${source}/volume/data/f`, 'deep\n');
        symlinkSync('/etc', `${source}/out`);
        symlinkSync('volume', `${source}/sideways`);
        const at = (subpath: string): Omit<SandboxSpec, 'command'> => ({
          root: memory,
          mounts: [{ type: 'bind', source, subpath, target: '/mnt' }],
        });
        expect((await script(at('volume/data'), 'cat /mnt/f')).stdout).toBe('deep\n');
        for (const subpath of ['out', 'out/ssl', 'sideways/data', 'sideways'])
          await expect(startSandbox({ ...at(subpath), command: ['/bin/true'] }), subpath).rejects.toMatchObject({
            errno: 'ELOOP',
            operation: { name: isRoot ? 'tree' : 'bind' },
          });
      },
    );

    itRoot('brings the mounts below it along, read-only too; or leaves them out', async () => {
      const source = directory('tree');
      mkdirSync(`${source}/below`);
      // Made by this test in a mount namespace of its own, so that nothing is left behind whatever happens.
      const job = (recursive: boolean) => ({
        spec: {
          root: memory,
          mounts: [{ type: 'bind', source, target: '/mnt', recursive, idMapped: false }],
          command: ['/bin/sh', '-c', 'ls /mnt/below; (echo x > /mnt/below/new) 2>&1 | grep -c Read-only'],
        },
      });
      const run = `mount -t tmpfs t ${source}/below && touch ${source}/below/f && exec "$0" "$@"`;
      const enter = ['--mount', '--propagation', 'private', '/bin/sh', '-c', run, process.execPath, starter];
      const { stdout, stderr } = spawnSync('unshare', [...enter, JSON.stringify([job(true), job(false)])], {
        encoding: 'utf8',
        env: { ...process.env, CASEMATE_LAUNCHER: launcher },
      });
      const [with_, without] = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(with_, stderr).toMatchObject({ stdout: 'f\n1\n' });
      expect(without).toMatchObject({ stdout: '1\n' });
    });

    itRoot('shows the owners on disk as others, as an id map of the mount says', async () => {
      const source = directory('owned');
      writeFileSync(`${source}/mine`, '');
      writeFileSync(`${source}/theirs`, '');
      writeFileSync(`${source}/stranger`, '');
      chownSync(source, 1000, 1000);
      chownSync(`${source}/mine`, 1000, 1000);
      chownSync(`${source}/theirs`, 1001, 100);
      chownSync(`${source}/stranger`, 5000, 5000);
      const idMapped = {
        uids: [
          { stored: 1000, inside: 0, count: 1 },
          { stored: 1001, inside: 33, count: 1 },
        ],
        gids: [
          { stored: 1000, inside: 0, count: 1 },
          { stored: 100, inside: 33, count: 1 },
        ],
      };
      const mounts: readonly MountSpec[] = [{ type: 'bind', source, target: '/mnt', idMapped, readOnly: false }];
      const { stdout, stderr } = await script(
        { root: memory, mounts, capabilities: ['CAP_CHOWN'] },
        'cd /mnt; stat -c "%n %u %g" mine theirs stranger; echo new > new; chown 33:33 new; stat -c "%u %g" new',
      );
      expect(stderr).toBe('');
      expect(stdout).toBe('mine 0 0\ntheirs 33 33\nstranger 65534 65534\n33 33\n');
      expect(lstatSync(`${source}/new`)).toMatchObject({ uid: 1001, gid: 100 });
    });

    itRoot('with the same owners as on disk, whatever ids root gives the sandbox', async () => {
      const source = directory('same');
      writeFileSync(`${source}/f`, '');
      chownSync(`${source}/f`, 42, 43);
      const ids = {
        type: 'custom',
        uids: [{ inside: 0, outside: 0x2000_0000, count: 100 }],
        gids: [{ inside: 0, outside: 0x2000_0000, count: 100 }],
      } as const;
      const mounts: readonly MountSpec[] = [
        { type: 'bind', source, target: '/same', idMapped: true },
        { type: 'bind', source, target: '/raw', idMapped: false },
      ];
      const root: RootSpec = { type: 'bind', source: image };
      for (const dir of ['same', 'raw']) mkdirSync(`${image}/${dir}`, { recursive: true });
      const { stdout } = await script({ root, ids, mounts }, 'stat -c "%u %g" /same/f /raw/f');
      expect(stdout).toBe('42 43\n65534 65534\n');
    });

    itRoot(
      'is never a way out for mounts: what is made inside does not appear outside, whatever its propagation',
      async () => {
        const shared = directory('propagation');
        const outer = `mount -t tmpfs t ${shared} && mount --make-shared ${shared} && mkdir ${shared}/in && exec "$0" "$@"`;
        const spec = (propagation: string, ids: unknown) => ({
          spec: {
            root: { type: 'bind', source: image, readOnly: false, propagation, idMapped: false },
            ids,
            mounts: [
              { type: 'bind', source: shared, target: '/data', readOnly: false, propagation, idMapped: false },
              { type: 'tmpfs', target: '/data/in' },
            ],
            capabilities: ['CAP_SYS_ADMIN'],
            seccomp: 'insecure-none',
            command: [
              '/bin/sh',
              '-c',
              `mkdir -p /data/in/x; mount -t tmpfs inner /data/in/x && grep -c " /data" /proc/self/mountinfo; grep "/data " /proc/self/mountinfo | tr " " "\\n" | grep -E "^(shared|master|unbindable)" | cut -d: -f1 | sort | tr "\\n" " "`,
            ],
          },
        });
        const kinds = ['private', 'slave', 'shared', 'slave-shared', 'unbindable'] as const;
        const own = {
          type: 'custom',
          uids: [{ inside: 0, outside: 0, count: 65536 }],
          gids: [{ inside: 0, outside: 0, count: 65536 }],
        };
        for (const ids of [own, undefined]) {
          const program = `${JSON.stringify(kinds.map((kind) => spec(kind, ids)))}`;
          const enter = [
            '--mount',
            '--propagation',
            'private',
            '/bin/sh',
            '-c',
            `(${outer}); findmnt -rno TARGET | grep -c ${shared}`,
            process.execPath,
            starter,
            program,
          ];
          const { stdout, stderr } = spawnSync('unshare', enter, {
            encoding: 'utf8',
            env: { ...process.env, CASEMATE_LAUNCHER: launcher },
          });
          const lines = stdout.trim().split('\n');
          const results = lines.slice(0, -1).map((line) => JSON.parse(line).stdout ?? line);
          expect(results, stderr).toEqual(['3\n', '3\nmaster ', '3\nshared ', '3\nmaster shared ', '3\nunbindable ']);
          expect(lines.at(-1)).toBe('1'); // the tmpfs that this test made, and nothing on it
        }
      },
    );

    itRoot('of kind slave receives what is mounted outside later; of kind private it does not', async () => {
      const shared = directory('arriving');
      const job = (propagation: string) => ({
        spec: {
          root: memory,
          mounts: [{ type: 'bind', source: shared, target: '/mnt', propagation, idMapped: false }],
          command: ['/bin/sh', '-c', 'echo up; read go; ls /mnt/in'],
        },
        during: [
          ['mount', '-t', 'tmpfs', 't', `${shared}/in`],
          ['touch', `${shared}/in/late`],
        ],
        after: [['umount', `${shared}/in`]],
      });
      const outer = `mount -t tmpfs t ${shared} && mount --make-shared ${shared} && mkdir ${shared}/in && exec "$0" "$@"`;
      const enter = ['--mount', '--propagation', 'private', '/bin/sh', '-c', outer, process.execPath, starter];
      const { stdout, stderr } = spawnSync('unshare', [...enter, JSON.stringify([job('slave'), job('private')])], {
        encoding: 'utf8',
        env: { ...process.env, CASEMATE_LAUNCHER: launcher },
      });
      expect(
        stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).stdout),
        stderr,
      ).toEqual(['up\nlate\n', 'up\n']);
    });
  });

  describe('an overlay', () => {
    itRuns('of a hundred layers shows the uppermost of each file', async () => {
      const base = directory('layers');
      const lower: string[] = [];
      for (let i = 0; i < 99; i++) {
        mkdirSync(`${base}/${i}/data`, { recursive: true });
        writeFileSync(`${base}/${i}/data/${i}`, `${i}\n`);
        writeFileSync(`${base}/${i}/data/same`, `${i}\n`);
        lower.push(`${base}/${i}`);
      }
      const [top = '', ...rest] = lower;
      const root: RootSpec = { type: 'overlay', lower: [top, ...rest, image], changes: { type: 'memory' } };
      const { stdout } = await script({ root }, 'cat /data/same; ls /data | wc -l; cat /data/98; cat /etc/greeting');
      expect(stdout).toBe('0\n100\n98\nfrom the image\n');
    });

    itRuns(
      'keeps deletions as whiteouts and replaced directories as opaque, on disk and across sandboxes',
      async () => {
        const path = directory('changes');
        mkdirSync(`${path}/upper`);
        mkdirSync(`${path}/work`);
        const lower = directory('lower');
        mkdirSync(`${lower}/dir`);
        writeFileSync(`${lower}/dir/old`, '');
        writeFileSync(`${lower}/file`, '');
        const mounts: readonly MountSpec[] = [
          { type: 'overlay', target: '/o', lower: [lower], changes: { type: 'directory', path } },
        ];
        expect(
          (await script({ root: memory, mounts }, 'rm /o/file; rm -r /o/dir; mkdir /o/dir; touch /o/dir/new')).exit
            .code,
        ).toBe(0);
        expect((await script({ root: memory, mounts }, 'ls /o; ls /o/dir')).stdout).toBe('dir\nnew\n');
        const whiteout = lstatSync(`${path}/upper/file`);
        expect([whiteout.isCharacterDevice(), whiteout.rdev]).toEqual([true, 0]);
        expect(readdirSync(`${lower}/dir`)).toEqual(['old']);
      },
    );

    itRuns('whose changes in memory are bounded in bytes and in files', async () => {
      const root: RootSpec = { type: 'overlay', lower: [image], changes: { type: 'memory', size: 1 << 20, files: 50 } };
      const { stdout } = await script(
        { root },
        'dd if=/dev/zero of=/big bs=1M count=4 2>&1 | grep -c "No space"; rm /big; i=0; while [ $i -lt 80 ]; do touch /data/$i || break; i=$((i+1)); done 2>/dev/null; test $i -lt 60 && echo bounded',
      );
      expect(stdout).toBe('1\nbounded\n');
    });

    itRuns('of one layer without changes is that layer, read-only', async () => {
      const { stdout } = await script(
        { root: { type: 'overlay', lower: [image], changes: 'refused' } },
        'cat /etc/greeting; (echo x > /etc/greeting) 2>&1 | grep -c Read-only',
      );
      expect(stdout).toBe('from the image\n1\n');
    });

    itRuns('has what its changes need, or names what is missing', async () => {
      const path = directory('incomplete');
      const root: RootSpec = { type: 'overlay', lower: [image], changes: { type: 'directory', path } };
      await expect(startSandbox({ root, command: ['/bin/true'] })).rejects.toMatchObject({
        errno: 'ENOENT',
        operation: { name: 'overlay' },
        remedy: expect.stringContaining('upper'),
      });
    });
  });

  describe('memory', () => {
    itRuns('has its size, mode, owner and number of files', async () => {
      const ids = isRoot ? undefined : { type: 'single' as const };
      const owner = isRoot ? { uid: 7, gid: 8 } : { uid: 0, gid: 0 };
      const mount: MountSpec = { type: 'tmpfs', target: '/t', size: 1 << 20, files: 5, mode: 0o1770, owner };
      const { stdout } = await script(
        { root: memory, mounts: [mount], ...(ids && { ids }), ...(isRoot && { user: owner }) },
        'stat -c "%a %u %g" /t; cd /t; for i in 1 2 3 4 5 6; do touch $i; done 2>/dev/null; ls | wc -l; rm *; dd if=/dev/zero of=big bs=1M count=2 2>&1 | grep -c space',
      );
      expect(stdout).toBe(`1770 ${owner.uid} ${owner.gid}\n4\n1\n`);
    });

    itShows('is what a later process of the sandbox sees too', async () => {
      const idMapped = { uids: [{ stored: 0, inside: 500, count: 1 }], gids: [{ stored: 0, inside: 600, count: 1 }] };
      const mounts: readonly MountSpec[] = [
        { type: 'tmpfs', target: '/t', idMapped },
        { type: 'file', target: '/f', content: 'said\n' },
      ];
      await using sandbox = await startSandbox({
        root: memory,
        mounts,
        domainname: 'd',
        sysctls: { 'kernel.shmmni': '7' },
        network: { dns: { servers: ['10.0.0.1'] } },
        command: ['/bin/sleep', '100'],
      });
      const later = await sandbox.exec({
        command: ['/bin/sh', '-c', 'stat -c "%u %g" /t; cat /f /proc/sys/kernel/shmmni'],
      });
      expect((await outcome(later)).stdout).toBe('500 600\nsaid\n7\n');
    });

    itShows('shows stored owners as others', async () => {
      const idMapped = { uids: [{ stored: 0, inside: 500, count: 10 }], gids: [{ stored: 0, inside: 600, count: 10 }] };
      const mounts: readonly MountSpec[] = [{ type: 'tmpfs', target: '/t', idMapped, mode: 0o777 }];
      const { stdout, stderr } = await script(
        { root: memory, mounts, user: { uid: 503, gid: 604 } },
        'stat -c "%u %g" /t; touch /t/f && stat -c "%u %g" /t/f',
      );
      expect(stderr).toBe('');
      expect(stdout).toBe('500 600\n503 604\n');
    });
  });

  describe('a file', () => {
    itRuns('of the description lies where it says, with its mode, and cannot be written', async () => {
      const mounts: readonly MountSpec[] = [
        { type: 'file', target: '/etc/greeting', content: 'from the description\n' },
        { type: 'file', target: '/made/for/it', content: new Uint8Array(200_000).fill(120), mode: 0o400 },
        { type: 'file', target: '/empty', content: '' },
      ];
      const { stdout } = await script(
        { root: memory, mounts },
        'cat /etc/greeting; wc -c < /made/for/it; stat -c "%a %u" /made/for/it; wc -c < /empty; (echo x > /empty) 2>&1 | grep -c Read-only',
      );
      expect(stdout).toBe('from the description\n200000\n400 0\n0\n1\n');
    });
  });

  describe('file systems of the kernel', () => {
    itRuns('are mounted where they are wanted, with their options', async () => {
      const mounts: readonly MountSpec[] = [
        { type: 'proc', target: '/p', processes: 'own', only: 'processes' },
        { type: 'devpts', target: '/pts', max: 3, mode: 0o600 },
        { type: 'mqueue', target: '/queues' },
        { type: 'sysfs', target: '/s', readOnly: true },
        { type: 'cgroup2', target: '/groups', readOnly: true },
      ];
      const { stdout, stderr } = await script(
        { root: memory, mounts, systemMounts: false },
        'cat /p/self/mountinfo; ls /p/uptime 2>&1; ls /s/class/net; ls /groups/cgroup.procs; ls /pts/ptmx',
      );
      expect(stderr).toBe('');
      const found = new Map(parseMounts(stdout).map((m) => [m.point, m]));
      expect(found.get('/p')?.options).toEqual(expect.arrayContaining(['hidepid=invisible', 'subset=pid']));
      expect(found.get('/pts')?.options).toEqual(expect.arrayContaining(['mode=600', 'ptmxmode=666', 'max=3']));
      expect([...found.values()].map((m) => m.type)).toEqual([
        'overlay',
        'proc',
        'devpts',
        'mqueue',
        'sysfs',
        'cgroup2',
      ]);
      expect(stdout).toMatch(/uptime: No such file[^\n]*\nlo\n\/groups\/cgroup.procs\n\/pts\/ptmx\n/);
    });

    itRuns('share nothing with the outside: terminals and queues are new', async () => {
      const { stdout } = await script(
        { root: memory },
        'ls /dev/pts; ls -a /dev/mqueue; ls /dev | tr "\\n" " "; readlink /dev/ptmx',
      );
      expect(stdout).toBe(
        'ptmx\n.\n..\nfd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero pts/ptmx\n',
      );
    });

    itRuns('have a console where the command has a terminal, which it is', async () => {
      const command = ['/bin/sh', '-c', 'readlink /dev/console; echo spoken > /dev/console'] as const;
      const sandbox = await startSandbox({ root: memory, command }, { stdio: { pty: { columns: 80, rows: 24 } } });
      let shown = '';
      for await (const chunk of sandbox.pty ?? []) shown += new TextDecoder().decode(chunk);
      expect(shown).toBe('pts/0\r\nspoken\r\n');
    });

    itRoot("hide other users' processes, and show them to a group", async () => {
      const mounts: readonly MountSpec[] = [
        { type: 'proc', target: '/proc', processes: 'own', group: 77 },
        {
          type: 'file',
          target: '/etc/passwd',
          content: 'root:x:0:0::/:/bin/sh\nin:x:9:77::/:/bin/sh\nout:x:9:78::/:/bin/sh\n',
        },
      ];
      const spec: Omit<SandboxSpec, 'command'> = {
        root: memory,
        mounts,
        capabilities: ['CAP_SETUID', 'CAP_SETGID'],
        seccomp: 'insecure-none',
      };
      const { stdout } = await script(
        spec,
        'for who in in out; do su $who -c "ls -d /proc/1" 2>&1 | grep -o -e "^/proc/1" -e "No such"; done',
      );
      expect(stdout).toBe('/proc/1\nNo such\n');
    });
  });

  describe('a device', () => {
    itRoot('works where it is asked for, and nowhere else', async () => {
      const source = directory('devices');
      execFileSync('mknod', [`${source}/zero`, 'c', '1', '5']);
      chmodSync(`${source}/zero`, 0o666);
      const use = (devices: boolean) =>
        script(
          { root: memory, mounts: [{ type: 'bind', source, target: '/mnt', devices }] },
          'head -c3 /mnt/zero | wc -c',
        );
      expect((await use(true)).stdout).toBe('3\n');
      expect((await use(false)).stderr).toContain('ermission denied');
    });
  });

  describe('for an ordinary user', () => {
    itRoot('everything that needs no root works, and a lock of the outside is kept', async () => {
      const source = directory('locked');
      chmodSync(source, 0o755);
      const path = directory('user-changes');
      for (const dir of ['', '/upper', '/work']) {
        mkdirSync(`${path}${dir}`, { recursive: true });
        chownSync(`${path}${dir}`, 65534, 65534);
      }
      const lower = directory('user-lower');
      for (const dir of ['', '/etc', '/data']) {
        mkdirSync(`${lower}${dir}`, { recursive: true });
        chownSync(`${lower}${dir}`, 65534, 65534);
      }
      writeFileSync(`${lower}/etc/other`, '');
      const jobs = [
        {
          spec: {
            root: memory,
            mounts: [{ type: 'bind', source: '/proc', target: '/mnt', recursive: true }],
            command: ['/bin/sh', '-c', 'grep " /mnt " /proc/self/mountinfo | cut -d" " -f6'],
          },
        },
        {
          spec: {
            root: { type: 'overlay', lower: [lower, image], changes: { type: 'directory', path } },
            command: ['/bin/sh', '-c', 'rm /etc/other; rm -r /data && mkdir /data; ls /etc; echo done'],
          },
        },
        {
          spec: {
            root: memory,
            mounts: [{ type: 'bind', source: '/sys', target: '/mnt', accessTimes: 'never' }],
            command: ['/bin/true'],
          },
        },
        {
          spec: {
            root: memory,
            mounts: [{ type: 'bind', source: '/sys', target: '/mnt', recursive: false }],
            command: ['/bin/true'],
          },
        },
        {
          spec: {
            root: memory,
            mounts: [{ type: 'bind', source, target: '/mnt', idMapped: true }],
            command: ['/bin/true'],
          },
        },
        {
          spec: {
            root: memory,
            mounts: [
              { type: 'tmpfs', target: '/t', files: 3 },
              { type: 'cgroup2', target: '/g' },
              { type: 'proc', target: '/p', processes: 'traceable' },
            ],
            command: [
              '/bin/sh',
              '-c',
              'for i in 1 2 3 4; do touch /t/$i; done 2>/dev/null; ls /t | wc -l; ls -d /g/cgroup.procs /p/1',
            ],
          },
        },
      ];
      const [bound, changed, locked, partial, mapped, memories] = await asUser(starter, launcher ?? '', jobs);
      expect(bound).toMatchObject({ stdout: expect.stringMatching(/^ro,nosuid,nodev/) });
      expect(changed).toMatchObject({ stdout: 'greeting\ndone\n' });
      expect(lstatSync(`${path}/upper/etc/other`).isCharacterDevice()).toBe(true);
      expect(locked?.error).toMatchObject({
        errno: 'EPERM',
        operation: { name: 'bind' },
        remedy: expect.stringContaining('locked'),
      });
      expect(partial?.error).toMatchObject({
        errno: 'EINVAL',
        operation: { name: 'bind' },
        remedy: expect.stringContaining('recursive'),
      });
      expect(mapped?.error).toMatchObject({ code: 'bad-spec', remedy: expect.stringContaining('root') });
      expect(memories).toMatchObject({ stdout: '2\n/g/cgroup.procs\n/p/1\n' });
    });
  });
});

describe('a description of a mount is refused', () => {
  const root: Caller = { uid: 0, gid: 0, allIds: true, shiftedBase: 0x1000_0000 };
  const user: Caller = { ...root, uid: 1000, gid: 1000 };
  const bind = { type: 'bind', source: '/a', target: '/b' } as const;
  const tmpfs = { type: 'tmpfs', target: '/t' } as const;
  const layers = Array.from({ length: 129 }, (_l, i) => `/l${i}`) as unknown as readonly [string, ...string[]];
  const owners = (stored: number, inside: number, count: number) => {
    const range = [{ stored, inside, count }];
    return { uids: range, gids: range };
  };
  const wrong: readonly (readonly [string, Partial<SandboxSpec>, Caller?])[] = [
    ['of no size', { mounts: [{ ...tmpfs, size: 0 }] }],
    ['of half a file', { mounts: [{ ...tmpfs, files: 1.5 }] }],
    ['with a mode that is none', { mounts: [{ ...tmpfs, mode: 0o20000 }] }],
    ['with too many layers', { root: { type: 'overlay', lower: layers, changes: 'refused' } }],
    ['with too many sources', { mounts: Array.from({ length: 251 }, () => bind) }, root],
    ['that masks the root', { maskedPaths: ['/'] }],
    ['that makes the root read-only by its path', { readOnlyPaths: ['//'] }],
    ['with a propagation that is none', { mounts: [{ ...bind, propagation: 'outwards' as never }] }],
    ['with access times that are none', { mounts: [{ ...bind, accessTimes: 'sometimes' as never }] }],
    ['with a subpath that climbs', { mounts: [{ ...bind, subpath: 'a/../../b' }] }],
    ['with a zero byte in a source', { mounts: [{ ...bind, source: '/a\0b' }] }],
    ['with id maps for an ordinary user', { mounts: [{ ...bind, idMapped: owners(0, 0, 1) }] }],
    ['with owners inside that are not in the id map', { mounts: [{ ...bind, idMapped: owners(0, 65_535, 2) }] }, root],
    [
      'with owners that are there twice',
      {
        mounts: [
          {
            ...bind,
            idMapped: { uids: [...owners(0, 0, 5).uids, ...owners(4, 9, 5).uids], gids: owners(0, 0, 5).gids },
          },
        ],
      },
      root,
    ],
    ['with owners of memory where there is one id', { mounts: [{ ...tmpfs, idMapped: owners(0, 0, 1) }] }],
    ['with cgroups of no namespace', { mounts: [{ type: 'cgroup2', target: '/c' }], namespaces: { cgroup: false } }],
    [
      'with options for a /proc that is the outer one',
      { mounts: [{ type: 'proc', target: '/p', processes: 'own' }], namespaces: { pid: false } },
    ],
    ['with processes that are none', { mounts: [{ type: 'proc', target: '/p', processes: 'some' as never }] }],
    ['with a group that the id map lacks', { mounts: [{ type: 'proc', target: '/p', group: 7 }] }],
    ['with no terminal at most', { mounts: [{ type: 'devpts', target: '/p', max: 0 }] }],
    [
      'with a file that is too large',
      { mounts: [{ type: 'file', target: '/f', content: new Uint8Array((1 << 20) + 1) }] },
    ],
    [
      'with files but without the mount namespace',
      { network: { dns: { servers: [] } }, systemMounts: false, namespaces: { mount: false } },
    ],
  ];
  for (const [what, part, caller = user] of wrong) {
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

  it('but for shared layers of ids it splits the owners along the id map', () => {
    const ids = {
      type: 'custom',
      uids: [
        { inside: 0, outside: 1000, count: 10 },
        { inside: 10, outside: 5000, count: 10 },
      ],
      gids: [{ inside: 0, outside: 7000, count: 20 }],
    } as const;
    const { operations } = planSandbox(
      { command: ['/bin/true'], ids, mounts: [{ ...bind, idMapped: owners(100, 5, 10) }] },
      root,
    );
    expect(operations).toContainEqual(
      expect.objectContaining({
        op: 'tree',
        idMap: 2,
        uids: [
          { inside: 100, outside: 1005, count: 5 },
          { inside: 105, outside: 5000, count: 5 },
        ],
        gids: [{ inside: 100, outside: 7005, count: 10 }],
      }),
    );
  });

  it('and root without CAP_SYS_ADMIN is taken for what it is', () => {
    const weak: Caller = { ...root, capabilities: 0xffn };
    const { operations } = planSandbox({ command: ['/bin/true'] }, weak);
    expect(operations).toContainEqual(
      expect.objectContaining({ op: 'uid-map', ranges: [{ inside: 0, outside: 0, count: 1 }] }),
    );
    expect(() => planSandbox({ command: ['/bin/true'], ids: { type: 'shifted' } }, weak)).toThrow(/CAP_SYS_ADMIN/);
  });
});

describe('probing', () => {
  it('says of every kind of mount whether it can be had', async () => {
    const { idMappedMounts, images, overlay } = await probe();
    for (const answer of [idMappedMounts, images.loop, images.squashfs, images.erofs, images.ext4, overlay]) {
      expect(answer.reason).toMatch(/\w/);
      expect(answer.remedy === undefined).toBe(answer.available);
    }
    if (isRoot) expect(statSync('/dev/loop-control').isCharacterDevice()).toBe(images.loop.available);
  });
});
