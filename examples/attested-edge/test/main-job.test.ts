/** The main job as a person runs it: the built program, its output, its exit status, and what it leaves behind. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { probe } from '@casemate/namespaces';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attacks } from '../src/options.js';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const isRoot = process.getuid?.() === 0;
const userNamespace = (await probe()).namespaces.user.available;
let work: string;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'casemate-main-'));
  mkdirSync(join(work, 'tmp'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly last: string;
}

function run(...args: string[]): Run {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--state', join(work, 'state'), ...args], {
    cwd: work,
    encoding: 'utf8',
    env: { ...process.env, TMPDIR: join(work, 'tmp') },
    timeout: 120_000,
  });
  return { status, stdout, stderr, last: stdout.trimEnd().split('\n').at(-1) ?? '' };
}

/** What the machine holds that a container could leave behind: mounts, cgroups, processes and temporary files, a line each. */
function traces(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const find = ['/sys/fs/cgroup', '-type', 'd', '-path', '*casemate*edge*'];
  const cgroups = spawnSync('find', find, { encoding: 'utf8' }).stdout.split('\n');
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandLine(name).includes(work));
  return [...mounts, ...cgroups, ...processes, ...readdirSync(join(work, 'tmp'))];
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

const able = isRoot || userNamespace;
if (!able && process.env.MUST_RUN === '1') throw new Error('MUST_RUN: these tests need root or user namespaces');

describe.skipIf(!able)('the main job (needs root, or user namespaces for ordinary users)', () => {
  it('ends TRUSTED, runs the GuestOS confined, and writes a report with the chain', () => {
    const { status, stdout, last, stderr } = run();
    expect({ status, last, stderr }).toEqual({ status: 0, last: 'verdict: TRUSTED', stderr: '' });
    expect(stdout).toMatch(/hello from edge, pid 1, 0:0/);
    expect(stdout).toMatch(/CapEff:\s+0000000000000000/);
    expect(stdout).toMatch(/NoNewPrivs:\s+1/);
    expect(stdout).toMatch(/Seccomp:\s+2/);
    const report = readFileSync(join(work, 'report.html'), 'utf8');
    expect(report).toContain('<svg');
    expect(report).not.toMatch(/(src|href)="http/);
  });

  it('keeps the counter over two runs of the program', () => {
    const count = ({ stdout }: Run) => Number(/the counter is (\d+)/.exec(stdout)?.[1]);
    const first = count(run());
    expect(count(run())).toBe(first + 1);
  });

  it('has the same verdict as one JSON object a line', () => {
    const { stdout, status } = run('--json');
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ step }) => step).filter(Boolean)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(lines.at(-1)).toEqual({ verdict: 'TRUSTED', failed: [] });
    expect(status).toBe(0);
  });

  it('runs the command behind -- instead of init', () => {
    const { stdout, status } = run('--', '/bin/sh', '-c', 'id -u; cat /etc/os-release; exit 7');
    expect(stdout).toContain('| NAME="Casemate edge demo"');
    expect(stdout).toContain('exit 7');
    expect(status).toBe(0);
  });

  it.each(attacks)('catches --tamper %s, names it and says why', (attack) => {
    const { status, last, stdout } = run('--tamper', attack);
    expect(status).toBe(3);
    expect(last).toMatch(/^verdict: UNTRUSTED: /);
    const names = last
      .slice('verdict: UNTRUSTED: '.length)
      .split(', ')
      .map((part) => part.split(' (')[0]);
    expect(names).toContain(attack);
    expect(last).toMatch(new RegExp(`${attack} \\(.{10,}\\)`));
    const ranContainer = stdout.includes('hello from edge');
    expect(ranContainer).toBe(!['image', 'config', 'signature'].includes(attack));
  });

  it('is TRUSTED again after all attacks', () => {
    expect(run().last).toBe('verdict: TRUSTED');
  });

  it('refuses what it cannot do with a sentence and another exit status', () => {
    expect(run('--engine', 'kvm')).toMatchObject({ status: 2, stdout: '' });
    expect(run('--engine', 'kvm').stderr).toContain('is WebAssembly');
    expect(run('--tamper', 'nothing').stderr).toContain('expected one of image');
    expect(run('--tpm', 'swtpm:port=x').status).toBe(2);
    expect(run('--tpm', 'device:/dev/null-tpm').status).toBe(1);
    expect(run('--help')).toMatchObject({ status: 0, stderr: '' });
  });

  it('leaves nothing behind, killed at any moment or not, and its state opens again', async () => {
    const before = traces();
    for (let i = 0; i < 6; i++) {
      const child = spawn(process.execPath, [program, '--state', join(work, 'state')], {
        cwd: work,
        env: { ...process.env, TMPDIR: join(work, 'tmp') },
        stdio: 'ignore',
      });
      const ended = new Promise((resolve) => child.once('close', resolve));
      await pause(150 + Math.random() * 1500);
      child.kill('SIGKILL');
      await ended;
    }
    expect(run().last).toBe('verdict: TRUSTED');
    const left = () => traces().filter((trace) => !before.includes(trace));
    await expect.poll(left, { timeout: 10_000 }).toEqual([]);
    expect(readdirSync(join(work, 'state', 'guestos')).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it.skipIf(!existsSync('/usr/bin/swtpm') && process.env.MUST_RUN !== '1')(
    'gives the same verdict with swtpm, twice on one boot of it (needs swtpm)',
    async () => {
      await using server = await startSwtpm();
      const state = join(work, 'swtpm-state');
      for (const value of [1, 2]) {
        const { last, stdout } = run('--state', state, '--tpm', `swtpm:host=127.0.0.1,port=${server.port}`);
        expect(last).toBe('verdict: TRUSTED');
        expect(stdout).toContain(`the counter is ${value}`);
      }
    },
  );

  it.skipIf(!isRoot || !userNamespace)('works as an ordinary user (needs root to become one)', () => {
    const home = mkdtempSync(join(tmpdir(), 'casemate-user-'));
    try {
      execFileSync('chown', ['65534:65534', home]);
      const args = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, program];
      const { stdout, stderr } = spawnSync('setpriv', [...args, '--state', join(home, 'state')], {
        cwd: home,
        encoding: 'utf8',
        env: { PATH: process.env.PATH, HOME: home },
      });
      expect({ last: stdout.trimEnd().split('\n').at(-1), stderr }).toEqual({ last: 'verdict: TRUSTED', stderr: '' });
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
});

async function startSwtpm() {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-swtpm-'));
  const port = await freePort();
  const where = [
    '--tpmstate',
    `dir=${dir}`,
    '--server',
    `type=tcp,port=${port}`,
    '--ctrl',
    `type=tcp,port=${port + 1}`,
  ];
  const child = spawn('swtpm', ['socket', '--tpm2', ...where, '--flags', 'not-need-init,startup-clear'], {
    stdio: 'ignore',
  });
  await pause(500);
  const stop = async () => {
    child.kill();
    rmSync(dir, { recursive: true, force: true });
  };
  return { port, [Symbol.asyncDispose]: stop };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
