// `npm run suite -- --sources DIR`: tpm2-tools' own integration tests, through tpm2-abrmd, against our TPM or swtpm.
// The sources are not part of this repository: git clone --depth 1 -b 5.4 https://github.com/tpm2-software/tpm2-tools
import { spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { numberOf, readArguments, refuseArguments } from './arguments.mjs';
import { isCommand, root, setup } from './setup.mjs';

const USAGE = `usage: npm run suite -- --sources DIR [--tpm utpm|swtpm] [--jobs N] [--only NAME,NAME] [--logs DIR] [--timeout SECONDS] [--no-build]

Runs the 122 integration tests of tpm2-tools 5.4 with a fresh TPM for each, and prints a line for each and the counts.
DIR is a checkout: git clone --depth 1 -b 5.4 https://github.com/tpm2-software/tpm2-tools
`;

/** What the suite needs from the system. */
const suiteTools = [
  { what: 'tpm2-abrmd', debian: ['tpm2-abrmd', 'libtss2-tcti-tabrmd0'], found: () => isCommand('tpm2-abrmd') },
  { what: 'a D-Bus session', debian: ['dbus', 'dbus-daemon'], found: () => isCommand('dbus-run-session') },
  { what: 'tpm2-tools', debian: ['tpm2-tools', 'libtss2-tcti-swtpm0', 'xxd'], found: () => isCommand('tpm2_quote') },
  {
    what: 'the headers of tpm2-tss, from which one test takes its cases',
    debian: ['libtss2-dev', 'pkg-config'],
    found: () => isCommand('pkg-config') && existsSync('/usr/include/tss2/tss2_tpm2_types.h'),
  },
  { what: 'PyYAML', debian: ['python3-yaml'], found: () => existsSync('/usr/lib/python3/dist-packages/yaml') },
  { what: 'OpenSSL and expect', debian: ['openssl', 'expect'], found: () => isCommand('expect') },
  { what: 'swtpm', debian: ['swtpm'], found: () => isCommand('swtpm') },
];

const options = readOptions();
await setup({ tools: suiteTools, build: options.tpm === 'utpm' && !options['no-build'] });
const integration = join(options.sources, 'test', 'integration');
const tests = listTests(integration).filter((test) => !options.only || options.only.includes(basename(test, '.sh')));
const scratch = mkdtempSync(join(tmpdir(), 'casemate-suite-'));
mkdirSync(options.logs, { recursive: true });
const results = [];
const queue = [...tests];
await Promise.all(Array.from({ length: options.jobs }, work));
rmSync(scratch, { recursive: true, force: true });
process.exitCode = report();

function readOptions() {
  const { values } = readArguments(USAGE, {
    options: {
      sources: { type: 'string' },
      tpm: { type: 'string', default: 'utpm' },
      jobs: { type: 'string', default: '2' },
      only: { type: 'string' },
      logs: { type: 'string', default: join(tmpdir(), 'tpm2-tools-suite') },
      timeout: { type: 'string', default: '600' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  if (!values.sources || !existsSync(join(values.sources, 'test', 'integration', 'helpers.sh')))
    refuseArguments(USAGE, '--sources must name a checkout of tpm2-tools.');
  if (!['utpm', 'swtpm'].includes(values.tpm))
    refuseArguments(USAGE, `--tpm: expected utpm or swtpm, got "${values.tpm}".`);
  return {
    ...values,
    sources: resolve(values.sources),
    jobs: numberOf(USAGE, 'jobs', values.jobs, 1),
    only: values.only?.split(','),
    logs: resolve(values.logs, values.tpm),
    timeout: numberOf(USAGE, 'timeout', values.timeout),
  };
}

function listTests(directory) {
  return ['tests', 'fapi'].flatMap((kind) =>
    readdirSync(join(directory, kind))
      .filter((file) => file.endsWith('.sh'))
      .map((file) => join(kind, file)),
  );
}

async function work() {
  for (let test = queue.shift(); test !== undefined; test = queue.shift()) {
    const start = Date.now();
    const outcome = await runTest(test);
    results.push({ test, outcome });
    const seconds = ((Date.now() - start) / 1000).toFixed(0);
    process.stdout.write(`[${results.length}/${tests.length}] ${outcome.padEnd(7)} ${test} (${seconds} s)\n`);
  }
}

async function runTest(test) {
  const name = basename(test, '.sh');
  const directory = mkdtempSync(join(scratch, `${name}-`));
  const log = createWriteStream(join(options.logs, `${name}.log`));
  const { port, tpm } = await startTpm(directory, log);
  try {
    for (const each of [port, port + 1]) await waitForPort(each);
    return await runScript(test, port, directory, log);
  } catch (error) {
    log.write(`${error.stack}\n`);
    return 'fail';
  } finally {
    tpm.kill('SIGTERM');
    await tpm.ended;
    log.end();
  }
}

/** Starts a TPM on a free pair of ports and waits until both answer. */
async function startTpm(directory, log) {
  const state = join(directory, 'state');
  mkdirSync(state);
  const port = await freePortPair();
  const argv = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--server', `type=tcp,port=${port}`];
  argv.push('--ctrl', `type=tcp,port=${port + 1}`, '--flags', 'not-need-init,startup-clear');
  const [program, ...args] =
    options.tpm === 'swtpm'
      ? ['swtpm', ...argv]
      : [process.execPath, join(root, 'packages', 'utpm', 'dist', 'cli.js'), ...argv];
  const tpm = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  tpm.ended = new Promise((resolve) => tpm.once('exit', resolve));
  for (const stream of [tpm.stdout, tpm.stderr]) stream.on('data', (text) => log.write(text));
  return { port, tpm };
}

/** The script in its own D-Bus session and process group: what a test leaves behind ends with it. */
function runScript(test, port, directory, log) {
  const abs = options.sources;
  const child = spawn('dbus-run-session', ['--', 'bash', test], {
    cwd: integration,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: `${pythonFirst(directory)}:${integration}:${process.env.PATH}:/usr/sbin:/sbin`,
      PYTHON: '/usr/bin/python3',
      TMPDIR: directory,
      HOME: directory,
      TPM2_TOOLS_TEST_FIXTURES: join(integration, 'fixtures'),
      srcdir: abs,
      abs_srcdir: abs,
      abs_top_srcdir: abs,
      abs_builddir: '/nonexistent',
      TPM2_ABRMD: 'tpm2-abrmd',
      TPM2ABRMD_TCTI: `--session --dbus-name=com.intel.tss2.Tabrmd --tcti=swtpm:host=127.0.0.1,port=${port}`,
      TPM2TOOLS_TEST_TCTI: 'tabrmd:bus_type=session,bus_name=com.intel.tss2.Tabrmd',
    },
  });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => log.write(text));
  const end = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // The group has ended already.
    }
  };
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      end('SIGKILL');
      resolve('timeout');
    }, options.timeout * 1000);
    child.once('exit', (code) => {
      clearTimeout(timer);
      end('SIGKILL');
      resolve(code === 0 ? 'pass' : code === 77 ? 'skip' : 'fail');
    });
  });
}

/** The scripts call `python`; Debian has it as python3 only, and PyYAML belongs to that one. */
function pythonFirst(directory) {
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  for (const name of ['python', 'python3']) {
    writeFileSync(join(bin, name), '#!/bin/sh\nexec /usr/bin/python3 "$@"\n', { mode: 0o755 });
  }
  return bin;
}

/** Below the ports that the kernel hands to clients, which could take the second one between the look and the use. */
async function freePortPair() {
  for (;;) {
    const port = 20_000 + 2 * Math.floor(Math.random() * 6000);
    if ((await freePort(port)) !== undefined && (await freePort(port + 1)) !== undefined) return port;
  }
}

function freePort(wanted) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(wanted, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** swtpm takes one client at a time and ends a session with it, so the ports are looked up, not connected to. */
async function waitForPort(port) {
  for (let tries = 0; tries < 200; tries++) {
    if (isListening(port)) return;
    await delay(50);
  }
  throw new Error(`the TPM did not open port ${port} within 10 s`);
}

function isListening(port) {
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .some((line) => line.includes(`:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`));
}

function report() {
  const of = (outcome) => results.filter((result) => result.outcome === outcome).map(({ test }) => test);
  for (const outcome of ['skip', 'fail', 'timeout'])
    for (const test of of(outcome)) process.stdout.write(`${outcome}: ${test}\n`);
  process.stdout.write(`logs: ${options.logs}\n`);
  const failed = of('fail').length + of('timeout').length;
  process.stdout.write(
    `${options.tpm}: ${of('pass').length} pass, ${of('skip').length} skip, ${failed} fail of ${tests.length}\n`,
  );
  return failed === 0 ? 0 : 1;
}
