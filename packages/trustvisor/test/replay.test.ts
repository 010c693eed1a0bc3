import { FlushContext, GetCapability, shareTpm, TPM_CAP, Tpm, type TpmTransport } from '@casemate/tpm';
import { memoryState, openUtpm } from '@casemate/utpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlobStore, memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { COUNTER, counter, SERVICE, services } from './pals.js';
import { remoteIsolate } from './streams.js';
import { hasSwtpm, type RunningTpm, startSwtpm, startUtpm } from './tpms.js';

const NONE = new Uint8Array(0);
const u64 = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
const add = async (pal: Pal, amount = 1) => u64((await pal.invoke(COUNTER.add, Uint8Array.of(amount))).output);
const read = async (pal: Pal) => u64((await pal.invoke(COUNTER.read, NONE)).output);

/** A store whose content can be looked at and put back. */
function glassStore(): BlobStore & { save(): Map<string, Uint8Array>; restore(saved: Map<string, Uint8Array>): void } {
  const blobs = new Map<string, Uint8Array>();
  return {
    get: async (name) => blobs.get(name),
    put: async (name, content) => void blobs.set(name, content.slice()),
    delete: async (name) => void blobs.delete(name),
    save: () => new Map(blobs),
    restore: (saved) => {
      blobs.clear();
      for (const [name, content] of saved) blobs.set(name, content);
    },
  };
}

/** What a resource manager does when a program dies: ends its sessions. */
async function endSessions(transport: TpmTransport): Promise<void> {
  const tpm = new Tpm(transport);
  for (const property of [0x02000000, 0x03000000, 0x80000000]) {
    const request = { capability: TPM_CAP.HANDLES, property, propertyCount: 16 };
    const { capabilityData } = await tpm.execute(GetCapability, request);
    if (capabilityData.capability !== TPM_CAP.HANDLES) continue;
    for (const flushHandle of capabilityData.data) await tpm.execute(FlushContext, { flushHandle });
  }
}

/** The commands that change what a TPM keeps: NV_UndefineSpace, NV_DefineSpace, NV_Extend, NV_Write. */
const CHANGES: ReadonlySet<number> = new Set([0x122, 0x12a, 0x136, 0x137]);

/** Counts the effects that a program has outside itself, and ends the program before or after one of them. */
class Doom {
  readonly #at: number;
  readonly #when: 'before' | 'after';
  readonly #die: () => void;
  count = 0;
  isDead = false;

  constructor(at: number, when: 'before' | 'after', die: () => void) {
    this.#at = at;
    this.#when = when;
    this.#die = die;
  }

  async effect<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.count++ === this.#at;
    if (this.isDead || (mine && this.#when === 'before')) return this.#end();
    const result = await run();
    return mine ? this.#end() : result;
  }

  #end(): Promise<never> {
    this.isDead = true;
    this.#die();
    return new Promise(() => undefined);
  }
}

/** Opens everything with effects that pass through `doom`; nothing of it goes on after the end. */
async function doomed(
  running: RunningTpm,
  store: BlobStore,
  nvBase: number,
  at: number,
  when: 'before' | 'after',
): Promise<{ doom: Doom; open: () => Promise<Trustvisor>; ended: Promise<void> }> {
  const { isolate, ended } = await remoteIsolate();
  const doom = new Doom(at, when, () => isolate.destroy());
  const tpm: TpmTransport = {
    send: (command) => {
      const send = () => running.transport.send(command);
      return CHANGES.has(new DataView(command.buffer, command.byteOffset).getUint32(6)) ? doom.effect(send) : send();
    },
    close: async () => undefined,
  };
  const wrapped: BlobStore = {
    get: (name) => store.get(name),
    put: (name, content) => doom.effect(() => store.put(name, content)),
    delete: (name) => doom.effect(() => store.delete(name)),
  };
  return { doom, ended, open: () => openTrustvisor({ tpm, store: wrapped, nvBase, isolate }) };
}

describe.each([
  ['uTPM', startUtpm, true],
  ['swtpm', startSwtpm, hasSwtpm],
] as const)('a replay-protected PAL on %s', (_, start, here) => {
  let running: RunningTpm;
  let nvBase = 0x01810000;
  beforeAll(async () => {
    if (here) running = await start();
  });
  afterAll(async () => {
    if (here) await running.close();
  });

  const fresh = (store: BlobStore = memoryStore()) => {
    nvBase += 0x100;
    const base = nvBase;
    return { store, nvBase: base, open: () => openTrustvisor({ tpm: running.transport, store, nvBase: base }) };
  };

  it.runIf(here)('keeps its state over registrations and over restarts of the isolate', async () => {
    const { open } = fresh();
    const first = await open();
    const pal = await first.register(counter());
    expect(pal.lastRequest).toBeUndefined();
    expect([await add(pal), await add(pal, 5)]).toEqual([1n, 6n]);
    await pal.unregister();
    const same = await first.register(counter());
    expect(await read(same)).toBe(6n);
    await first.close();
    await using second = await open();
    const again = await second.register(counter());
    expect(again.lastRequest).toMatchObject({
      sequence: 3n,
      command: COUNTER.read,
      outcome: 'returned',
      rolledForward: false,
    });
    expect(u64(again.lastRequest?.output ?? NONE)).toBe(6n);
    expect(await add(again)).toBe(7n);
  });

  it.runIf(here)('counts a request that traps in its history and leaves its state as it was', async () => {
    const { open } = fresh();
    await using trustvisor = await open();
    const pal = await trustvisor.register(counter());
    await add(pal);
    await expect(pal.invoke(COUNTER.addThenTrap, Uint8Array.of(1))).rejects.toMatchObject({ fault: 'unreachable' });
    expect(await read(pal)).toBe(1n);
    await pal.unregister();
    const again = await trustvisor.register(counter());
    expect(again.lastRequest?.sequence).toBe(3n);
    expect(await add(again)).toBe(2n);
  });

  it.runIf(here)('carries a request out in full that ran out of time, before any other', async () => {
    const { open } = fresh();
    await using trustvisor = await open();
    const pal = await trustvisor.register(counter());
    await add(pal);
    await expect(pal.invoke(COUNTER.addSlowly, Uint8Array.of(10), { timeLimit: 100 })).rejects.toMatchObject({
      code: 'timeout',
    });
    expect(await add(pal)).toBe(12n);
  });

  it.runIf(here)('has no clock and no quotes inside, and its randomness is that of its history', async () => {
    const { open } = fresh();
    await using trustvisor = await open();
    const pal = await trustvisor.register(services({ replayProtected: true }));
    expect((await pal.invoke(SERVICE.time, NONE)).returnCode).toBe(7);
    expect((await pal.invoke(SERVICE.quote, Uint8Array.of(1, 1))).returnCode).toBe(7);
    const [a, b] = [
      await pal.invoke(SERVICE.random, Uint8Array.of(16, 0, 0, 0)),
      await pal.invoke(SERVICE.random, Uint8Array.of(16, 0, 0, 0)),
    ];
    expect(a.output).not.toEqual(b.output);
    expect((await pal.quote(NONE)).quoted.length).toBeGreaterThan(50);
  });

  it.runIf(here)(
    'sees its uPCRs as they are at registration in each request, so that a repetition sees the same',
    async () => {
      const { open } = fresh();
      await using trustvisor = await open();
      const pal = await trustvisor.register(services({ replayProtected: true }));
      expect((await pal.invoke(SERVICE.pcrExtend, Uint8Array.of(1, ...new Uint8Array(32)))).returnCode).toBe(0);
      expect((await pal.invoke(SERVICE.pcrRead, Uint8Array.of(1))).output).toEqual(new Uint8Array(32));
    },
  );

  it.runIf(here)('refuses an old snapshot, and a missing one', async () => {
    const store = glassStore();
    const { open } = fresh(store);
    const trustvisor = await open();
    const pal = await trustvisor.register(counter());
    await add(pal);
    const old = store.save();
    await add(pal);
    const latest = store.save();
    await pal.unregister();
    store.restore(old);
    await expect(trustvisor.register(counter())).rejects.toMatchObject({ code: 'replay' });
    store.restore(new Map([...latest].filter(([name]) => !name.endsWith('.snapshot'))));
    await expect(trustvisor.register(counter())).rejects.toMatchObject({ code: 'replay', message: /gone/ });
    store.restore(latest);
    expect(await read(await trustvisor.register(counter()))).toBe(2n);
    await trustvisor.close();
  });

  it.runIf(here)('lets one of two isolates go on that share a history, and refuses the other', async () => {
    const { open } = fresh();
    await using one = await open();
    await using two = await open();
    const first = await one.register(counter());
    await add(first);
    const second = await two.register(counter());
    expect(await add(second)).toBe(2n);
    await expect(add(first)).rejects.toMatchObject({ code: 'replay' });
    // The one that was behind has looked at the state again, and the other is behind now.
    expect(await add(first)).toBe(3n);
    await expect(add(second)).rejects.toMatchObject({ code: 'replay' });
    expect(await read(second)).toBe(3n);
  });

  it.runIf(here)(
    'refuses the snapshot of another PAL as replay, and a damaged or forged one as sealed-state',
    async () => {
      const store = glassStore();
      const { open } = fresh(store);
      await using trustvisor = await open();
      const [a, b] = [await trustvisor.register(counter()), await trustvisor.register(counter({ version: '2.0.0' }))];
      await add(a);
      await add(b);
      await a.unregister();
      await b.unregister();
      const good = store.save();
      const names = [...good.keys()].filter((name) => name.endsWith('.snapshot'));
      const [one = '', two = ''] = names;
      store.restore(new Map(good).set(one, good.get(two) ?? NONE).set(two, good.get(one) ?? NONE));
      await expect(trustvisor.register(counter())).rejects.toMatchObject({ code: 'replay', message: /another PAL/ });
      for (const damage of [
        (bytes: Uint8Array) => bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1),
        (bytes: Uint8Array) => bytes.subarray(0, 60),
        () => NONE,
      ]) {
        store.restore(
          new Map([...good].map(([name, bytes]) => [name, name.endsWith('.snapshot') ? damage(bytes) : bytes])),
        );
        await expect(trustvisor.register(counter())).rejects.toMatchObject({ code: 'sealed-state' });
      }
      store.restore(good);
      expect(await read(await trustvisor.register(counter()))).toBe(1n);
    },
  );

  it.runIf(here)('refuses to start again when its NV index is undefined, with or without its blobs', async () => {
    const { NvUndefineSpace, TPM_RH } = await import('@casemate/tpm');
    const store = glassStore();
    const { open, nvBase: base } = fresh(store);
    const trustvisor = await open();
    const pal = await trustvisor.register(counter());
    await add(pal);
    await trustvisor.close();
    await new Tpm(running.transport).execute(NvUndefineSpace, { authHandle: TPM_RH.OWNER, nvIndex: base + 2 });
    await using again = await open();
    await expect(again.register(counter())).rejects.toMatchObject({ code: 'replay' });
    store.restore(new Map([...store.save()].filter(([name]) => name === 'registry')));
    await expect(again.register(counter())).rejects.toMatchObject({ code: 'replay' });
    const saved = store.save();
    store.restore(new Map());
    await expect(open()).rejects.toMatchObject({ code: 'replay' });
    store.restore(saved);
  });

  it.runIf(here)(
    'loses no request and carries none out twice, wherever the program dies',
    { timeout: 600_000 },
    async () => {
      const results: Record<string, number> = {};
      let points = 0;
      for (const when of ['before', 'after'] as const) {
        for (let at = 0; ; at++) {
          const { store, nvBase: base } = fresh();
          const { doom, open, ended } = await doomed(running, store, base, at, when);
          // In this process too: to start another for each of these points takes most of the time.
          const reopen = async () => {
            const { isolate } = await remoteIsolate();
            return await openTrustvisor({ tpm: running.transport, store, nvBase: base, isolate });
          };
          const given: bigint[] = [];
          const program = async () => {
            const trustvisor = await open();
            const pal = await trustvisor.register(counter());
            for (let i = 0; i < 2; i++) given.push(await add(pal, 1));
            given.push(u64((await pal.invoke(COUNTER.addRandom, NONE)).output));
            await trustvisor.close();
          };
          await program().catch(() => undefined);
          await ended;
          await endSessions(running.transport);
          points++;
          const outcome = await judge(reopen, given);
          results[outcome] = (results[outcome] ?? 0) + 1;
          await removeIndexes(running.transport, base);
          if (!doom.isDead) break;
        }
      }
      expect(points).toBeGreaterThanOrEqual(46);
      // Each way to be interrupted was met: nothing done yet, done and told, done and not told, and rolled forward.
      expect(Object.keys(results).sort()).toEqual(['begun anew', 'carried out', 'rolled forward', 'told']);
    },
  );
});

describe('a new TPM', () => {
  it('gives several isolates that open it at the same time one master secret', async () => {
    const tpm = await openUtpm({ startup: true });
    const shared = shareTpm(tpm);
    const store = memoryStore();
    const open = async () => {
      const { isolate } = await remoteIsolate();
      return openTrustvisor({ tpm: shared.connect(), store, isolate });
    };
    const opened = await Promise.all([open(), open(), open()]);
    opened.push(await open());
    const [first] = opened;
    for (const { identity } of opened) expect(identity).toEqual(first?.identity);
    for (const trustvisor of opened) await trustvisor.close();
    await tpm.close();
  });

  it('keeps its master secret though the transport says that nothing was written, and the store is empty', async () => {
    const tpm = await openUtpm({ startup: true });
    const store = memoryStore();
    const open = async (transport: TpmTransport, blobs: BlobStore) => {
      const { isolate } = await remoteIsolate();
      return openTrustvisor({ tpm: transport, store: blobs, isolate });
    };
    const first = await open(tpm, store);
    await first.close();
    let lies = 0;
    const lying: TpmTransport = {
      send: async (command) => {
        const response = await tpm.send(command);
        // TPM2_NV_ReadPublic of the master secret's index: TPMA_NV_WRITTEN is bit 29 of the attributes.
        const view = new DataView(command.buffer, command.byteOffset);
        if (view.getUint32(6) !== 0x169 || view.getUint32(10) !== 0x0180c000) return response;
        lies++;
        return response.with(18, (response[18] ?? 0) & ~0x20);
      },
      close: async () => undefined,
    };
    await expect(open(lying, memoryStore())).rejects.toMatchObject({ name: 'TrustvisorError' });
    expect(lies).toBeGreaterThan(0);
    const again = await open(tpm, store);
    expect(again.identity).toEqual(first.identity);
    await again.close();
    await tpm.close();
  });
});

describe('a forked history', () => {
  it('is refused, though each of its parts is authentic: the TPM has seen the other branch', async () => {
    const state = memoryState();
    const tpm = await openUtpm({ state, startup: true });
    const store = glassStore();
    const open = (transport: TpmTransport, blobs: BlobStore) => openTrustvisor({ tpm: transport, store: blobs });
    const trunk = await open(tpm, store);
    await add(await trunk.register(counter()), 1);
    await trunk.close();
    // The other branch needs a copy of the TPM, which only a TPM in memory gives away.
    const copy = await openUtpm({ state: memoryState(state.snapshot()), startup: true });
    const branch = glassStore();
    branch.restore(store.save());
    const other = await open(copy, branch);
    const forked = await other.register(counter());
    expect(await add(forked, 7)).toBe(8n);
    await expect(forked.invoke(COUNTER.addSlowly, Uint8Array.of(9), { timeLimit: 50 })).rejects.toMatchObject({
      code: 'timeout',
    });
    await other.close();
    const again = await open(tpm, store);
    expect(await add(await again.register(counter()), 2)).toBe(3n);
    await again.close();
    const good = store.save();
    const refused: string[] = [];
    const blobsOf = (suffix: string, from: Map<string, Uint8Array>) =>
      [...from].filter(([name]) => name.endsWith(suffix));
    expect(blobsOf('.request', branch.save())).toHaveLength(1);
    for (const mixed of [
      new Map([...good, ...blobsOf('.snapshot', branch.save())]),
      new Map([...good, ...blobsOf('.snapshot', branch.save()), ...blobsOf('.request', branch.save())]),
    ]) {
      store.restore(mixed);
      await using attempt = await open(tpm, store);
      await attempt.register(counter()).catch((error) => refused.push(error.code));
    }
    expect(refused).toEqual(['replay', 'replay']);
    store.restore(good);
    await using end = await open(tpm, store);
    expect(await read(await end.register(counter()))).toBe(3n);
    await tpm.close();
    await copy.close();
  });
});

/** Looks at the state after the end, and goes on: the value must be that of a history in which each request came once. */
async function judge(reopen: () => Promise<Trustvisor>, given: readonly bigint[]): Promise<string> {
  await using trustvisor = await reopen();
  const pal = await trustvisor.register(counter());
  const last = pal.lastRequest;
  const done = Number(last?.sequence ?? 0n);
  expect([given.length, given.length + 1]).toContain(done);
  if (last !== undefined && done === given.length) expect(u64(last.output)).toBe(given.at(-1));
  if (done <= 2) expect(await read(pal)).toBe(BigInt(done));
  else expect(await read(pal)).toBe(u64(last?.output ?? NONE));
  const before = await read(pal);
  expect(await add(pal, 1)).toBe(before + 1n);
  if (done === 0) return 'begun anew';
  if (last?.rolledForward) return 'rolled forward';
  return done === given.length ? 'told' : 'carried out';
}

async function removeIndexes(transport: TpmTransport, base: number): Promise<void> {
  const { NvUndefineSpace, TPM_RH } = await import('@casemate/tpm');
  for (const slot of [0, 1, 2]) {
    await new Tpm(transport).execute(NvUndefineSpace, { authHandle: TPM_RH.OWNER, nvIndex: base + slot });
  }
}
