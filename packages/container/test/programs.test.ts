import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { destroyOrphanCgroups } from '@casemate/cgroups';
import { build } from 'esbuild';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { removeTree } from '../src/remove-tree.js';
import { makeGuestOs, makeSigning, type Signing, workDirectory } from './fixture.js';
import { type Swtpm, startSwtpm, swtpmIsThere } from './tpm.js';

const launcher = new URL('../../namespaces/dist/bin/linux-x64/casemate-launcher', import.meta.url).pathname;
const reason = !existsSync(launcher)
  ? 'the launcher is not built'
  : !swtpmIsThere
    ? 'swtpm is missing: apt-get install swtpm'
    : process.getuid?.() !== 0
      ? 'needs root, to become an ordinary user'
      : undefined;
const NOBODY_ELSE = 54_321;

interface Report {
  readonly running?: number;
  readonly exit?: { readonly code: number | null };
  readonly text?: string;
  readonly records?: readonly { readonly event: string; readonly [member: string]: unknown }[];
  readonly refused?: { readonly code: string; readonly message: string; readonly remedy: string };
}

describe.skipIf(reason !== undefined && process.env.MUST_RUN !== '1')(
  `a program that starts a container${reason ? ` (${reason})` : ''}`,
  () => {
    let work: string;
    let signing: Signing;
    let swtpm: Swtpm;
    let children: ChildProcess[];
    beforeAll(async () => {
      signing = await makeSigning();
    });
    beforeEach(async () => {
      children = [];
      work = workDirectory();
      swtpm = await startSwtpm();
      await bundle(work);
      writeFileSync(join(work, 'anchor.der'), signing.authority.root);
    });
    afterEach(async () => {
      for (const child of children) child.kill('SIGKILL');
      await swtpm.stop();
      await removeTree(work);
    });

    const start = (options: { readonly uid?: number; readonly insecure?: boolean }) => {
      const { uid, insecure } = options;
      const args = [join(work, 'run.mjs'), join(work, 'store'), join(work, 'anchor.der'), String(swtpm.port)];
      const ids = uid === undefined ? {} : { uid, gid: uid };
      const child = spawn(process.execPath, insecure ? [...args, 'insecure'] : args, {
        ...ids,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      children.push(child);
      return child;
    };
    const hidden = () => readdirSync(join(work, 'store')).filter((name) => name.startsWith('.'));

    it('as an ordinary user refuses limits that it cannot enforce, and runs without them only when told so, on the record', async () => {
      // A directory that its owner cannot write to must go away, too.
      mkdirSync(join(work, 'rootfs/closed/deep'), { recursive: true });
      writeFileSync(join(work, 'rootfs/closed/deep/file'), '');
      for (const path of ['closed/deep', 'closed']) chmodSync(join(work, 'rootfs', path), 0o555);
      await makeGuestOs(work, signing, 'id -u; echo $$; hostname; touch /x && ls /x; grep -c . /proc/self/uid_map', {
        name: 'program',
        owners: 'root',
      });
      for (const path of ['store', ...readdirSync(join(work, 'store')).map((name) => `store/${name}`)]) {
        chownSync(join(work, path), NOBODY_ELSE, NOBODY_ELSE);
      }
      const [refusal] = await reports(start({ uid: NOBODY_ELSE }));
      expect(refusal?.refused).toMatchObject({ code: 'limits', remedy: expect.stringMatching(/./) });
      expect(hidden()).toEqual([]);
      const [running, ended] = await reports(start({ uid: NOBODY_ELSE, insecure: true }));
      expect(running?.running).toBeGreaterThan(1);
      expect(ended).toMatchObject({ exit: { code: 0 }, text: '0\n1\nprogram\n/x\n1\n' });
      const missing = ended?.records
        ?.filter(({ event }) => event === 'insecure-missing-limit')
        .map(({ limit }) => limit);
      expect(missing?.sort()).toEqual(['cpuMax', 'memoryMax', 'pidsMax']);
      expect(ended?.records).toContainEqual(expect.objectContaining({ event: 'unpacked', keptOwners: false }));
      expect(hidden()).toEqual([]);
    });

    it('and is killed takes the container with it; the next start removes what it left', async () => {
      await makeGuestOs(work, signing, 'sleep 300', { name: 'program' });
      for (let round = 0; round < 3; round++) {
        const child = start({});
        const running = await firstReport(child);
        const pid = running.running ?? 0;
        expect(isAlive(pid)).toBe(true);
        expect(hidden()).toHaveLength(1);
        expect(cgroups()).toHaveLength(1);
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await gone;
        await until(() => !isAlive(pid));
        expect(hidden()).toHaveLength(1);
      }
      expect(hidden()).toHaveLength(1);
      const last = start({});
      await firstReport(last);
      expect(hidden()).toHaveLength(1);
      last.kill('SIGKILL');
      await until(() => last.exitCode !== null || last.signalCode !== null);
      await destroyOrphanCgroups();
      expect(cgroups()).toEqual([]);
    });
  },
);

/** One file with everything in it, and beside it the launcher, where a bundled program looks for it. */
async function bundle(directory: string): Promise<void> {
  const base = new URL('../../', import.meta.url).pathname;
  const sources = (name: string, entry = 'index') => join(base, name, 'src', `${entry}.ts`);
  const alias = {
    '@casemate/tpm/swtpm': sources('tpm', 'swtpm'),
    '@casemate/cgroups/owner': sources('cgroups', 'owner'),
    ...Object.fromEntries(
      ['wire', 'tpm', 'firmware', 'cgroups', 'namespaces', 'pki', 'attestation'].map((name) => [
        `@casemate/${name}`,
        sources(name),
      ]),
    ),
  };
  const banner = {
    js: 'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);',
  };
  const entryPoints = [new URL('programs/run.ts', import.meta.url).pathname];
  const outfile = join(directory, 'run.mjs');
  await build({
    entryPoints,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    alias,
    banner,
    logLevel: 'error',
  });
  writeFileSync(
    join(directory, 'package.json'),
    JSON.stringify({ type: 'module', imports: { '#launcher/*': './launcher' } }),
  );
  copyFileSync(launcher, join(directory, 'launcher'));
  chmodSync(join(directory, 'launcher'), 0o755);
  mkdirSync(join(directory, 'store'), { recursive: true });
}

async function reports(child: ChildProcess): Promise<readonly Report[]> {
  let text = '';
  for await (const chunk of child.stdout ?? []) text += chunk;
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

async function firstReport(child: ChildProcess): Promise<Report> {
  return new Promise((resolve) =>
    child.stdout?.once('data', (chunk) => resolve(JSON.parse(String(chunk).split('\n')[0] ?? ''))),
  );
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(condition()).toBe(true);
}

function cgroups(): readonly string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line));
  const homes = points.map((line) => join(line.split(' ')[4] ?? '', 'casemate')).filter((home) => existsSync(home));
  return [...new Set(homes.flatMap((home) => readdirSync(home).filter((name) => name.startsWith('program.'))))];
}
