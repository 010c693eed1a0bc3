/** The monitor under AddressSanitizer and UBSan: it runs everything that the test PAL does, and what no isolate would send it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { PAL_STATUS, parsePalImage } from '@casemate/pal-linker';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { KvmPal } from '../src/kvm-engine.js';
import { Lanes, SocketPairs } from '../src/lanes.js';
import { ThreadStock } from '../src/pal-thread.js';
import { buildProgram, whyNoPrograms } from './programs.js';
import { sanitizedMonitor } from './sanitized-monitor.js';
import { servicesStart } from './services-start.js';

const missing = whyNoPrograms('kvm');
const NONE = new Uint8Array(0);
const runs = Number(process.env.TRUSTVISOR_FUZZ_RUNS ?? 60);

describe.skipIf(missing !== '')(`the monitor under sanitizers${missing && ` (skipped: ${missing})`}`, () => {
  let program: string;
  beforeAll(() => {
    program = sanitizedMonitor();
  }, 60_000);

  it('runs the test PAL: services, wrong pointers, faults of each kind, and fresh memory after each', async () => {
    const image = parsePalImage(buildProgram('kvm', ['services.c']));
    const threads = new ThreadStock(new URL('../dist/pal-worker.js', import.meta.url));
    const pal = new KvmPal(
      image,
      { monitor: program, threads, arena: undefined, lanes: new Lanes([]), pairs: new SocketPairs([]) },
      {
        services: () => servicesStart('test'),
        service: async () => ({ status: PAL_STATUS.SUCCESS, outputs: [new Uint8Array(8)] }),
        print: () => undefined,
        lane: () => undefined,
      },
    );
    const run = (command: number, input = NONE, timeLimit = 10_000) =>
      pal.run({ command, input, lent: [], state: NONE, timeLimit });
    try {
      for (const command of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 47]) {
        expect(await run(command, new Uint8Array(64).fill(3)), `command ${command}`).toMatchObject({
          kind: 'returned',
        });
      }
      for (const command of [22, 30, 31, 32, 33, 40, 41, 42, 43, 44, 45, 46, 48, 49]) {
        expect(await run(command), `command ${command}`).toMatchObject({ kind: 'fault' });
        expect(await run(0)).toMatchObject({ kind: 'returned', returnCode: 1 });
      }
      await expect(run(34, NONE, 100)).rejects.toMatchObject({ code: 'timeout' });
      expect(await run(0)).toMatchObject({ kind: 'returned', returnCode: 1 });
    } finally {
      await pal.close();
      await threads.close();
    }
  }, 60_000);

  /** Sends frames and ends; gives what the monitor said on its standard error, and how it ended. */
  async function feed(bytes: Uint8Array): Promise<{ complaint: string; code: number | null }> {
    const monitor: ChildProcess = spawn(program, [], {
      ...{ env: { ASAN_OPTIONS: 'detect_leaks=0' }, cwd: '/' },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'ignore'],
    });
    let complaint = '';
    monitor.stderr?.on('data', (chunk) => {
      complaint += chunk;
    });
    const stream = monitor.stdio[3];
    if (!(stream instanceof Duplex)) throw new Error('expected a stream to the monitor');
    stream.on('error', () => undefined); // it may have ended before all was sent
    stream.resume();
    stream.end(bytes);
    const [code] = await once(monitor, 'exit');
    return { complaint, code };
  }

  const frame = (type: number, body: Uint8Array) => {
    const bytes = new Uint8Array(5 + body.length);
    new DataView(bytes.buffer).setUint32(0, 1 + body.length, true);
    bytes.set([type, ...body], 4);
    return bytes;
  };
  const anyFrame = fc
    .tuple(fc.constantFrom(0, 1, 2, 3, 4, 255), fc.uint8Array({ maxLength: 200 }))
    .map(([type, body]) => frame(type, body));

  it('ends with a number for each frame that it does not understand, and with no finding', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyFrame, { minLength: 1, maxLength: 3 }), async (frames) => {
        const { complaint, code } = await feed(Uint8Array.from(frames.flatMap((each) => [...each])));
        expect(complaint).toBe('');
        expect(code).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: runs },
    );
    for (const length of [0, 0xffffffff, 40 * 1024 * 1024 + 1]) {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setUint32(0, length, true);
      expect(await feed(bytes)).toEqual({ complaint: '', code: 72 });
    }
  }, 120_000);
});
