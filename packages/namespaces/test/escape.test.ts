/** The escape corpus: every attempt succeeds without the protection that stops it, so that it is known to bite, and is refused with it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCaller } from '../src/caller.js';
import { planSandbox, type SandboxSpec } from '../src/index.js';
import { ATTEMPTS } from './escape/attempts.js';
import {
  buildAttempts,
  leakyLauncher,
  nameOf,
  Outside,
  perform,
  type Result,
  runAttempt,
  weakLauncher,
} from './escape/harness.js';
import { cleanUp, makeRoot, obstacle, releaseLauncher } from './fixtures.js';
import { itNeeds } from './requirement.js';

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const isRoot = process.geteuid?.() === 0;
const hindrance = isRoot ? await obstacle() : 'only root can take every protection away';
const program = hindrance ? undefined : buildAttempts();
const itRuns = itNeeds(program !== undefined, hindrance ?? 'no C compiler is there to build the attempts');
let outside: Outside;

beforeAll(async () => {
  if (program !== undefined) outside = await Outside.make(makeRoot('image'), program);
});

afterAll(async () => {
  await outside?.end();
  cleanUp();
});

/** What no kernel without it can be asked: such attempts do not count. */
const ABSENT = ['ENOSYS', 'ENODEV', 'EAFNOSUPPORT'];

describe('an attempt to', () => {
  for (const attempt of ATTEMPTS) {
    const needs = attempt.needs;
    const itTries =
      needs === undefined || existsSync(needs)
        ? itRuns
        : (name: string) => it.skip(`${name} (skipped: there is no ${needs})`, () => undefined);
    itTries(`${attempt.title} is refused, and succeeds without what refuses it`, async () => {
      const free = await runAttempt(outside, attempt, attempt.without);
      const bound = await runAttempt(outside, attempt, {});
      if (ABSENT.includes(free)) {
        expect(bound).not.toBe('success');
        return;
      }
      counted++;
      expect(free, 'without the protection').toBe('success');
      expect(attempt.refused, 'with the protection').toContain(bound);
    });
  }

  itRuns('break out was made at least sixty times', () => {
    expect(counted).toBeGreaterThanOrEqual(60);
  });
});

let counted = 0;

describe('an image that lies', () => {
  const open = (): string => `${outside.world.outside}/open`;

  /** Starts a sandbox whose image leads the launcher outside, if it can be led; what it made there is the proof. */
  async function start(mounts: SandboxSpec['mounts'], root: SandboxSpec['root'], launcher?: string): Promise<Result> {
    const spec: SandboxSpec = {
      command: ['/bin/attempts', 'who-am-i'],
      ...(root && { root }),
      ...(mounts && { mounts }),
    };
    return perform(planSandbox(spec, await readCaller()).operations, undefined, launcher);
  }

  function image(name: string, link: string): SandboxSpec['root'] {
    const lower = `${outside.world.outside}/${name}`;
    cpSync(outside.world.image, lower, { recursive: true, verbatimSymlinks: true });
    rmSync(`${lower}/data`, { recursive: true });
    symlinkSync(link, `${lower}/data`);
    rmSync(open(), { recursive: true, force: true });
    mkdirSync(open());
    chmodSync(open(), 0o777);
    return { type: 'overlay', lower: [lower], changes: { type: 'memory' } };
  }

  const sourceDirectory = (): string => `${outside.world.outside}/shared`;
  const sourceFile = (): string => `${outside.world.outside}/secret`;
  const LIES: readonly (readonly [string, () => string, () => SandboxSpec['mounts']])[] = [
    [
      'a directory on the way to a bind mount',
      open,
      () => [{ type: 'bind', source: sourceDirectory(), target: '/data/made' }],
    ],
    ['a directory on the way to a tmpfs', open, () => [{ type: 'tmpfs', target: '/data/made' }]],
    [
      'the file that a file is bound over',
      () => `${open()}/made`,
      () => [{ type: 'bind', source: sourceFile(), target: '/data' }],
    ],
  ];

  for (const [index, [title, link, mounts]] of LIES.entries()) {
    itRuns(`by a symbolic link for ${title} does not lead a mount outside`, async () => {
      const root = image(`lie-${index}`, link());
      expect(await start(mounts(), root)).toMatch(/ELOOP/);
      expect(readdirSync(open())).toEqual([]);
      await start(mounts(), root, weakLauncher('symlinks'));
      expect(readdirSync(open()), 'with a launcher that follows links').toEqual(['made']);
    });
  }

  itRuns('by putting a link where a directory was just seen does not lead a mount outside', async () => {
    image('race', open());
    const race = `${outside.world.outside}/race`;
    mkdirSync(`${race}/other`);
    const root = { type: 'bind', source: race, readOnly: false } as const;
    const mounts = [{ type: 'bind', source: sourceDirectory(), target: '/data/made' }] as const;
    const attack = async (times: number, launcher?: string): Promise<void> => {
      const swapper = spawn(outside.world.program, ['swap-names', `${race}/data`, `${race}/other`, '100000000'], {
        stdio: 'ignore',
      });
      const end = once(swapper, 'exit');
      for (let i = 0; i < times && readdirSync(open()).length === 0; i++) await start(mounts, root, launcher);
      swapper.kill('SIGKILL');
      await end;
    };
    await attack(60);
    expect(readdirSync(open())).toEqual([]);
    await attack(200, weakLauncher('symlinks'));
    expect(readdirSync(open()), 'with a launcher that follows links').toEqual(['made']);
  });
});

describe('the launcher', () => {
  const root = (): SandboxSpec['root'] => ({
    type: 'overlay',
    lower: [outside.world.image],
    changes: { type: 'memory' },
  });

  itRuns('hands on no descriptor of the outside, even one that it was left with itself', async () => {
    const spec = { root: root(), command: ['/bin/attempts', 'descriptor-left-open'] } as SandboxSpec;
    const { operations } = planSandbox(spec, await readCaller());
    const leaky = (launcher = ''): string => leakyLauncher(launcher, `${outside.world.outside}/secret`);
    expect(await perform(operations, undefined, leaky(process.env.CASEMATE_LAUNCHER))).toBe('EBADF');
    expect(await perform(operations, undefined, leaky(weakLauncher('descriptors')))).toBe('success');
  });

  itRuns('cannot be overwritten through the process that waits inside', async () => {
    const spec = { root: root(), init: true, command: ['/bin/attempts', 'overwrite-program', '1'] } as SandboxSpec;
    expect(await perform(planSandbox(spec, await readCaller()).operations)).toMatch(/^E(ACCES|PERM)$/);
    // The same attempt on a program that protects itself in no way, once that has ended.
    const copy = `${outside.world.outside}/overwritten`;
    copyFileSync(outside.world.program, copy);
    const runs = spawn(copy, ['sleep'], { stdio: 'ignore' });
    await once(runs, 'spawn');
    const attack = spawn(outside.world.program, ['overwrite-program', String(runs.pid)], { stdio: 'ignore' });
    const end = once(attack, 'exit');
    setTimeout(() => runs.kill('SIGKILL'), 200);
    const [code] = await end;
    expect(nameOf(false, Number(code))).toBe('success');
  });
});
