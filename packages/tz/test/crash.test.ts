/** An application that is killed with open sessions, lent memory and a call under way leaves nothing behind; the next one starts clean. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { directoryStore, openTrustvisor } from '@casemate/trustvisor';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDevice } from '../src/index.js';
import { buildCProbe, buildPal, PROBE } from './probe-service.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const trustvisorSource = join(root, 'packages/trustvisor/src/index.ts');
const built = existsSync(join(root, 'packages/trustvisor/dist/isolate.js'));

function kvmProblem(): string {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return built ? '' : 'the isolate is not built';
  } catch {
    return '/dev/kvm is not there or may not be used';
  }
}

/** The process ids of `pid` and its descendants. */
function family(pid: number): number[] {
  const numbers = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const parents = new Map(numbers.map((name) => [Number(name), parentOf(name)]));
  const found = [pid];
  for (const parent of found) found.push(...[...parents.keys()].filter((each) => parents.get(each) === parent));
  return found;
}

function parentOf(pid: string): number | undefined {
  try {
    const [, fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /);
    return Number(fields?.split(' ')[1]);
  } catch {
    return undefined;
  }
}

function isGone(pid: number): boolean {
  try {
    const [, state] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /);
    return state?.startsWith('Z') ?? true;
  } catch {
    return true;
  }
}

async function goneWithin(pids: readonly number[], milliseconds: number): Promise<readonly number[]> {
  const end = performance.now() + milliseconds;
  while (performance.now() < end && !pids.every(isGone)) await new Promise((resolve) => setTimeout(resolve, 20));
  return pids.filter((pid) => !isGone(pid));
}

describe.each([
  { engine: 'wasm', problem: built ? '' : 'the isolate is not built' },
  { engine: 'kvm', problem: kvmProblem() },
] as const)('an application with services on $engine', ({ engine, problem }) => {
  let place: string;
  beforeAll(async () => {
    if (problem !== '') return;
    // Beside the trustvisor's own sources, where it finds its isolate by the same path as they do.
    place = mkdtempSync(join(tmpdir(), 'casemate-tz-crash-'));
    writeFileSync(join(place, 'image'), engine === 'kvm' ? buildCProbe() : await buildPal('probe.pal.ts'));
    await build({
      entryPoints: [fileURLToPath(new URL('application-child.ts', import.meta.url))],
      outfile: join(place, 'application.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      tsconfig: join(root, 'tsconfig.base.json'),
      banner: { js: "import { createRequire as r } from 'node:module'; const require = r('file:///');" },
      define: { 'import.meta.url': JSON.stringify(`file://${trustvisorSource}`) },
      logLevel: 'error',
    });
  }, 120_000);
  afterAll(() => {
    if (place) rmSync(place, { recursive: true, force: true });
  });

  it.skipIf(problem !== '' && process.env.MUST_RUN !== '1')(
    `that is killed leaves no process and no memory${problem && ` (${problem})`}`,
    async () => {
      const store = join(place, 'store');
      const child = spawn(process.execPath, [join(place, 'application.mjs'), engine, join(place, 'image'), store], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const pid = child.pid;
      if (pid === undefined) throw new Error('expected a process');
      try {
        const [said] = (await Promise.race([
          once(child.stdout, 'data'),
          once(child, 'exit').then(() => Promise.reject(new Error('the application ended by itself'))),
        ])) as [Buffer];
        const running = family(pid);
        expect(running).toContain(Number(said.toString()));
        expect(running.length).toBeGreaterThanOrEqual(engine === 'kvm' ? 3 : 2);
        child.kill('SIGKILL');
        await once(child, 'exit');
        expect(await goneWithin(running, 30_000)).toEqual([]);
        await startsClean(engine, readFileSync(join(place, 'image')), store);
      } finally {
        child.kill('SIGKILL');
      }
    },
    180_000,
  );
});

async function startsClean(engine: 'wasm' | 'kvm', image: Uint8Array, store: string): Promise<void> {
  await using trustvisor = await openTrustvisor({ store: directoryStore(store), engine, insecureAllowEphemeral: true });
  await using device = await openDevice({ trustvisor });
  await using manager = await device.openManager();
  expect(await manager.getServiceList()).toEqual([]);
  await using session = await device.openSession(await manager.downloadService(new Uint8Array(image)));
  expect(await session.invoke(PROBE.ECHO, [1])).toEqual([1]);
  using memory = await session.allocateSharedMemory(1 << 20, 3);
  expect(memory.read().some((byte) => byte !== 0)).toBe(false);
}
