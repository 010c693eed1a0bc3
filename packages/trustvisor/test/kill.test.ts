/** The application and the isolate killed at random moments, as processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { counter } from './pals.js';

// Inside dist, so that the program finds the isolate as the library does.
const PROGRAM_DIRECTORY = fileURLToPath(new URL('../dist/.test/', import.meta.url));
const PROGRAM = join(PROGRAM_DIRECTORY, 'counting.mjs');
const SOURCE = `
import { readFileSync } from 'node:fs';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';
import { directoryStore, openTrustvisor } from '@casemate/trustvisor';
const [directory, image] = process.argv.slice(2);
const tpm = await openUtpm({ state: await directoryState(directory + '/tpm'), startup: true });
const trustvisor = await openTrustvisor({ tpm, store: directoryStore(directory + '/store') });
console.log('isolate', trustvisor.pid);
const pal = await trustvisor.register(readFileSync(image));
const { lastRequest } = pal;
console.log('start', Number(lastRequest?.sequence ?? 0n), lastRequest ? lastRequest.output.join(',') : '');
for (;;) {
  const { output } = await pal.invoke(0, Uint8Array.of(1));
  console.log('value', Number(new DataView(output.buffer, output.byteOffset).getBigUint64(0, true)));
}
`;

describe('a program that counts in a replay-protected PAL', () => {
  let directory: string;
  const image = () => join(directory, 'counter.pal');

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'trustvisor-kill-'));
    await mkdir(PROGRAM_DIRECTORY, { recursive: true });
    await writeFile(image(), counter());
    await build({
      stdin: { contents: SOURCE, resolveDir: fileURLToPath(new URL('..', import.meta.url)), loader: 'ts' },
      tsconfig: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
      outfile: PROGRAM,
      bundle: true,
      format: 'esm',
      platform: 'node',
      logLevel: 'silent',
    });
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
    await rm(PROGRAM_DIRECTORY, { recursive: true, force: true });
  });

  /** Runs until it is killed, `delay` milliseconds after it gave `count` values; gives what it said. */
  async function run(
    kill: (program: ChildProcess, isolate: number) => void,
    count: number,
    delay: number,
  ): Promise<Said> {
    const program = spawn(process.execPath, [PROGRAM, directory, image()], { stdio: ['ignore', 'pipe', 'pipe'] });
    const said: { isolate: number; start: number; values: number[] } = { isolate: 0, start: -1, values: [] };
    let complaint = '';
    program.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    const ended = once(program, 'exit');
    for await (const line of createInterface({ input: program.stdout })) {
      const [word, value] = line.split(' ');
      if (word === 'isolate') said.isolate = Number(value);
      if (word === 'start') said.start = Number(value);
      if (word === 'value') said.values.push(Number(value));
      const isDue = said.values.length === count && word === (count === 0 ? 'start' : 'value');
      if (isDue) setTimeout(() => kill(program, said.isolate), delay);
    }
    await ended;
    if (said.start < 0) throw new Error(`it did not start: ${complaint}`);
    return said;
  }

  it('counts on without a gap or a repetition, and leaves no process, over 12 kills at random moments', {
    timeout: 300_000,
  }, async () => {
    let acknowledged = 0;
    let total = 0;
    for (let round = 0; round < 12; round++) {
      const victim = round % 2 === 0 ? 'application' : 'isolate';
      const said = await run(
        (program, isolate) => (victim === 'application' ? program.kill('SIGKILL') : process.kill(isolate, 'SIGKILL')),
        round % 4,
        Math.random() * 60,
      );
      // One request may have been accepted that nobody was told of.
      expect([acknowledged, acknowledged + 1], `round ${round}, after killing`).toContain(said.start);
      const expected = said.values.map((_, i) => said.start + 1 + i);
      expect(said.values).toEqual(expected);
      acknowledged = said.values.at(-1) ?? said.start;
      total += said.values.length;
      await expect.poll(() => existsSync(`/proc/${said.isolate}`), { timeout: 5000 }).toBe(false);
      await sleep(10);
    }
    expect(total).toBeGreaterThanOrEqual(18);
  });
});

interface Said {
  readonly isolate: number;
  readonly start: number;
  readonly values: readonly number[];
}
