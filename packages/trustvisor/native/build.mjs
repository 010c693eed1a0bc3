// Builds the monitor of the engine kvm as a static executable: musl-gcc if it is there, else gcc with a static C library.
// `node native/build.mjs [--sanitize OUTPUT]`; the latter is a build under UBSan for the tests.
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const WARNINGS = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-Wconversion', '-Wshadow', '-Wvla'];
const HARDENING = ['-Os', '-fstack-protector-strong', '-D_FORTIFY_SOURCE=2', '-static', '-s'];
// musl brings no kernel headers; the system's come last, so that its C library headers win.
const MUSL = ['-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu'];
const SANITIZE = ['-O1', '-g', '-fsanitize=undefined', '-fno-sanitize-recover=undefined', '-static-libubsan'];

const sanitize = process.argv.indexOf('--sanitize');
const output = sanitize > 0 ? process.argv[sanitize + 1] : `${here}/../dist/bin/linux-x64/casemate-pal-monitor`;
const compilers =
  sanitize > 0
    ? [['gcc', SANITIZE]]
    : [
        ['musl-gcc', [...HARDENING, ...MUSL]],
        ['gcc', HARDENING],
      ];

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log(`pal-monitor: not for ${process.platform}-${process.arch}; the engine kvm is for linux-x64`);
  process.exit(0);
}
if (!output) fail('--sanitize needs the path of the output');
const [name, flags] = compilers.find(([compiler]) => spawnSync(compiler, ['--version']).status === 0) ?? [];
if (!name) fail('no C compiler: install musl-tools or gcc (apt-get install musl-tools)');
mkdirSync(dirname(output), { recursive: true });
const built = spawnSync(name, [...WARNINGS, ...flags, `${here}/pal-monitor.c`, '-o', output], { stdio: 'inherit' });
if (built.status !== 0) fail(`${name} failed on native/pal-monitor.c`);
console.log(`pal-monitor: ${relative(process.cwd(), output)}, ${statSync(output).size} bytes, by ${name}`);

function fail(reason) {
  console.error(`pal-monitor not built: ${reason}`);
  process.exit(1);
}
