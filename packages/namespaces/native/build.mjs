// Builds the launcher as static executables: for this machine by musl-gcc if it is there, else gcc with a static C library, and for
// arm64 where its cross compiler is there.
// `node native/build.mjs [--sanitize OUTPUT]`; the latter is a dynamic build under AddressSanitizer and UBSan for the tests.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const sources = readdirSync(here)
  .filter((name) => name.endsWith('.c'))
  .sort()
  .map((name) => `${here}/${name}`);
const WARNINGS = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-Wconversion', '-Wshadow', '-Wvla', '-Wno-overflow'];
const HARDENING = [
  '-Os',
  '-flto',
  '-ffunction-sections',
  '-Wl,--gc-sections',
  '-fstack-protector-strong',
  '-D_FORTIFY_SOURCE=2',
];
// musl brings no kernel headers; the system's come last, so that its C library headers win.
const MUSL = ['-static', '-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu', '-s'];
const SANITIZE = [
  '-O1',
  '-g',
  '-fsanitize=address,undefined',
  '-DCASEMATE_FAULTS', // a plan may ask for a failure: test/faults.test.ts
  '-fno-sanitize-recover=undefined',
  '-static-libasan',
  '-static-libubsan',
];

const STATIC = [...HARDENING, '-static', '-s'];

/** The compilers for each machine that a launcher is built for, the best one first. */
const TARGETS = {
  x64: { 'musl-gcc': [...HARDENING, ...MUSL], ...(process.arch === 'x64' ? { gcc: STATIC } : {}) },
  arm64: { 'aarch64-linux-gnu-gcc': STATIC, ...(process.arch === 'arm64' ? { gcc: STATIC } : {}) },
};

if (process.platform !== 'linux') fail(`it is built on Linux, not on ${process.platform}`);
const sanitize = process.argv.indexOf('--sanitize');
if (sanitize > 0)
  build({ gcc: SANITIZE }, process.argv[sanitize + 1] ?? fail('--sanitize needs the path of the output'));
else for (const [arch, compilers] of Object.entries(TARGETS)) build(compilers, outputFor(arch), arch !== process.arch);

function outputFor(arch) {
  return `${here}/../dist/bin/linux-${arch}/casemate-launcher`;
}

/** Compiles and links with the first of `compilers` that is there; without one it fails unless the output is `optional`. */
function build(compilers, output, optional = false) {
  const name = Object.keys(compilers).find((command) => spawnSync(command, ['--version']).status === 0);
  if (!name && optional) return;
  if (!name) fail('no C compiler: install musl-tools or gcc (apt-get install musl-tools)');
  mkdirSync(dirname(output), { recursive: true });
  const built = spawnSync(name, [...WARNINGS, ...compilers[name], ...sources, '-o', output], { stdio: 'inherit' });
  if (built.status !== 0) fail(`${name} failed on native/*.c`);
  console.log(`launcher: ${relative(process.cwd(), output)}, ${statSync(output).size} bytes, by ${name}`);
}

function fail(reason) {
  console.error(`launcher not built: ${reason}`);
  process.exit(1);
}
