// Runs the tests of packages inside a virtual machine: Debian's kernel, cgroup v2 with every controller, all of it emulated, so that it
// needs no virtualization of this machine. `npm run guest -- [cgroups] [namespaces] [--only FILE-PART,FILE-PART] [--minutes N]`.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { numberOf, readArguments, refuseArguments } from './arguments.mjs';
import { guestTools, root, setup } from './setup.mjs';
import { sources } from './test-groups.mjs';

const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin` };
/** Programs of this machine that the tests use with more options than busybox has, as far as they are there. */
const PROGRAMS =
  words(`node sh dd ip unshare nsenter mount umount findmnt losetup ipcmk ipcrm script setpriv ping chroot mknod cp
  mkfs.ext4 mke2fs mksquashfs mkfs.erofs e2fsck taskset newuidmap newgidmap crun qemu-aarch64-static`);
/** The seccomp profile of podman and its kin, which tests read. */
const PROFILE = '/usr/share/containers/seccomp.json';
/** Modules of the kernel that the tests need. */
const MODULES = words(
  `overlay loop squashfs erofs veth bridge macvlan dummy tun bfq null_blk fuse vsock vsock_loopback binfmt_misc ext4 virtio_pci virtio_blk`,
);

const USAGE = `usage: npm run guest -- [cgroups] [namespaces] [--only FILE-PART,FILE-PART] [--minutes N]

Runs the tests of both packages or of one, or those files of it whose names have one of the parts, for at most N minutes (100).
`;

const { packages, only, minutes } = parseArguments();
await setup({ tools: guestTools, build: false });
const { build } = await import('esbuild'); // a fresh clone has it only now
const work = mkdtempSync(join(tmpdir(), 'casemate-guest-'));
let code = 1;
try {
  const kernel = findKernel();
  const tests = packages.flatMap((name) => testFiles(name));
  if (tests.length === 0)
    throw new Error(`no test file of ${packages.join(', ')} has ${only.join(' or ')} in its name`);
  await fillDisk(join(work, 'disk'), kernel, tests);
  packDisk(join(work, 'disk'), join(work, 'disk.ext4'));
  packInitramfs(kernel, join(work, 'initramfs.cpio'));
  code = report(await boot(kernel, tests));
} finally {
  rmSync(work, { recursive: true, force: true });
}
process.exit(code);

function parseArguments() {
  const { values, positionals } = readArguments(USAGE, {
    allowPositionals: true,
    options: { only: { type: 'string', default: '' }, minutes: { type: 'string', default: '100' } },
  });
  const known = ['cgroups', 'namespaces'];
  const strange = positionals.find((name) => !known.includes(name));
  if (strange !== undefined) refuseArguments(USAGE, `Expected ${known.join(' or ')}, got "${strange}".`);
  return {
    packages: positionals.length > 0 ? positionals : known,
    only: values.only.split(','),
    minutes: numberOf(USAGE, 'minutes', values.minutes),
  };
}

function testFiles(name) {
  const directory = join(root, 'packages', name, 'test');
  return readdirSync(directory)
    .filter((file) => file.endsWith('.test.ts') && only.some((part) => file.includes(part)))
    .map((file) => ({
      package: name,
      file: join(directory, file),
      bundle: `/repo/packages/${name}/test/${file.replace(/ts$/, 'mjs')}`,
    }));
}

/** The kernel's image and its modules, unpacked by the set-up or installed. */
function findKernel() {
  for (const place of [join(root, '.casemate', 'kernel'), '/']) {
    const boot = join(place, 'boot');
    const images = existsSync(boot) ? readdirSync(boot).filter((file) => /^vmlinuz-.*-amd64$/.test(file)) : [];
    for (const image of images) {
      const version = image.slice('vmlinuz-'.length);
      const modules = [join(place, 'lib/modules', version), join(place, 'usr/lib/modules', version)].find(existsSync);
      if (modules) return { image: join(boot, image), version, modules };
    }
  }
  throw new Error('no kernel for guests with its modules was found; run the set-up of the tests');
}

// ---- the disk ----

async function fillDisk(disk, kernel, tests) {
  for (const name of [
    'proc',
    'sys',
    'dev',
    'tmp',
    'run',
    'etc',
    'root',
    'var/tmp',
    'usr/bin',
    'usr/sbin',
    'repo',
    'brought',
  ]) {
    mkdirSync(join(disk, name), { recursive: true });
  }
  for (const name of ['bin', 'sbin']) symlinkSync(`usr/${name}`, join(disk, name));
  for (const name of ['tmp', 'var/tmp']) chmodSync(join(disk, name), 0o1777);
  copyPrograms(disk);
  copyModules(disk, kernel);
  writeFileSync(join(disk, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n');
  writeFileSync(join(disk, 'etc/group'), 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n');
  for (const name of ['subuid', 'subgid']) writeFileSync(join(disk, 'etc', name), ''); // as Debian has them; tests lay others over them
  await bundleTests(disk, tests);
  copyRepository(disk);
  await bringAlong(disk);
  writeFileSync(join(disk, 'init'), initScript(tests));
  chmodSync(join(disk, 'init'), 0o755);
}

// Busybox for everything, and above it the programs whose options the tests use.
function copyPrograms(disk) {
  copyFileSync(which('busybox'), join(disk, 'usr/bin/busybox'));
  const applets = execFileSync(join(disk, 'usr/bin/busybox'), ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets.filter((name) => name !== 'busybox'))
    symlinkSync('busybox', join(disk, 'usr/bin', applet));
  const libraries = new Set();
  for (const name of PROGRAMS) {
    const from = which(name);
    if (from === undefined) continue;
    const to = join(disk, 'usr/bin', name);
    rmSync(to, { force: true });
    copyFileSync(realpathSync(from), to);
    chmodSync(to, statSync(from).mode & 0o7777); // newuidmap is set-uid root
    if (dirname(from).endsWith('/sbin')) symlinkSync(`../bin/${name}`, join(disk, 'usr/sbin', name));
    for (const library of librariesOf(from)) libraries.add(library);
  }
  copyLibraries(disk, libraries);
  symlinkSync('../bin/busybox', join(disk, 'usr/sbin/modprobe')); // the kernel's own path
}

function copyLibraries(disk, libraries) {
  for (const library of libraries) {
    mkdirSync(join(disk, dirname(library)), { recursive: true });
    copyFileSync(realpathSync(library), join(disk, library));
  }
}

function copyModules(disk, { modules, version }) {
  const to = join(disk, 'lib/modules', version);
  for (const path of moduleFiles(modules, MODULES)) {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    copyFileSync(join(modules, path), join(to, path));
  }
  writeFileSync(join(disk, 'etc/modules'), MODULES.join('\n'));
  writeFileSync(
    join(to, 'modules.dep'),
    dependencyLines(modules)
      .map(([path, needs]) => `${path}: ${needs.join(' ')}`)
      .join('\n'),
  );
}

// The kernel's package has no modules.dep: its post-installation script makes it.
function dependencyLines(modules) {
  const known = join(modules, 'modules.dep');
  if (!existsSync(known)) {
    const base = modules.slice(0, modules.lastIndexOf('/lib/modules/'));
    execFileSync('depmod', ['-b', base === '' ? '/' : base, basename(modules)]);
  }
  return readFileSync(known, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(':'))
    .map(([path, needs]) => [path, needs.trim().split(' ').filter(Boolean)]);
}

/** The files of modules and of all that they need, in the order in which they can be loaded. */
function moduleFiles(modules, names) {
  const table = dependencyLines(modules);
  const files = [];
  for (const name of names) {
    const found = table.find(
      ([path]) =>
        basename(path)
          .replace(/\.ko.*/, '')
          .replaceAll('-', '_') === name,
    );
    if (!found) continue; // built in, or not there
    const [path, needs] = found;
    for (const file of [...needs.toReversed(), path]) if (!files.includes(file)) files.push(file);
  }
  return files;
}

async function bundleTests(disk, tests) {
  const alias = { ...Object.fromEntries(sources), vitest: join(root, 'packages/namespaces/test/guest/vitest.ts') };
  const options = { bundle: true, platform: 'node', target: 'node20', format: 'esm', alias, logLevel: 'error' };
  const external = ['esbuild', '/repo/guest/vitest.mjs'];
  const shim = { ...alias, vitest: '/repo/guest/vitest.mjs' };
  // One copy of the stand-in, which the tests declare themselves to and the runner runs.
  await build({ ...options, entryPoints: [alias.vitest], outfile: join(disk, 'repo/guest/vitest.mjs') });
  const runner = join(root, 'packages/namespaces/test/guest/run.ts');
  await build({
    ...options,
    entryPoints: [runner],
    external: ['./vitest.js'],
    outfile: join(disk, 'repo/guest/run.mjs'),
  });
  symlinkSync('vitest.mjs', join(disk, 'repo/guest/vitest.js'));
  for (const { file, bundle } of tests) {
    await build({ ...options, alias: shim, external, entryPoints: [file], outfile: join(disk, bundle) });
  }
}

// What the tests read of their own packages, and build from at run time.
function copyRepository(disk) {
  for (const name of ['wire', 'cgroups', 'namespaces']) {
    for (const part of ['src', 'test', 'native', 'dist', 'package.json']) {
      const from = join(root, 'packages', name, part);
      if (existsSync(from)) cpSync(from, join(disk, 'repo/packages', name, part), { recursive: true });
    }
  }
  writeFileSync(join(disk, 'repo/package.json'), '{"type":"module"}\n');
  for (const name of ['esbuild', '@esbuild/linux-x64']) {
    const from = realpathSync(join(root, 'node_modules/esbuild'));
    const real = name === 'esbuild' ? from : realpathSync(join(dirname(from), name));
    cpSync(real, join(disk, 'repo/node_modules', name), { recursive: true, dereference: true });
  }
}

// There is no compiler in the guest: what the tests compile is compiled here.
async function bringAlong(disk) {
  const builder = join(root, 'packages/namespaces/native/build.mjs');
  execFileSync(process.execPath, [builder], { stdio: 'ignore' });
  const launchers = 'packages/namespaces/dist/bin';
  cpSync(join(root, launchers), join(disk, 'repo', launchers), { recursive: true });
  const harness = join(root, 'node_modules', `.guest-${process.pid}.mjs`); // beside the packages that it imports
  const brought = join(disk, 'brought');
  for (const name of ['calls', 'swap', 'load-filters']) {
    const source = join(root, `packages/namespaces/test/programs/${name}.c`);
    execFileSync('gcc', ['-O1', '-static', '-pthread', source, '-o', join(brought, name)]);
  }
  if (existsSync('/usr/include/seccomp.h')) {
    const [source, judge] = [join(root, 'packages/namespaces/test/programs/libseccomp.c'), join(brought, 'libseccomp')];
    execFileSync('gcc', ['-O1', source, '-o', judge, '-lseccomp']);
    copyLibraries(disk, librariesOf(judge));
  }
  if (existsSync(PROFILE)) {
    mkdirSync(join(disk, dirname(PROFILE)), { recursive: true });
    copyFileSync(PROFILE, join(disk, PROFILE));
  }
  const sanitized = join(brought, 'launcher-sanitized');
  execFileSync(process.execPath, [builder, '--sanitize', sanitized], { stdio: 'ignore' });
  copyLibraries(disk, librariesOf(sanitized));
  const code = `import { cleanUp } from './fixtures.js'; import { buildAttempts, weakLauncher } from './escape/harness.js';
    import { copyFileSync } from 'node:fs';
    for (const [name, path] of [['attempts', buildAttempts()], ['launcher-symlinks', weakLauncher('symlinks')],
      ['launcher-descriptors', weakLauncher('descriptors')]]) copyFileSync(path, process.argv[2] + '/' + name);
    cleanUp();`;
  const test = join(root, 'packages/namespaces/test');
  await build({
    stdin: { contents: code, resolveDir: test },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    alias: Object.fromEntries(sources),
    external: ['esbuild'],
    define: { 'import.meta.dirname': JSON.stringify(join(test, 'escape')) },
    outfile: harness,
    logLevel: 'error',
  });
  try {
    execFileSync(process.execPath, [harness, brought], { stdio: ['ignore', 'ignore', 'inherit'] });
  } finally {
    rmSync(harness);
  }
}

function initScript(tests) {
  const runs = tests.map(
    ({ package: name, file, bundle }) =>
      `echo "start ${name} ${basename(file)}"; cd /repo; timeout 3000 node /repo/guest/run.mjs ${bundle} 2>&1; echo "end ${name} ${basename(file)}"`,
  );
  return `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1 CASEMATE_BROUGHT=/brought CASEMATE_SLOWNESS=5 TMPDIR=/tmp
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts -o gid=5,mode=620,ptmxmode=666 pts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t cgroup2 -o nsdelegate cgroup /sys/fs/cgroup; mount -t tmpfs run /run
for m in $(cat /etc/modules); do modprobe $m 2>/dev/null; done
echo bfq > /sys/block/vda/queue/scheduler
ip link set lo up; hostname guest; ulimit -n 65536
echo "kernel $(uname -r)"; echo "controllers $(cat /sys/fs/cgroup/cgroup.controllers)"; echo "node $(node --version)"
${runs.join('\n')}
echo "all done"; sync; poweroff -f
`;
}

function packDisk(from, image) {
  execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-d', from, image, '2G'], {
    stdio: 'inherit',
    env: ENV,
  });
}

// The initramfs only loads what it takes to see the disk, and goes over to that: a root that is the initramfs cannot be exchanged.
function packInitramfs({ modules }, file) {
  const directory = join(work, 'initramfs');
  for (const name of ['bin', 'proc', 'dev', 'new']) mkdirSync(join(directory, name), { recursive: true });
  copyFileSync(which('busybox'), join(directory, 'bin/busybox'));
  const loaded = moduleFiles(modules, ['virtio_pci', 'virtio_blk', 'ext4']);
  loaded.forEach((path, i) => {
    copyFileSync(join(modules, path), join(directory, `${i}.ko`));
  });
  const script = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
${loaded.map((_, i) => `insmod /${i}.ko`).join('\n')}
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 0.5; done
mount -t ext4 /dev/vda /new || poweroff -f
umount /dev; exec switch_root /new /init
`;
  writeFileSync(join(directory, 'init'), script);
  for (const name of ['init', 'bin/busybox']) chmodSync(join(directory, name), 0o755);
  execFileSync('sh', ['-c', `find . | busybox cpio -o -H newc > ${file}`], { cwd: directory, stdio: 'ignore' });
}

// ---- the machine ----

/** Boots and prints what the guest says. Returns of each test file its counts, its failures and how long it took, or none of that. */
async function boot({ image }, tests) {
  const machine = spawn('qemu-system-x86_64', [
    ...['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048'],
    ...['-display', 'none', '-no-reboot', '-nic', 'none', '-serial', 'stdio', '-monitor', 'none'],
    ...['-kernel', image, '-initrd', join(work, 'initramfs.cpio')],
    ...['-append', 'console=ttyS0 quiet panic=-1 psi=1 hugepages=8 mitigations=off'],
    ...['-drive', `file=${join(work, 'disk.ext4')},format=raw,if=virtio,cache=unsafe`],
  ]);
  const stop = setTimeout(() => machine.kill('SIGKILL'), minutes * 60_000);
  machine.stderr.pipe(process.stderr);
  const results = new Map(tests.map(({ package: name, file }) => [`${name} ${basename(file)}`, { failures: [] }]));
  let running = { failures: [] };
  for await (const line of createInterface({ input: machine.stdout })) {
    const text = line.replace(/\r/g, '');
    process.stdout.write(`${text}\n`);
    const [, what, rest] = /^(start|FAIL|counts|end) (.*)$/.exec(text) ?? [];
    if (what === 'start') running = Object.assign(results.get(rest) ?? { failures: [] }, { began: Date.now() });
    if (what === 'FAIL') running.failures.push(rest);
    if (what === 'counts') running.counts = JSON.parse(rest);
    if (what === 'end') running.seconds = (Date.now() - running.began) / 1000;
  }
  clearTimeout(stop);
  return results;
}

/** Prints the counts of each file and of all, then the failures by name; returns the exit code. */
function report(results) {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  process.stdout.write('\n');
  for (const [name, { counts, seconds = 0, failures }] of results) {
    const { passed, failed, skipped } = counts ?? { passed: 0, failed: 1, skipped: 0 };
    const how = counts ? `${passed} passed, ${failed} failed, ${skipped} skipped` : 'came to no end';
    process.stdout.write(`${name}: ${how} (${seconds.toFixed(0)} s)\n`);
    if (!counts) failures.push('came to no end');
    sum.passed += passed;
    sum.failed += failed;
    sum.skipped += skipped;
  }
  const minutesTaken = ([...results.values()].reduce((all, { seconds = 0 }) => all + seconds, 0) / 60).toFixed(0);
  process.stdout.write(
    `guest: ${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped (${minutesTaken} min)\n`,
  );
  for (const [name, { failures }] of results)
    for (const failure of failures) process.stdout.write(`FAILED ${name}: ${failure}\n`);
  return sum.failed === 0 ? 0 : 1;
}

function which(name) {
  const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8', env: ENV }).stdout.trim();
  return found === '' ? undefined : found;
}

function librariesOf(program) {
  const listed = spawnSync('ldd', [program], { encoding: 'utf8' }).stdout ?? '';
  return [...listed.matchAll(/\/\S+\.so\S*/g)].map(([library]) => library);
}

function words(text) {
  return text.trim().split(/\s+/);
}
