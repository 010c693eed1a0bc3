import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type MountSpec, NamespaceError, type SandboxSpec, startSandbox } from '../src/index.js';
import {
  cleanUp,
  makeRoot,
  obstacle,
  outcome,
  placeProgram,
  releaseLauncher,
  sanitizedLauncher,
  slowness,
  workspace,
} from './fixtures.js';
import { itNeeds } from './requirement.js';

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const swapper = buildSwapper();
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;

afterAll(cleanUp);

const ROUNDS = Math.ceil(60 / slowness); // of four starts
const MOUNTS = 3000 / slowness;

function buildSwapper(): string | undefined {
  const path = `${workspace}/swap`;
  return placeProgram('swap', path) ? path : undefined;
}

/** Everything that can be laid over a path of the root. */
function covers(target: string): readonly (readonly [string, Partial<SandboxSpec>])[] {
  const mount = (name: string, mounts: MountSpec): readonly [string, Partial<SandboxSpec>] => [
    name,
    { mounts: [mounts] },
  ];
  return [
    mount('bind', { type: 'bind', source: `${workspace}/outside`, target }),
    mount('bind', { type: 'bind', source: '/dev/null', target, devices: true }),
    mount('mount', { type: 'tmpfs', target }),
    mount('mount', { type: 'proc', target }),
    mount('file', { type: 'file', target, content: 'x' }),
    mount('overlay', { type: 'overlay', target, lower: [`${workspace}/outside`], changes: { type: 'memory' } }),
    ['mask', { maskedPaths: [target] }],
    ['read-only-path', { readOnlyPaths: [target] }],
  ];
}

async function failureOf(spec: SandboxSpec): Promise<unknown> {
  return startSandbox(spec).then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe.each(launchers)('%s', (_, launcher) => {
  const met = !hindrance && launcher !== undefined;
  const itRuns = itNeeds(met, hindrance ?? 'the compiler has no sanitizers');
  const itRaces = itNeeds(met && swapper !== undefined, hindrance ?? 'there is no C compiler');

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
    mkdirSync(`${workspace}/outside`, { recursive: true });
  });

  const parts = ['one', 'two', 'three', 'four'];
  const destinations = [
    '/',
    '..',
    '../../../../../../..',
    'PLACE',
    '/proc/self/root',
    '/proc/self/cwd',
    '/proc/self/fd/3',
    '/proc/1/root',
    'none',
  ];

  itRuns('nothing is laid over a path with a symbolic link in it, wherever that is and wherever it leads', async () => {
    const image = makeRoot(`linked-${Math.random()}`);
    const outside = `${workspace}/outside`;
    for (const [depth, destination] of parts.flatMap((_part, i) => destinations.map((d) => [i, d] as const))) {
      rmSync(`${image}/one`, { recursive: true, force: true });
      const above = parts.slice(0, depth).join('/');
      mkdirSync(`${image}/${above}`, { recursive: true });
      symlinkSync(destination === 'PLACE' ? outside : destination, `${image}/${above}/${parts[depth]}`);
      const [name, part] = covers(`/${parts.join('/')}`)[
        (depth * destinations.length + destinations.indexOf(destination)) % 8
      ] ?? ['', {}];
      const spec: SandboxSpec = {
        root: { type: 'bind', source: image, readOnly: false },
        command: ['/bin/true'],
        ...part,
      };
      expect(await failureOf(spec), `${name} over ${above} -> ${destination}`).toMatchObject({
        errno: 'ELOOP',
        operation: { name },
      });
    }
    expect(readdirSync(outside)).toEqual([]);
  });

  itRuns('each of them is refused by each kind of cover', async () => {
    const image = makeRoot(`each-${Math.random()}`);
    const outside = `${workspace}/outside`;
    mkdirSync(`${image}/a`);
    symlinkSync(outside, `${image}/a/b`);
    symlinkSync('/etc/greeting', `${image}/a/last`);
    for (const target of ['/a/b/c', '/a/b', '/a/last'])
      for (const [name, part] of covers(target)) {
        const spec: SandboxSpec = {
          root: { type: 'bind', source: image, readOnly: false },
          command: ['/bin/true'],
          ...part,
        };
        expect(await failureOf(spec), `${name} ${target}`).toMatchObject({
          errno: expect.stringMatching(/ELOOP/),
          operation: { name },
        });
      }
    expect(readdirSync(outside)).toEqual([]);
  });

  itRaces('nor while somebody swaps a directory for a link as fast as can be', async () => {
    const image = makeRoot(`raced-${Math.random()}`);
    const outside = `${workspace}/outside-${Math.random()}`;
    mkdirSync(`${outside}/deep`, { recursive: true });
    mkdirSync(`${image}/swap/deep`, { recursive: true });
    symlinkSync(outside, `${image}/link`);
    const mounts = Array.from(
      { length: 40 },
      (_m, i): MountSpec => ({ type: 'tmpfs', target: `/swap/deep/m${i}`, size: 4096 }),
    );
    const spec: SandboxSpec = {
      root: { type: 'bind', source: image, readOnly: false },
      systemMounts: false,
      mounts: [...mounts, { type: 'proc', target: '/proc' }],
      maskedPaths: ['/swap/deep/m0'],
      command: ['/bin/sh', '-c', 'grep -c " tmpfs " /proc/self/mountinfo'],
    };
    const tally = { mounts: 0, started: 0, refused: new Map<string, number>() };
    const attempt = async (): Promise<void> => {
      try {
        const { stdout } = await outcome(await startSandbox(spec));
        expect(stdout).toBe('41\n');
        tally.started++;
        tally.mounts += 42;
      } catch (error) {
        if (!(error instanceof NamespaceError) || !error.operation) throw error;
        tally.mounts += Math.max(1, error.operation.index - 6);
        const what = `${error.errno}`;
        tally.refused.set(what, (tally.refused.get(what) ?? 0) + 1);
      }
    };
    const naive = await racing(image, async () => {
      for (let i = 0; i < ROUNDS || (tally.mounts < MOUNTS && i < 1500); i++)
        await Promise.all([attempt(), attempt(), attempt(), attempt()]);
      // The race is real: who follows paths as they come ends up outside.
      for (let i = 0; i < 20_000 && readdirSync(`${outside}/deep`).length === 0; i++)
        tryTo(() => writeFileSync(`${image}/swap/deep/naive`, ''));
      return readdirSync(`${outside}/deep`);
    });
    expect(naive).toEqual(['naive']);
    expect(tally.mounts).toBeGreaterThanOrEqual(MOUNTS);
    expect(
      [...tally.refused.keys()].filter((errno) => !/^(ELOOP|ESTALE)$/.test(errno)),
      JSON.stringify([...tally.refused]),
    ).toEqual([]);
    expect(tally.refused.get('ELOOP') ?? 0).toBeGreaterThan(0);
    console.log(
      `${tally.mounts} mounts: ${tally.started} sandboxes started, refused ${JSON.stringify([...tally.refused])}`,
    );
  });

  itRaces('a mount whose place is moved away meanwhile is noticed', async () => {
    const image = makeRoot(`moved-${Math.random()}`);
    for (const twin of ['swap', 'link']) mkdirSync(`${image}/${twin}/deep`, { recursive: true });
    const spec: SandboxSpec = {
      root: { type: 'bind', source: image, readOnly: false },
      systemMounts: false,
      mounts: Array.from(
        { length: 40 },
        (_m, i): MountSpec => ({ type: 'tmpfs', target: `/swap/deep/m${i}`, size: 4096 }),
      ),
      command: ['/bin/true'],
    };
    const refused = new Map<unknown, number>();
    await racing(image, async () => {
      for (let i = 0; i < 100 && !(refused.has('ESTALE') && i > 20); i++) {
        const failures = await Promise.all(Array.from({ length: 4 }, () => failureOf(spec)));
        for (const failure of failures) {
          const errno = failure instanceof NamespaceError ? failure.errno : failure;
          refused.set(errno, (refused.get(errno) ?? 0) + 1);
        }
      }
    });
    expect([...refused.keys()].filter((errno) => !/^(ESTALE|ENOENT|undefined)$/.test(String(errno)))).toEqual([]);
    expect(refused.get('ESTALE') ?? 0).toBeGreaterThan(0);
  });

  itRaces('nor does a subpath lead out of its source while it is swapped for a link', async () => {
    const image = makeRoot(`sub-${Math.random()}`);
    const source = `${workspace}/volumes-${Math.random()}`;
    const secret = `${workspace}/secret-${Math.random()}`;
    mkdirSync(`${source}/swap/deep`, { recursive: true });
    mkdirSync(`${secret}/deep`, { recursive: true });
    writeFileSync(`${secret}/deep/f`, 'secret\n');
    writeFileSync(`${source}/swap/deep/f`, 'mine\n');
    symlinkSync(secret, `${source}/link`);
    const spec: SandboxSpec = {
      root: { type: 'bind', source: image },
      systemMounts: false,
      mounts: [{ type: 'bind', source, subpath: 'swap/deep', target: '/data' }],
      command: ['/bin/cat', '/data/f'],
    };
    const seen = new Map<string, number>();
    await racing(source, async () => {
      for (let i = 0; i < ROUNDS || (seen.size < 2 && i < 60); i++) {
        const outcomes = await Promise.all(
          Array.from({ length: 4 }, () =>
            startSandbox(spec).then(
              async (s) => (await outcome(s)).stdout,
              (error) => String(error.errno),
            ),
          ),
        );
        for (const result of outcomes) seen.set(result, (seen.get(result) ?? 0) + 1);
      }
    });
    expect([...seen.keys()].sort()).toEqual(['ELOOP', 'mine\n']);
  });
});

async function racing<T>(directory: string, body: () => Promise<T>): Promise<T> {
  const race: ChildProcess = spawn(swapper ?? '', [directory, 'swap', 'link'], { stdio: 'ignore' });
  try {
    return await body();
  } finally {
    const ended = new Promise((resolve) => race.once('exit', resolve));
    race.kill('SIGKILL');
    await ended;
  }
}

function tryTo(action: () => void): void {
  try {
    action();
  } catch {
    // the moment was wrong
  }
}
