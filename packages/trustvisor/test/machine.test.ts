/** The machine of a PAL as processes, threads and descriptors: what is left where one ends, and what waits for a call. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { buildProgram, whyNoPrograms } from './programs.js';

const missing = whyNoPrograms('kvm') || (process.getuid?.() === 0 ? '' : 'not root: the isolate is hidden');
const NONE = new Uint8Array(0);
/** Of test/programs/services.c. */
const [COUNT, PCR, LOOP] = [0, 1, 34];
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);

describe.skipIf(missing !== '')(`a machine${missing && ` (skipped: ${missing})`}`, () => {
  let trustvisor: Trustvisor;
  let pal: Pal;
  beforeAll(async () => {
    trustvisor = await openTrustvisor({ store: memoryStore(), engine: 'kvm', insecureAllowEphemeral: true });
    pal = await trustvisor.register(buildProgram('kvm', ['services.c']));
  });
  afterAll(() => trustvisor?.close());

  const monitors = () => spawnSync('pgrep', ['-P', `${trustvisor.pid}`], { encoding: 'utf8' }).stdout.split('\n');
  const monitor = () => Number(monitors()[0]);
  /** Whether nothing of the isolate starts or ends: three times in a row as many threads. */
  const isIdle = async () => {
    const counts = new Set<number>();
    for (let i = 0; i < 3; i++) {
      counts.add(readdirSync(`/proc/${trustvisor.pid}/task`).length);
      await sleep(100);
    }
    return counts.size === 1;
  };
  const filesOf = (pid: number | undefined) => readdirSync(`/proc/${pid}/fd`);

  it('has its standard streams, the isolate, the shared memory, the lane and the services, and no file else', () => {
    const links = filesOf(monitor()).map((fd) => [Number(fd), readlinkSync(`/proc/${monitor()}/fd/${fd}`)] as const);
    const inherited = links.filter(([, target]) => !/kvm/.test(target)); // what it opened itself
    expect(inherited.map(([fd]) => fd).sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(inherited.filter(([, target]) => target.startsWith('socket:')).map(([fd]) => fd)).toEqual([3, 5, 6]);
  });

  it('that is killed is followed by another, with fresh memory, and leaves no descriptor', async () => {
    const kill = async () => {
      const killed = monitor();
      process.kill(killed, 'SIGKILL');
      await expect(pal.invoke(COUNT, NONE)).rejects.toMatchObject({ code: 'closed' });
      for (let i = 1; i <= 2; i++) expect(await pal.invoke(COUNT, NONE)).toMatchObject({ returnCode: i });
      expect(await pal.invoke(PCR, Uint8Array.of(1))).toMatchObject({ returnCode: 0 });
      expect(await pal.quote(NONE)).toMatchObject({ signature: expect.any(Uint8Array) });
      expect(monitor()).not.toBe(killed);
    };
    await kill();
    await expect.poll(isIdle).toBe(true);
    const before = filesOf(trustvisor.pid).length;
    for (let round = 0; round < 4; round++) await kill();
    // Each took a lane and both ends of a pair out of those that the isolate began with. Threads end and start beside it.
    await expect.poll(() => filesOf(trustvisor.pid).length, { timeout: 10_000 }).toBe(before - 4 * 3);
  });

  it('quotes for the application when the call under way has ended', async () => {
    const order: string[] = [];
    const call = pal.invoke(LOOP, NONE, { timeLimit: 300 }).catch(({ code }) => order.push(code));
    const quote = pal.quote(Uint8Array.of(1, 2, 3)).then(() => order.push('quoted'));
    await Promise.all([call, quote]);
    expect(order.sort()).toEqual(['quoted', 'timeout']);
    expect(await pal.invoke(COUNT, NONE)).toMatchObject({ returnCode: 1 });
  });

  it('ends with its PAL, and so does its thread', async () => {
    const other = await trustvisor.register(buildProgram('kvm', ['services.c']));
    const threads = () => readdirSync(`/proc/${trustvisor.pid}/task`).length;
    const [before, processes] = [threads(), monitors().length];
    await other.unregister();
    expect(monitors().length).toBe(processes - 1);
    expect(threads()).toBeLessThan(before);
  });
});
