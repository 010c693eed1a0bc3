// Brings a fresh clone to the point where it can run: system packages, npm packages, build. Each part is skipped when it is already there.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root directory. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const stampFile = join(root, 'node_modules', '.casemate-lockfile');

/** What the build and the demo need from the system, by the file that shows that it is there. */
export const buildTools = [
  {
    what: 'a C compiler that links static programs, with the kernel headers',
    debian: ['gcc', 'libc6-dev', 'linux-libc-dev', 'musl-tools'],
    found: () => (isCommand('musl-gcc') || isStaticGcc()) && existsSync('/usr/include/linux/seccomp.h'),
  },
  { what: 'busybox, the default root filesystem', debian: ['busybox-static'], found: () => isCommand('busybox') },
];

/** Where the kernel of guest machines is unpacked. */
const kernelDirectory = join(root, '.casemate', 'kernel');

/** What the tests need besides: the outside judges. */
export const testTools = [
  { what: 'swtpm', debian: ['swtpm', 'swtpm-tools'], found: () => isCommand('swtpm') && isCommand('swtpm_setup') },
  {
    what: 'tpm2-tools with the swtpm, mssim and pcap transports',
    debian: ['tpm2-tools', 'libtss2-tcti-swtpm0', 'libtss2-tcti-mssim0', 'libtss2-tcti-pcap0', 'xxd'],
    found: () =>
      isCommand('tpm2_quote') &&
      isCommand('xxd') &&
      isLibrary('libtss2-tcti-mssim.so.0') &&
      isLibrary('libtss2-tcti-pcap.so.0'),
  },
  {
    what: 'tpm-tools and tpm-quote-tools for TPM 1.2, with trousers',
    debian: ['tpm-tools', 'tpm-quote-tools', 'trousers'],
    found: () => isCommand('tpm_nvread') && isCommand('tpm_getquote') && isCommand('tcsd'),
  },
  { what: 'OpenSSL', debian: ['openssl'], found: () => isCommand('openssl') },
  {
    what: "OpenSSL's provider for TPM 2.0, and the Python bindings of tpm2-tss",
    debian: ['tpm2-openssl', 'python3-tpm2-pytss', 'libtss2-tctildr0'],
    found: () => isLibrary('ossl-modules/tpm2.so') && existsSync('/usr/lib/python3/dist-packages/tpm2_pytss'),
  },
  { what: 'ssh-keygen', debian: ['openssh-client'], found: () => isCommand('ssh-keygen') },
  { what: 'curl', debian: ['curl'], found: () => isCommand('curl') },
  {
    what: 'PostgreSQL',
    debian: ['postgresql'],
    found: () => existsSync('/usr/lib/postgresql') && isCommand('setpriv'),
  },
  {
    what: 'the ACME clients lego and certbot',
    debian: ['lego', 'certbot'],
    found: () => isCommand('lego') && isCommand('certbot'),
  },
  { what: 'GnuTLS certtool', debian: ['gnutls-bin'], found: () => isCommand('certtool') },
  { what: 'softhsm2, a PKCS#11 token', debian: ['softhsm2'], found: () => isCommand('softhsm2-util') },
  { what: "Java's keytool", debian: ['default-jre-headless'], found: () => isCommand('keytool') },
  { what: 'bubblewrap', debian: ['bubblewrap'], found: () => isCommand('bwrap') },
  { what: 'crun and runc', debian: ['crun', 'runc'], found: () => isCommand('crun') && isCommand('runc') },
  {
    what: 'a C compiler for arm64, and an emulator for its programs',
    debian: ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross', 'qemu-user-static'],
    found: () => isCommand('aarch64-linux-gnu-gcc') && isCommand('qemu-aarch64-static'),
  },
  {
    what: "libseccomp, crun and the seccomp profile of podman and Docker's kin",
    debian: ['gcc', 'libc6-dev', 'libseccomp-dev', 'crun', 'golang-github-containers-common'],
    found: () =>
      existsSync('/usr/include/seccomp.h') && isCommand('crun') && existsSync('/usr/share/containers/seccomp.json'),
  },
  { what: 'Chromium', debian: ['chromium'], found: () => isCommand('chromium') },
  { what: 'strace', debian: ['strace'], found: () => isCommand('strace') },
  { what: 'QEMU', debian: ['qemu-system-x86'], found: () => isCommand('qemu-system-x86_64') },
  {
    what: 'a Linux kernel for guest machines, with its modules',
    debian: ['kmod', 'e2fsprogs'],
    found: () => hasGuestKernel() || process.arch !== 'x64',
    install: fetchGuestKernel,
  },
  {
    what: 'a cryptographic library to link PALs with',
    debian: ['libmbedtls-dev'],
    found: () => existsSync('/usr/lib/x86_64-linux-gnu/libmbedcrypto.a'),
  },
  {
    what: 'make, pkg-config, binutils and llvm, which build the SDK for C, and libsodium, which runs on it',
    debian: ['make', 'pkgconf', 'binutils', 'llvm', 'libsodium-dev'],
    found: () =>
      isCommand('make') &&
      isCommand('pkg-config') &&
      isCommand('objcopy') &&
      isCommand('llvm-ar') &&
      existsSync('/usr/include/sodium.h'),
  },
  {
    what: 'clang and lld, which make WebAssembly, and wabt, which makes C of it',
    debian: ['clang', 'lld', 'wabt'],
    found: () => isCommand('clang') && isCommand('wasm-ld') && isCommand('wasm2c'),
  },
  {
    what: 'tools that make squashfs, erofs and ext4 images',
    debian: ['squashfs-tools', 'erofs-utils', 'e2fsprogs'],
    found: () => isCommand('mksquashfs') && isCommand('mkfs.erofs') && isCommand('mkfs.ext4'),
  },
  {
    what: 'ip and ping for networks, newuidmap for id maps',
    debian: ['iproute2', 'iputils-ping', 'uidmap'],
    found: () => isCommand('ip') && isCommand('ping') && isCommand('newuidmap'),
  },
  { what: 'tar and util-linux', debian: ['tar', 'util-linux'], found: () => isCommand('tar') && isCommand('setpriv') },
];

/** What running tests in a guest machine needs. */
export const guestTools = [
  ...buildTools,
  ...testTools.filter(({ debian }) =>
    ['qemu-system-x86', 'kmod', 'squashfs-tools', 'iproute2', 'util-linux', 'qemu-user-static', 'libseccomp-dev'].some(
      (name) => debian.includes(name),
    ),
  ),
];

/** Runs all of the set-up. `tools` are the system packages wanted; `build` false stops after the install. */
export async function setup({ tools = buildTools, build = true } = {}) {
  assertNode();
  await installSystem(tools);
  await installPackages();
  if (!build) return;
  await step('build', bin('turbo'), ['run', 'build', '--output-logs=errors-only', '--log-order=grouped']);
  linkCommands();
}

/** Puts the packages' commands where `npx` looks for them: pnpm does that only for dependencies, and only where they are built. */
function linkCommands() {
  for (const name of readdirSync(join(root, 'packages'))) {
    const file = join(root, 'packages', name, 'package.json');
    const { bin: commands = {} } = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    for (const [command, target] of Object.entries(commands)) {
      const program = join(dirname(file), target);
      if (!existsSync(program)) continue;
      rmSync(bin(command), { force: true });
      symlinkSync(relative(dirname(bin(command)), program), bin(command));
    }
  }
}

/** The path of a command that the npm packages bring. */
export function bin(name) {
  return join(root, 'node_modules', '.bin', name);
}

/** Runs one command with a line before and after it; its output is shown only when it fails. Returns its standard output. */
export async function step(title, command, args, options = {}) {
  const start = Date.now();
  process.stderr.write(`${title} …`);
  const { code, output } = await run(command, args, options);
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  process.stderr.write(` ${code === 0 ? 'done' : `FAILED (exit ${code})`} in ${seconds} s\n`);
  if (code === 0) return output;
  process.stderr.write(output);
  throw new Error(`${title} failed: ${command} ${args.join(' ')}`);
}

/** Runs a command and collects what it prints on both streams. */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    // turbo looks for the package manager on PATH, where a fresh machine has none.
    const PATH = `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}`;
    const env = {
      ...process.env,
      PATH,
      TURBO_TELEMETRY_DISABLED: '1',
      DO_NOT_TRACK: '1',
      NO_COLOR: '1',
      ...options.env,
    };
    const child = spawn(command, args, { cwd: options.cwd ?? root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        output += text;
      });
    }
    child.on('error', (error) => resolve({ code: 127, output: `${output}${error.message}\n` }));
    child.on('close', (code, signal) => resolve({ code: code ?? `signal ${signal}`, output }));
  });
}

/** Whether `name` is an executable on PATH (the usual system directories included). */
export function isCommand(name) {
  const path = `${process.env.PATH ?? ''}${delimiter}/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
  return path.split(delimiter).some((dir) => dir !== '' && existsSync(join(dir, name)));
}

function isLibrary(name) {
  return ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib', '/usr/lib64'].some((d) =>
    existsSync(join(d, name)),
  );
}

function isStaticGcc() {
  if (!isCommand('gcc')) return false;
  try {
    return existsSync(execFileSync('gcc', ['-print-file-name=libc.a'], { encoding: 'utf8' }).trim());
  } catch {
    return false;
  }
}

function assertNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  process.stderr.write(`Casemate needs Node 20.19 or later; this is Node ${process.versions.node}.\n`);
  process.exit(1);
}

async function installSystem(tools) {
  const missing = tools.filter((tool) => !tool.found());
  const packages = [...new Set(missing.flatMap((tool) => tool.debian))];
  if (packages.length > 0) await installDebian(packages, missing.map((tool) => tool.what).join('; '));
  for (const tool of missing) await tool.install?.();
}

async function installDebian(packages, why) {
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!isCommand('apt-get') || process.getuid?.() !== 0) {
    process.stderr.write(`Missing on this machine: ${why}.\nRun this once, then try again:\n  sudo ${command}\n`);
    process.exit(1);
  }
  // No daemon is to start: in a container there is nothing that could start it.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  await step('refresh the package lists', 'apt-get', ['update', '-q'], { env });
  await step(`install ${packages.join(', ')}`, 'apt-get', command.split(' ').slice(1), { env });
}

function hasGuestKernel() {
  return [kernelDirectory, '/'].some((place) => {
    const boot = join(place, 'boot');
    const images = existsSync(boot) ? readdirSync(boot).filter((file) => /^vmlinuz-.*-amd64$/.test(file)) : [];
    return images.some((image) => existsSync(join(place, 'lib/modules', image.slice('vmlinuz-'.length))));
  });
}

/** Unpacks Debian's kernel without installing it: nothing of it is to run on this machine. */
async function fetchGuestKernel() {
  mkdirSync(kernelDirectory, { recursive: true });
  const name = 'linux-image-cloud-amd64';
  const [, image] = /Depends: (linux-image-\S+)/.exec((await run('apt-cache', ['depends', name])).output) ?? [];
  if (image === undefined) throw new Error(`set up: expected ${name} to name a kernel, and it does not`);
  await step(`fetch ${image}`, 'apt-get', ['download', '-q', image], { cwd: kernelDirectory });
  const [file] = readdirSync(kernelDirectory).filter((entry) => entry.endsWith('.deb'));
  const unpack = `dpkg-deb --fsys-tarfile ${file} | tar -x ./boot ./lib/modules && rm ${file}`;
  await step(`unpack ${image}`, 'sh', ['-c', unpack], { cwd: kernelDirectory });
}

async function installPackages() {
  const digest = createHash('sha256')
    .update(readFileSync(join(root, 'pnpm-lock.yaml')))
    .digest('hex');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === digest) return;
  const pnpm = manifest.packageManager;
  await step(`install npm packages (${pnpm})`, 'npx', ['--yes', pnpm, 'install', '--frozen-lockfile'], {
    env: { CI: 'true' },
  });
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, digest);
}
