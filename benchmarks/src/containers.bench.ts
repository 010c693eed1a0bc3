/** `@casemate/namespaces` beside bubblewrap: from spawn to exit of a static `true`, with the same isolation, each started from Node. */
import { spawn } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileSeccomp, defaultSeccompProfile, startSandbox } from '@casemate/namespaces';
import { compare, flags } from './turns.js';

const rounds = flags.quick ? 10 : 60;
const work = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
const root = join(work, 'root');
const filter = join(work, 'filter.bpf');

try {
  makeRoot();
  writeFileSync(filter, compileSeccomp(defaultSeccompProfile()));
  await compare({
    area: 'containers',
    name: 'start and end of a static true (8 namespaces, id map, /proc, /dev, no capabilities, seccomp)',
    unit: 'ms',
    better: 'lower',
    rounds,
    ours: () => timed(ours),
    theirs: { bubblewrap: () => timed(bubblewrap) },
  });
} finally {
  rmSync(work, { recursive: true, force: true });
}

function makeRoot(): void {
  for (const dir of ['bin', 'dev', 'proc', 'sys', 'tmp']) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
  symlinkSync('busybox', join(root, 'bin', 'true'));
}

async function ours(): Promise<number | null> {
  const stdio = { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' } as const;
  const sandbox = await startSandbox({ command: ['/bin/true'], root: { type: 'bind', source: root } }, { stdio });
  return (await sandbox.wait()).code;
}

/** bubblewrap has no time namespace; the rest of the isolation is the same. */
function bubblewrap(): Promise<number | null> {
  const fd = openSync(filter, 'r');
  const isolation = ['--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--clearenv'];
  const mounts = ['--ro-bind', root, '/', '--proc', '/proc', '--dev', '/dev', '--ro-bind', '/sys', '/sys'];
  const args = [...isolation, ...mounts, '--seccomp', '3', '/bin/true'];
  const child = spawn('bwrap', args, { stdio: ['ignore', 'ignore', 'inherit', fd] });
  closeSync(fd);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

async function timed(start: () => Promise<number | null>): Promise<number> {
  const begin = performance.now();
  const code = await start();
  if (code !== 0) throw new Error(`the sandboxed program ended with ${code}`);
  return performance.now() - begin;
}
