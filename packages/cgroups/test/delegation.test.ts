/** A v2 subtree that was handed to an ordinary user, as `Delegate=yes` of systemd does it: cgroup-v2.rst "Delegation". */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { readHierarchies } from '../src/index.js';
import { itElsewhere } from './requirement.js';

const NOBODY = 65_534;
const isRoot = process.geteuid?.() === 0;
const v2 = (await readHierarchies()).find((h) => h.version === 2);
// Any controller will do; hybrid machines often leave one to v2.
const controller = ['pids', 'hugetlb'].find((c) => v2?.controllers.includes(c));
const limits = controller === 'pids' ? { pidsMax: 20 } : { hugetlbMax: { '2MB': 0 } };
const itDelegates = itElsewhere(
  isRoot && controller !== undefined,
  'it needs root, and a v2 hierarchy with a controller',
);

let temporary = '';
let program = '';
const scope = `${v2?.mountpoint}/casemate-user.slice`;

beforeAll(async () => {
  if (!isRoot || controller === undefined) return;
  temporary = mkdtempSync(`${tmpdir()}/casemate-delegation-`);
  program = `${temporary}/program.mjs`;
  chmodSync(temporary, 0o755);
  await build({
    stdin: { resolveDir: import.meta.dirname, contents: PROGRAM },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile: program,
    logLevel: 'error',
  });
});

afterAll(() => {
  if (temporary !== '') rmSync(temporary, { recursive: true });
});

const PROGRAM = `import { createCgroup, listCgroups } from '../src/index.js';
import { readFileSync } from 'node:fs';
const [options] = JSON.parse(process.argv[2]);
const where = () => /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))[1];
try {
  const cgroup = await createCgroup(options);
  const again = await createCgroup(options);
  const listed = (await listCgroups()).map((e) => e.name);
  const { path } = cgroup.directories[0];
  await cgroup.add(process.pid);
  const inside = where();
  await again.destroy();
  console.log(JSON.stringify({ path, inside, isListed: listed.includes(cgroup.name) && listed.length === 2, controllers: cgroup.directories[0].controllers }));
} catch ({ code, message, remedy }) {
  console.log(JSON.stringify({ code, message, remedy, where: where() }));
}`;

/** Runs the program as an ordinary user whose own cgroup is delegated to it, and tells what it printed. */
function asUser(name: string, options: unknown): Record<string, unknown> {
  const own = `${scope}/${name}.scope`;
  mkdirSync(own, { recursive: true });
  for (const path of [v2?.mountpoint, scope]) writeFileSync(`${path}/cgroup.subtree_control`, `+${controller}`);
  for (const file of ['', '/cgroup.procs', '/cgroup.subtree_control', '/cgroup.threads'])
    chownSync(own + file, NOBODY, NOBODY);
  const enter = `echo $$ > ${own}/cgroup.procs && exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups "$@"`;
  try {
    const argv = ['-c', enter, 'sh', process.execPath, program, JSON.stringify([options])];
    return JSON.parse(execFileSync('/bin/sh', argv, { encoding: 'utf8' }));
  } finally {
    execFileSync('find', [scope, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
  }
}

describe('an ordinary user with a delegated subtree', () => {
  itDelegates('is told that its own processes are in the way, and they stay where they are', () => {
    const result = asUser('stay', { limits });
    expect(result).toMatchObject({ code: 'internal-processes', where: expect.stringMatching(/stay\.scope$/) });
    expect(result.remedy).toMatch(/moveProgram/);
  });

  itDelegates('gets limits once it lets them be moved into a leaf', () => {
    const result = asUser('move', { limits, moveProgram: true });
    expect(result.path).toMatch(/casemate-user\.slice\/move\.scope\/casemate\//);
    expect(result.inside).toMatch(/move\.scope\/casemate\/sandbox\./);
    expect(result.isListed).toBe(true);
    expect(result.controllers).toEqual([controller]);
  });

  itDelegates('gets a cgroup without limits, to freeze and to kill, without being moved', () => {
    expect(asUser('plain', {}).inside).toMatch(/plain\.scope\/casemate\/sandbox\./);
  });

  itDelegates('leaves nothing, and nothing outside the subtree has changed', () => {
    expect(existsSync(scope)).toBe(false);
    expect(readFileSync('/proc/self/cgroup', 'utf8')).not.toMatch(/casemate-user/);
  });
});
