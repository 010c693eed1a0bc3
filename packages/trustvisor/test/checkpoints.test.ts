/** Histories with checkpoints: the program dies before and after each of its effects, and the TPM loses its power or keeps it. */
import type { TpmTransport } from '@casemate/tpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { History, type HistoryHost, HistoryRegistry } from '../src/history.js';
import { type BlobStore, memoryStore, openTrustvisor, type Pal } from '../src/index.js';
import { PlatformTpm } from '../src/platform-tpm.js';
import { COUNTER, counter } from './pals.js';
import { hasSwtpm, type RunningTpm, startSwtpm, startUtpm } from './tpms.js';

const NONE = new Uint8Array(0);
const MASTER = new Uint8Array(32).fill(7);
const PAL = { name: 'counter', measurement: new Uint8Array(32).fill(3), mode: 'checkpoints' as const };

/** A store that keeps each of the states that it was ever in. */
class RecordingStore implements BlobStore {
  #blobs: ReadonlyMap<string, Uint8Array> = new Map();
  readonly states: ReadonlyMap<string, Uint8Array>[] = [];

  async get(name: string) {
    return this.#blobs.get(name);
  }
  async put(name: string, content: Uint8Array) {
    this.restore(new Map(this.#blobs).set(name, content.slice()));
  }
  async delete(name: string) {
    this.restore(new Map([...this.#blobs].filter(([each]) => each !== name)));
  }
  restore(blobs: ReadonlyMap<string, Uint8Array>) {
    this.#blobs = blobs;
    this.states.push(blobs);
  }
}

class Died extends Error {}

/** NV_UndefineSpace, NV_DefineSpace, NV_Extend, NV_Write. */
const CHANGES: ReadonlySet<number> = new Set([0x122, 0x12a, 0x136, 0x137]);
const EXTEND = 0x136;

/** Counts the effects outside the program, and lets it die before or after one of them. */
class Mortal {
  count = 0;
  isDead = false;
  readonly #at: number;
  readonly #when: 'before' | 'after';

  constructor(at: number, when: 'before' | 'after') {
    this.#at = at;
    this.#when = when;
  }

  async effect<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.count++ === this.#at;
    if (this.isDead || (mine && this.#when === 'before')) this.#die();
    const result = await run();
    if (mine) this.#die();
    return result;
  }

  #die(): never {
    this.isDead = true;
    throw new Died('the program has died here');
  }
}

/** The index that a command authorises and names second: the authorization's handle stands first. */
function nvIndexOf(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset).getUint32(14);
}

function commandCode(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset).getUint32(6);
}

/** A service on a history: its state is a number that each request adds one to. */
class Counting {
  readonly #history: History;
  private constructor(history: History) {
    this.#history = history;
  }

  static async open(host: HistoryHost): Promise<Counting> {
    const registry = new HistoryRegistry(host);
    const counting = new Counting(await History.open(host, registry, PAL));
    await counting.#carryOut(true);
    return counting;
  }

  get value(): number {
    return this.#history.state[0] ?? 0;
  }

  async count(): Promise<number> {
    await this.#history.settle();
    await this.#carryOut(true);
    await this.#history.accept(1, NONE);
    await this.#carryOut(false);
    return this.value;
  }

  close(): Promise<void> {
    return this.#history.close();
  }

  async #carryOut(rolledForward: boolean): Promise<void> {
    if (this.#history.pending === undefined) return;
    const state = Uint8Array.of(this.value + 1);
    await this.#history.commit({ kind: 'returned', returnCode: 0, output: NONE, state }, rolledForward);
  }
}

describe.each([
  ['uTPM', startUtpm, true],
  ['swtpm', startSwtpm, hasSwtpm],
] as const)('a history with checkpoints on %s', (_, start, here) => {
  let running: RunningTpm;
  let nvBase = 0x01820000;
  beforeAll(async () => {
    if (here) running = await start();
  });
  afterAll(async () => {
    if (here) await running.close();
  });

  const hostOf = (store: BlobStore, transport: TpmTransport = running.transport): HistoryHost => ({
    platform: new PlatformTpm(transport, { pcrs: [7], nvBase, ownerAuth: NONE, storageKeyName: NONE }),
    store,
    master: MASTER,
  });

  /** A new platform with an empty registry. */
  async function fresh(): Promise<RecordingStore> {
    nvBase += 0x100;
    const store = new RecordingStore();
    const registry = new HistoryRegistry(hostOf(store));
    await registry.create();
    await registry.mark();
    return store;
  }

  it.runIf(here)('writes NV memory when it is opened and closed, and for no request', async () => {
    const store = await fresh();
    const written: number[] = [];
    const transport: TpmTransport = {
      send: (command) => {
        if (commandCode(command) === EXTEND) written.push(nvIndexOf(command) - nvBase);
        return running.transport.send(command);
      },
      close: async () => undefined,
    };
    const first = await Counting.open(hostOf(store, transport));
    written.length = 0;
    for (let i = 1; i <= 5; i++) expect(await first.count()).toBe(i);
    expect(written).toEqual([66, 66, 66, 66, 66]);
    await first.close();
    expect(written.splice(0)).toEqual([66, 66, 66, 66, 66, 2]);
    expect(await first.count()).toBe(6);
    expect(written).toEqual([2, 66]);
  });

  it.runIf(here)('goes on after a loss of power where it was closed, and is refused where it was not', async () => {
    const store = await fresh();
    const first = await Counting.open(hostOf(store));
    await first.count();
    await first.count();
    await first.close();
    await running.cutPower();
    const second = await Counting.open(hostOf(store));
    expect(second.value).toBe(2);
    expect(await second.count()).toBe(3);
    // A program that is killed loses nothing: the TPM's memory still knows.
    const third = await Counting.open(hostOf(store));
    expect(await third.count()).toBe(4);
    await running.cutPower();
    await expect(Counting.open(hostOf(store))).rejects.toMatchObject({ code: 'replay', message: /reset/ });
  });

  it.runIf(here)('cannot be closed by one that was left behind, nor with its old state', async () => {
    const store = await fresh();
    const behind = await Counting.open(hostOf(store));
    await behind.count();
    const old = store.states.at(-1) ?? new Map();
    const ahead = await Counting.open(hostOf(store));
    await ahead.count();
    await expect(behind.close()).rejects.toMatchObject({ code: 'replay' });
    await running.cutPower();
    for (const state of [old, store.states.at(-1) ?? new Map()]) {
      store.restore(state);
      await expect(Counting.open(hostOf(store))).rejects.toMatchObject({ code: 'replay' });
    }
  });

  it.runIf(here)(
    'is not moved on by an attempt with an old state, so that the latest is good after a reset',
    async () => {
      const store = await fresh();
      const first = await Counting.open(hostOf(store));
      const old = store.states.at(-1) ?? new Map();
      await first.count();
      await first.close();
      const latest = store.states.at(-1) ?? new Map();
      store.restore(old);
      await expect(Counting.open(hostOf(store))).rejects.toMatchObject({ code: 'replay' });
      store.restore(latest);
      await running.cutPower();
      expect((await Counting.open(hostOf(store))).value).toBe(1);
    },
  );

  it.runIf(here)('is not opened in the other mode', async () => {
    const store = await fresh();
    await (await Counting.open(hostOf(store))).close();
    const registry = new HistoryRegistry(hostOf(store));
    const other = History.open(hostOf(store), registry, { ...PAL, mode: 'every-request' });
    await expect(other).rejects.toMatchObject({ code: 'refused', message: /checkpoints/ });
  });

  it.runIf(here)(
    'loses no request, doubles none and never goes back, wherever the program dies and whether the power goes or not',
    { timeout: 300_000 },
    async () => {
      const outcomes: Record<string, number> = {};
      let points = 0;
      for (const power of ['kept', 'lost'] as const) {
        // Before the first effect, and after each: between two effects there is one moment, not two.
        for (let at = 0; ; at++) {
          const store = await fresh();
          const mortal = at === 0 ? new Mortal(0, 'before') : new Mortal(at - 1, 'after');
          const given = await program(mortal, store);
          if (power === 'lost') await running.cutPower();
          points++;
          const outcome = await judge(store, given, points);
          outcomes[`${power}: ${outcome}`] = (outcomes[`${power}: ${outcome}`] ?? 0) + 1;
          await removeIndexes();
          if (!mortal.isDead) break;
        }
      }
      expect(points).toBeGreaterThanOrEqual(50);
      // Nothing is refused that kept its power; without power, what was closed goes on, and then all of it was told.
      expect(Object.keys(outcomes).sort()).toEqual([
        ...['kept: all told', 'kept: one more', 'lost: all told', 'lost: refused'],
      ]);
    },
  );

  /** Opens, counts, closes, counts again, closes; gives what it was told before it died. */
  async function program(mortal: Mortal, store: BlobStore): Promise<number> {
    const transport: TpmTransport = {
      send: (command) => {
        const send = () => running.transport.send(command);
        return CHANGES.has(commandCode(command)) ? mortal.effect(send) : send();
      },
      close: async () => undefined,
    };
    const wrapped: BlobStore = {
      get: (name) => store.get(name),
      put: (name, content) => mortal.effect(() => store.put(name, content)),
      delete: (name) => mortal.effect(() => store.delete(name)),
    };
    let told = 0;
    try {
      const counting = await Counting.open(hostOf(wrapped, transport));
      told = await counting.count();
      told = await counting.count();
      await counting.close();
      told = await counting.count();
      await counting.close();
    } catch (error) {
      if (!mortal.isDead) throw error;
    }
    return told;
  }

  /** First with one of the store's old states, which must not pass for the latest, then with the latest. */
  async function judge(store: RecordingStore, told: number, turn: number): Promise<string> {
    const latest = store.states.at(-1) ?? new Map();
    store.restore(store.states[turn % store.states.length] ?? latest);
    const old = await Counting.open(hostOf(store)).catch((error) => error);
    if (old instanceof Counting) expect(old.value).toBeGreaterThanOrEqual(told);
    else expect(['replay', 'refused']).toContain(old.code);
    if (!(old instanceof Counting)) store.restore(latest);
    const counting = await Counting.open(hostOf(store)).catch((error) => error);
    if (!(counting instanceof Counting)) {
      expect(counting).toMatchObject({ code: 'replay', message: /reset/ });
      return 'refused';
    }
    expect([told, told + 1]).toContain(counting.value);
    const { value } = counting;
    expect(await counting.count()).toBe(value + 1);
    return value === told ? 'all told' : 'one more';
  }

  async function removeIndexes(): Promise<void> {
    const { platform } = hostOf(memoryStore());
    for (const slot of [1, 2, 66]) await platform.remove(slot).catch(() => undefined);
  }
});

describe('a PAL whose history has checkpoints', () => {
  const value = async (pal: Pal, command: number) => {
    const { output } = await pal.invoke(command, Uint8Array.of(1));
    return new DataView(output.buffer, output.byteOffset).getBigUint64(0, true);
  };

  it('is closed when it is unregistered, when the Trustvisor closes, and after a while: then power may go', async () => {
    const running = await startUtpm();
    const store = memoryStore();
    const options = { replay: 'checkpoints', checkpointAfter: 50 } as const;
    const open = () => openTrustvisor({ tpm: running.transport, store });
    const first = await open();
    const pal = await first.register(counter(), options);
    expect(await value(pal, COUNTER.add)).toBe(1n);
    await pal.unregister();
    await running.cutPower();
    const again = await first.register(counter(), options);
    expect(await value(again, COUNTER.add)).toBe(2n);
    await first.close();
    await running.cutPower();
    const second = await open();
    const third = await second.register(counter(), options);
    expect(await value(third, COUNTER.add)).toBe(3n);
    // Idle for longer than the option says, the history closes by itself; the next request opens it again.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await running.cutPower();
    expect(await value(third, COUNTER.add)).toBe(4n);
    await running.cutPower();
    await expect(value(third, COUNTER.add)).rejects.toMatchObject({ code: expect.stringMatching(/replay|tpm/) });
    await second.close();
    const fourth = await open();
    await expect(fourth.register(counter(), options)).rejects.toMatchObject({ code: 'replay' });
    await fourth.close();
    await running.close();
  });
});
