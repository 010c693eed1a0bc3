// Builds the native programs as static executables: the monitor of the engine kvm, for x64, and the start of the isolate, for this
// machine and, where its cross compiler is there, for arm64. By musl-gcc if it is there, else gcc with a static C library.
// `node native/build.mjs [--sanitize OUTPUT]`; the latter is a monitor under AddressSanitizer and UBSan for the tests.
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const WARNINGS = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-Wconversion', '-Wshadow', '-Wvla'];
const HARDENING = ['-Os', '-fstack-protector-strong', '-D_FORTIFY_SOURCE=2', '-static', '-s'];
// musl brings no kernel headers; the system's come last, so that its C library headers win.
const MUSL = ['-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu'];
const SANITIZE = [
  '-O1',
  '-g',
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=all',
  '-DCASEMATE_SANITIZE', // the sanitizers need calls that the filter would end
  '-static-libasan',
  '-static-libubsan',
];

/** The compilers for each machine, the best one first. */
const COMPILERS = {
  x64: { 'musl-gcc': [...HARDENING, ...MUSL], ...(process.arch === 'x64' ? { gcc: HARDENING } : {}) },
  arm64: { 'aarch64-linux-gnu-gcc': HARDENING, ...(process.arch === 'arm64' ? { gcc: HARDENING } : {}) },
};

if (process.platform !== 'linux') {
  console.log(
    `native programs: not for ${process.platform}; the isolate is not hidden there, and the engine kvm is not there`,
  );
  process.exit(0);
}
const sanitize = process.argv.indexOf('--sanitize');
if (sanitize > 0) {
  build(
    'pal-monitor',
    { gcc: SANITIZE },
    process.argv[sanitize + 1] ?? fail('--sanitize needs the path of the output'),
  );
} else {
  for (const [arch, compilers] of Object.entries(COMPILERS))
    build('hidden-start', compilers, `${here}/../dist/bin/linux-${arch}/casemate-hidden-start`, arch !== process.arch);
  if (process.arch === 'x64') build('pal-monitor', COMPILERS.x64, `${here}/../dist/bin/linux-x64/casemate-pal-monitor`);
}

/** Compiles and links with the first of `compilers` that is there; without one it fails unless the output is `optional`. */
function build(source, compilers, output, optional = false) {
  const name = Object.keys(compilers).find((command) => spawnSync(command, ['--version']).status === 0);
  if (!name && optional) return;
  if (!name) fail('no C compiler: install musl-tools or gcc (apt-get install musl-tools)');
  mkdirSync(dirname(output), { recursive: true });
  const built = spawnSync(name, [...WARNINGS, ...compilers[name], `${here}/${source}.c`, '-o', output], {
    stdio: 'inherit',
  });
  if (built.status !== 0) fail(`${name} failed on native/${source}.c`);
  console.log(`${source}: ${relative(process.cwd(), output)}, ${statSync(output).size} bytes, by ${name}`);
}

function fail(reason) {
  console.error(`native programs not built: ${reason}`);
  process.exit(1);
}
