import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ImageFileSystem, planSandbox, type RootSpec, type SandboxSpec, startSandbox } from '../src/index.js';
import {
  asUser,
  bundleStarter,
  cleanUp,
  isLinux,
  killFamily,
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
const hindrance = (await obstacle()) ?? missingTool();
const tree = hindrance ? '' : makeRoot('tree');
const starter = await bundleStarter();
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;
const files = hindrance ? undefined : makeImages();
const canShift = isLinux(6, 2); // whose squashfs knows id maps
const ofSquashfs: Partial<SandboxSpec> = canShift ? {} : { namespaces: { user: false } };

afterAll(cleanUp);

function missingTool(): string | undefined {
  const tools = ['/usr/bin/mksquashfs', '/usr/bin/mkfs.erofs', '/usr/sbin/mkfs.ext4'];
  const missing = tools.find((tool) => !existsSync(tool));
  return missing && `${missing} is not installed (squashfs-tools, erofs-utils, e2fsprogs)`;
}

function makeImages(): Readonly<Record<ImageFileSystem, string>> {
  const at = (name: string): string => `${workspace}/root.${name}`;
  const run = (file: string, ...args: string[]) => execFileSync(file, args, { stdio: 'ignore' });
  run('mksquashfs', tree, at('squashfs'), '-all-root', '-no-progress');
  run('mkfs.erofs', at('erofs'), tree);
  run('mkfs.ext4', '-q', '-d', tree, at('ext4'), '16M');
  return { squashfs: at('squashfs'), erofs: at('erofs'), ext4: at('ext4') };
}

/** A loop device whose file is in the workspace, as losetup(8) tells it. */
interface Loop {
  readonly name: string;
  readonly 'back-file': string;
  readonly ro: boolean;
  readonly autoclear: boolean;
  readonly offset: number;
  readonly sizelimit: number;
}

function loops(): readonly Loop[] {
  const text = execFileSync('losetup', ['--json', '--list'], { encoding: 'utf8' });
  const { loopdevices } = text.trim() === '' ? { loopdevices: [] } : JSON.parse(text);
  return loopdevices.filter((loop: Loop) => loop['back-file'].startsWith(workspace));
}

async function eventually(done: () => boolean): Promise<void> {
  const until = Date.now() + 8000;
  while (!done()) {
    if (Date.now() > until) throw new Error(`expected it to come true within 8 s: ${done}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.each(launchers)('%s', (_, launcher) => {
  const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  describe.each(['squashfs', 'erofs', 'ext4'] as const)('an image of %s', (fileSystem) => {
    const source = files?.[fileSystem] ?? '';
    const ids = fileSystem === 'squashfs' ? ofSquashfs : {};

    itRoot('is a root that cannot be written, with owners as in the image, and is freed with the sandbox', async () => {
      const root: RootSpec = { type: 'image', source, fileSystem };
      const { stdout } = await script(
        { ...ids, root },
        'cat /etc/greeting; stat -c "%u %g" /bin/busybox; (echo x > /new) 2>&1 | grep -c Read-only; grep " / " /proc/self/mountinfo',
      );
      const [greeting, owner, refused, mount = ''] = stdout.split('\n');
      expect([greeting, owner, refused]).toEqual(['from the image', '0 0', '1']);
      expect(mount).toContain(` - ${fileSystem} `);
      expect(mount).toMatch(/ ro,nosuid,nodev/);
      await eventually(() => loops().length === 0);
    });

    itRoot(
      'is a layer of an overlay and a mount, through one loop device each that is read-only and clears itself',
      async () => {
        const layer = { type: 'image', source, fileSystem } as const;
        const spec: SandboxSpec = {
          ...ids,
          root: { type: 'overlay', lower: [layer], changes: { type: 'memory' } },
          mounts: [{ ...layer, target: '/again' }],
          command: ['/bin/sh', '-c', 'echo changed > /etc/greeting; cat /etc/greeting /again/etc/greeting; read go'],
        };
        const sandbox = await startSandbox(spec);
        const held = loops();
        expect(held.map(({ ro, autoclear }) => [ro, autoclear])).toEqual(
          fileSystem === 'erofs' && needsNoLoop()
            ? []
            : [
                [true, true],
                [true, true],
              ],
        );
        sandbox.stdin?.end('go\n');
        expect((await outcome(sandbox)).stdout).toBe('changed\nfrom the image\n');
        await eventually(() => loops().length === 0);
      },
    );

    itRoot('starts where the offset says, and ends where the size says', async () => {
      const disk = `${workspace}/disk.${fileSystem}-${Math.random()}`;
      const content = readFileSync(source);
      writeFileSync(disk, new Uint8Array(1 << 20).fill(0xee));
      appendFileSync(disk, content);
      const size = Math.ceil(content.length / 512) * 512;
      appendFileSync(disk, new Uint8Array(size - content.length + 4096));
      const root: RootSpec = { type: 'image', source: disk, fileSystem, offset: 1 << 20, size, directIo: false };
      const sandbox = await startSandbox({ ...ids, root, command: ['/bin/sh', '-c', 'cat /etc/greeting; read go'] });
      expect(loops().map(({ offset, sizelimit }) => [offset, sizelimit])).toEqual([[1 << 20, size]]);
      sandbox.stdin?.end('go\n');
      expect((await outcome(sandbox)).stdout).toBe('from the image\n');
    });
  });

  itRoot('a swap of the path after the image was opened changes nothing', async () => {
    const path = `${workspace}/swapped-${Math.random()}`;
    execFileSync('cp', [files?.squashfs ?? '', path]);
    const sandbox = await startSandbox({
      ...ofSquashfs,
      root: { type: 'image', source: path, fileSystem: 'squashfs' },
      command: ['/bin/sh', '-c', 'read go; cat /etc/greeting'],
    });
    writeFileSync(`${path}.new`, 'no image at all');
    renameSync(`${path}.new`, path);
    sandbox.stdin?.end('go\n');
    expect((await outcome(sandbox)).stdout).toBe('from the image\n');
  });

  itRoot('ext4 is written on demand, by one sandbox alone', async () => {
    const path = `${workspace}/writable-${Math.random()}.ext4`;
    execFileSync('cp', [files?.ext4 ?? '', path]);
    const writing: RootSpec = { type: 'image', source: path, fileSystem: 'ext4', readOnly: false };
    const reading: RootSpec = { ...writing, readOnly: true };
    const command = ['/bin/sh', '-c', 'echo kept > /data/f; read go'] as const;
    const first = await startSandbox({ root: writing, command });
    for (const root of [writing, reading]) {
      await expect(startSandbox({ root, command: ['/bin/true'] })).rejects.toMatchObject({
        errno: 'EAGAIN',
        operation: { name: 'image' },
        remedy: expect.stringContaining('another sandbox'),
      });
    }
    first.stdin?.end('go\n');
    expect((await first.wait()).code).toBe(0);
    await eventually(() => loops().length === 0);
    const read = () => script({ root: reading }, 'cat /data/f');
    expect((await Promise.all([read(), read()])).map((o) => o.stdout)).toEqual(['kept\n', 'kept\n']);
    expect(execFileSync('e2fsck', ['-fn', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })).toContain(
      'files',
    );
  });

  itRoot('thirty at once get thirty loop devices, and all are freed', async () => {
    const root: RootSpec = { type: 'image', source: files?.squashfs ?? '', fileSystem: 'squashfs' };
    const sandboxes = await Promise.all(
      Array.from({ length: 30 }, () =>
        startSandbox({ ...ofSquashfs, root, command: ['/bin/sh', '-c', 'read go; cat /etc/greeting'] }),
      ),
    );
    expect(new Set(loops().map((loop) => loop.name)).size).toBe(30);
    for (const sandbox of sandboxes) sandbox.stdin?.end('go\n');
    const outcomes = await Promise.all(sandboxes.map(outcome));
    expect(outcomes.every((o) => o.stdout === 'from the image\n')).toBe(true);
    await eventually(() => loops().length === 0);
  });

  itRoot('is freed when everything that knows of it is killed', async () => {
    const root = { type: 'image', source: files?.squashfs, fileSystem: 'squashfs' };
    const job = { spec: { ...ofSquashfs, root, command: ['/bin/sleep', '100'] }, hold: true };
    const parent = spawn(process.execPath, [starter, JSON.stringify([job, job])], {
      env: { CASEMATE_LAUNCHER: launcher ?? '' },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    await new Promise((resolve) => parent.stdout.once('data', resolve));
    expect(loops()).toHaveLength(1);
    expect(killFamily(parent.pid ?? 0)).toBeGreaterThanOrEqual(3);
    await eventually(() => loops().length === 0);
  });

  describe('says what is wrong', () => {
    const cases: readonly (readonly [string, () => Partial<RootSpec & { type: 'image' }>, string])[] = [
      ['a file that is not there', () => ({ source: '/none.img' }), 'ENOENT'],
      ['a directory', () => ({ source: tree }), 'ENOTBLK'],
      ['a device that is no disk', () => ({ source: '/dev/null' }), 'ENOTBLK'],
      ['another file system than is said', () => ({ source: files?.ext4 ?? '' }), 'EINVAL'],
      ['an image that is cut off', () => ({ source: cut() }), 'EINVAL'],
      ['an extent beyond the end', () => ({ offset: 1 << 30, size: 512 }), 'ERANGE'],
    ];
    for (const [what, part, errno] of cases) {
      itRoot(what, async () => {
        const root = { type: 'image', source: files?.squashfs ?? '', fileSystem: 'squashfs', ...part() } as RootSpec;
        await expect(startSandbox({ ...ofSquashfs, root, command: ['/bin/true'] })).rejects.toMatchObject({
          code: 'operation-failed',
          errno: errno === 'EINVAL' ? expect.stringMatching(/EINVAL|EIO/) : errno,
          operation: { name: 'image' },
        });
        await eventually(() => loops().length === 0);
      });
    }

    const itLacks = itKernel(!canShift, "the kernel's squashfs knows id maps", itRoot);
    itLacks('shifted ids before the file system knows id maps', async () => {
      const root: RootSpec = { type: 'image', source: files?.squashfs ?? '', fileSystem: 'squashfs' };
      await expect(startSandbox({ root, command: ['/bin/true'] })).rejects.toMatchObject({
        errno: 'EINVAL',
        operation: { name: 'image' },
        remedy: expect.stringContaining('Linux 6.2'),
      });
      await eventually(() => loops().length === 0);
    });

    itRoot('an ordinary user, before anything is tried', async () => {
      const root = { type: 'image', source: files?.squashfs, fileSystem: 'squashfs' };
      const [answer] = await asUser(starter, launcher ?? '', [{ spec: { root, command: ['/bin/true'] } }]);
      expect(answer?.error).toMatchObject({ code: 'bad-spec', remedy: expect.stringContaining('FUSE') });
    });
  });
});

describe('a description of an image is refused', () => {
  const caller = { uid: 0, gid: 0, allIds: true, shiftedBase: 0x1000_0000 };
  const image = { type: 'image', source: '/a.img', fileSystem: 'squashfs' } as const;
  const wrong: readonly (readonly [string, RootSpec])[] = [
    ['that is to be written but never can', { ...image, readOnly: false }],
    ['at an odd offset', { ...image, offset: 100 }],
    ['of a negative size', { ...image, size: -512 }],
    ['with a relative path', { ...image, source: 'a.img' }],
    ['of a file system that is none of them', { ...image, fileSystem: 'vfat' as never }],
  ];
  for (const [what, root] of wrong) {
    it(what, () => {
      expect(() => planSandbox({ command: ['/bin/true'], root }, caller)).toThrow(/expected .* got /);
    });
  }
});

function cut(): string {
  const path = `${workspace}/cut-${Math.random()}`;
  execFileSync('cp', [files?.squashfs ?? '', path]);
  truncateSync(path, 40_960);
  return path;
}

/** Whether the kernel mounts erofs from a file (Linux 6.12). */
function needsNoLoop(): boolean {
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 12);
}
