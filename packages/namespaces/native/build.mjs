// Builds the launcher as a static executable: musl-gcc if it is there, else gcc with a static C library.
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

const sanitize = process.argv.indexOf('--sanitize');
const [compilers, output] =
  sanitize > 0
    ? [[['gcc', SANITIZE]], process.argv[sanitize + 1]]
    : [
        [
          ['musl-gcc', [...HARDENING, ...MUSL]],
          ['gcc', [...HARDENING, '-static', '-s']],
        ],
        `${here}/../dist/bin/linux-x64/casemate-launcher`,
      ];

const compiler = compilers.find(([name]) => spawnSync(name, ['--version']).status === 0);
if (process.platform !== 'linux' || process.arch !== 'x64')
  fail(`no launcher for ${process.platform}-${process.arch}: it is built on linux-x64`);
if (!output) fail('--sanitize needs the path of the output');
if (!compiler) fail('no C compiler: install musl-tools or gcc (apt-get install musl-tools)');

const [name, flags] = compiler;
mkdirSync(dirname(output), { recursive: true });
const built = spawnSync(name, [...WARNINGS, ...flags, ...sources, '-o', output], { stdio: 'inherit' });
if (built.status !== 0) fail(`${name} failed on native/*.c`);
console.log(`launcher: ${relative(process.cwd(), output)}, ${statSync(output).size} bytes, by ${name}`);

function fail(reason) {
  console.error(`launcher not built: ${reason}`);
  process.exit(1);
}
