/** Counters and NV bytes of PALs: what a crash, an old store, another isolate and a repeated request do to them. */
import type { TpmTransport } from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { describe, expect, it } from 'vitest';
import { type BlobStore, memoryStore, openTrustvisor, type Pal } from '../src/index.js';
import { palOf } from './pals.js';

const NONE = new Uint8Array(0);

/** Commands: read, increment, increment and trap, write the input, read bytes, and loop until its time is up after an increment. */
function counting(options: Parameters<typeof palOf>[1] = {}): Uint8Array {
  const imports = `
    (import "trustvisor" "counter_read" (func $read (param i32) (result i32)))
    (import "trustvisor" "counter_increment" (func $increment (param i32) (result i32)))
    (import "trustvisor" "tpmnvram_readall" (func $readall (param i32) (result i32)))
    (import "trustvisor" "tpmnvram_writeall" (func $writeall (param i32) (result i32)))`;
  return palOf(
    [
      '(call $end (i32.const 8) (call $read (call $out)))',
      '(call $end (i32.const 8) (call $increment (call $out)))',
      '(drop (call $increment (call $out))) (unreachable)',
      '(call $end (i32.const 0) (call $writeall (call $in)))',
      '(call $end (i32.const 32) (call $readall (call $out)))',
    ],
    options,
    '',
    imports,
  );
}

const COMMAND = { read: 0, increment: 1, trap: 2, write: 3, bytes: 4 } as const;

async function count(pal: Pal, command: number = COMMAND.read): Promise<bigint | string> {
  const { returnCode, output } = await pal.invoke(command, NONE);
  return returnCode === 0
    ? new DataView(output.buffer, output.byteOffset).getBigUint64(0, true)
    : `status ${returnCode}`;
}

function copyOf(store: BlobStore, names: readonly string[]) {
  return Promise.all(names.map(async (name) => [name, await store.get(name)] as const));
}

/** A store that tells its names, and fails at the write of a number. */
function failingStore() {
  const inner = memoryStore();
  const names = new Set<string>();
  const state = { writes: 0, failAt: -1 };
  const write = async (run: () => Promise<void>) => {
    if (state.writes++ === state.failAt) throw new Error('the disk is full');
    await run();
  };
  const store: BlobStore = {
    get: inner.get,
    put: (name, content) => write(() => inner.put(name, content).then(() => void names.add(name))),
    delete: (name) => write(() => inner.delete(name)),
  };
  return { store, names, state, inner };
}

async function withTpm(run: (tpm: TpmTransport) => Promise<void>): Promise<void> {
  const tpm = await openUtpm({ startup: true });
  try {
    await run(tpm);
  } finally {
    await tpm.close();
  }
}

describe('the counter of a PAL', () => {
  it('needs a TPM', async () => {
    await using trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
    const pal = await trustvisor.register(counting());
    expect([await count(pal), await count(pal, COMMAND.increment)]).toEqual(['status 7', 'status 7']);
  });

  it('goes on over faults, registrations and isolates', async () => {
    await withTpm(async (tpm) => {
      const store = memoryStore();
      const seen = [];
      for (let round = 0; round < 2; round++) {
        await using trustvisor = await openTrustvisor({ tpm, store });
        const pal = await trustvisor.register(counting());
        seen.push(await count(pal, COMMAND.increment));
        await expect(pal.invoke(COMMAND.trap, NONE)).rejects.toMatchObject({ code: 'fault' });
        await pal.unregister();
        seen.push(await count(await trustvisor.register(counting())));
      }
      expect(seen).toEqual([1n, 2n, 3n, 4n]);
    });
  });

  it('is the same for two isolates at one time: none counts twice, none reads an old value', async () => {
    await withTpm(async (tpm) => {
      const store = memoryStore();
      await using one = await openTrustvisor({ tpm, store });
      await using two = await openTrustvisor({ tpm, store });
      const pals = [await one.register(counting()), await two.register(counting())] as const;
      const seen = [];
      for (let i = 0; i < 3; i++) {
        for (const pal of pals) seen.push(await count(pal, COMMAND.increment));
        seen.push(await count(pals[0]), await count(pals[1]));
      }
      expect(seen).toEqual([1n, 2n, 2n, 2n, 3n, 4n, 4n, 4n, 5n, 6n, 6n, 6n]);
    });
  });

  it('is not to be had with an old store, and goes on with the right one', async () => {
    await withTpm(async (tpm) => {
      const { store, names } = failingStore();
      const use = async (task: (pal: Pal) => Promise<unknown>) => {
        await using trustvisor = await openTrustvisor({ tpm, store });
        return await task(await trustvisor.register(counting()));
      };
      await use((pal) => count(pal, COMMAND.increment));
      const old = await copyOf(store, [...names]);
      await use((pal) => count(pal, COMMAND.increment));
      const latest = await copyOf(store, [...names]);
      const restore = async (blobs: typeof old) => {
        for (const [name, content] of blobs) content ? await store.put(name, content) : await store.delete(name);
      };
      await restore(old);
      expect(await use((pal) => count(pal, COMMAND.increment))).toBe('status 4');
      expect(await use((pal) => count(pal))).toBe('status 4');
      await restore(latest);
      expect(await use((pal) => count(pal, COMMAND.increment))).toBe(3n);
    });
  });

  it('loses no increment and makes none up, at whatever write the store fails', async () => {
    await withTpm(async (tpm) => {
      const { store, state } = failingStore();
      await using trustvisor = await openTrustvisor({ tpm, store });
      const pal = await trustvisor.register(counting());
      let value = 0n;
      for (let failAt = 0; failAt < 4; failAt++) {
        value = (await count(pal, COMMAND.increment)) as bigint; // no write fails here
        Object.assign(state, { writes: 0, failAt });
        const outcome = await count(pal, COMMAND.increment);
        Object.assign(state, { writes: 0, failAt: -1 });
        const after = await count(pal);
        // A failure before the TPM knows of it undoes it, one after it does not; what was told as done is done.
        if (outcome !== 'status 4') expect(after).toBe(outcome);
        expect([value, value + 1n]).toContain(after);
      }
      expect(await count(pal, COMMAND.increment)).toBeGreaterThan(value);
    });
  });

  it('is part of the state of a PAL that is protected against replay', async () => {
    await withTpm(async (tpm) => {
      const store = memoryStore();
      const image = counting({ replayProtected: true, name: 'protected' });
      const written = new Uint8Array(32).map((_, i) => i);
      {
        await using trustvisor = await openTrustvisor({ tpm, store });
        const pal = await trustvisor.register(image);
        expect([await count(pal, COMMAND.increment), await count(pal, COMMAND.increment)]).toEqual([1n, 2n]);
        await expect(pal.invoke(COMMAND.trap, NONE)).rejects.toMatchObject({ code: 'fault' });
        await pal.invoke(COMMAND.write, written);
      }
      await using trustvisor = await openTrustvisor({ tpm, store });
      const pal = await trustvisor.register(image);
      expect([await count(pal), (await pal.invoke(COMMAND.bytes, NONE)).output]).toEqual([2n, written]);
    });
  });
});
