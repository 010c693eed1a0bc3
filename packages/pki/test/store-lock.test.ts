import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const work = mkdtempSync(join(tmpdir(), 'casemate-lock-'));
const store = mkdtempSync(join(work, 'store-'));
const lock = join(store, 'lock');
/** As many operations as it takes to take a lock that nobody else wants. */
const ENOUGH = 14;

interface Taker {
  readonly process: ChildProcess;
  /** `free`, `held`, a code that the lock was refused with, or the file operation that it is stopped before. */
  place: string;
}

let takers: readonly Taker[] = [];

beforeAll(async () => {
  const program = join(work, 'child.mjs');
  const paused = join(import.meta.dirname, 'paused-files.ts');
  await build({
    entryPoints: [join(import.meta.dirname, 'lock-child.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile: program,
    logLevel: 'error',
    plugins: [
      {
        name: 'paused files',
        setup: ({ onResolve }) =>
          onResolve({ filter: /^node:fs\/promises$/ }, ({ importer }) =>
            importer === paused ? { external: true } : { path: paused },
          ),
      },
    ],
  });
  takers = await Promise.all([1, 2, 3].map(() => startTaker(program)));
});
afterAll(async () => {
  await Promise.all(takers.map(end));
  rmSync(work, { recursive: true, force: true });
});

async function startTaker(program: string): Promise<Taker> {
  const child = fork(program, [lock]);
  return { process: child, place: String((await once(child, 'message'))[0]) };
}

async function end({ process: child }: Taker): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Lets a taker go on to its next stop. */
async function step(taker: Taker): Promise<void> {
  const stopped = once(taker.process, 'message');
  taker.process.send('go on');
  taker.place = String((await stopped)[0]);
}

function isDone({ place }: Taker): boolean {
  return place === 'held' || place === 'locked';
}

/** At most `steps` of a taker, until it has the lock or was refused; no two may ever have it. */
async function run(taker: Taker, steps: number): Promise<void> {
  for (let i = 0; i < steps && !isDone(taker); i++) {
    await step(taker);
    expect(takers.filter(({ place }) => place === 'held').length).toBeLessThan(2);
  }
}

async function finish(): Promise<void> {
  for (let i = 0; i < 50 && !takers.every(isDone); i++) for (const taker of takers) await run(taker, ENOUGH);
  expect(takers.map(({ place }) => place).sort()).toEqual(['held', 'locked', 'locked']);
  for (const taker of takers) while (taker.place !== 'free') await step(taker);
  expect(readdirSync(store)).toEqual([]);
}

describe('the lock of a process that was killed', () => {
  it('is taken over by one of three, at whatever moments the first is stopped and the others run', async () => {
    const [first, second, third] = takers;
    if (!first || !second || !third) throw new Error('expected three takers');
    let stops = 0;
    for (let isOver = false; !isOver; stops++) {
      for (let late = 0; late < 4; late++) {
        writeFileSync(lock, '1 of-an-earlier-boot:1\n');
        await run(first, stops);
        isOver = isDone(first);
        await run(second, ENOUGH);
        await run(first, late);
        await run(third, ENOUGH);
        await finish();
      }
    }
    expect(stops).toBeGreaterThan(6);
  });
});
