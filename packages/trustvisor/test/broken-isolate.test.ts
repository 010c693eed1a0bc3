/** An application whose isolate is broken, whose store gives anything, or that is too busy itself: it gets errors, and goes on. */
import { once } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { Channel } from '../src/channel.js';
import { memoryStore, openTrustvisor, type TrustvisorOptions } from '../src/index.js';
import { encodeLaneReturn } from '../src/lane.js';
import { PalCalls } from '../src/pal-calls.js';
import { MESSAGE } from '../src/protocol.js';
import { ROGUE, rogue, services } from './pals.js';
import { remoteIsolate, socketPair } from './streams.js';
import { startUtpm } from './tpms.js';

const NONE = new Uint8Array(0);

async function withElsewhere(options: Partial<TrustvisorOptions> = {}) {
  const { isolate } = await remoteIsolate();
  return openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true, isolate, ...options });
}

describe('an isolate that answers nothing', () => {
  it('does not keep the application from closing, unless it waits for its TPM or its store itself', async () => {
    const [near, far] = await socketPair();
    const isolate = new Channel(far, {
      accepts: new Set([MESSAGE.OPEN, MESSAGE.CLOSE]),
      closed: () => undefined,
      handle: async ({ type }) =>
        type === MESSAGE.OPEN
          ? { type: MESSAGE.OPENED, body: { ephemeral: 1, identity: NONE } }
          : new Promise(() => undefined),
    });
    let give: (blob: undefined) => void = () => undefined;
    const get = () =>
      new Promise<undefined>((resolve) => {
        give = resolve;
      });
    const trustvisor = await openTrustvisor({
      store: { ...memoryStore(), get },
      insecureAllowEphemeral: true,
      isolate: near,
    });
    const asked = isolate.request({ type: MESSAGE.STORE_GET, body: { name: 'a' } }, MESSAGE.CONTENT);
    await expect.poll(() => give.length).toBe(1);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      let isClosed = false;
      const closing = trustvisor.close().then(() => {
        isClosed = true;
      });
      await vi.advanceTimersByTimeAsync(60_000);
      expect(isClosed).toBe(false);
      give(undefined);
      await asked;
      await vi.advanceTimersByTimeAsync(30_000);
      await closing;
    } finally {
      vi.useRealTimers();
    }
  });

  it('is not waited for at all where its stream had ended before', async () => {
    const [near] = await socketPair();
    near.destroy();
    await once(near, 'close');
    const opening = openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true, isolate: near });
    await expect(opening).rejects.toMatchObject({ code: 'closed' });
  });
});

describe('a lane that says that more was printed than comes', () => {
  const body = { pal: 1, command: 0, timeLimit: 50, input: NONE, lent: [] };
  async function lyingLane() {
    const [near, far] = await socketPair();
    far.on('data', () => far.write(encodeLaneReturn(5, 0, NONE)));
    let stops = 0;
    const calls = new PalCalls({
      name: 'test',
      call: () => Promise.reject(new Error('not by the isolate')),
      stop: async () => void stops++,
    });
    calls.useLane(near, 1024);
    return { calls, stops: () => stops };
  }

  it('is stopped when the time is up, or the caller gives up', async () => {
    const late = await lyingLane();
    await expect(late.calls.invoke(body, undefined)).rejects.toMatchObject({ code: 'timeout' });
    expect(late.stops()).toBe(1);
    const given = await lyingLane();
    const abort = new AbortController();
    const call = given.calls.invoke({ ...body, timeLimit: 60_000 }, abort.signal);
    setTimeout(() => abort.abort(), 20);
    await expect(call).rejects.toMatchObject({ code: 'aborted' });
  });

  it('is not waited for when the isolate has ended', async () => {
    const { calls } = await lyingLane();
    const call = calls.invoke({ ...body, timeLimit: 60_000 }, undefined);
    setTimeout(() => calls.isolateEnded(), 20);
    expect((await call).returnCode).toBe(0);
  });
});

describe('an application', () => {
  it('gets what a PAL returned in time, however long it was busy itself meanwhile', async () => {
    await using trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
    const pal = await trustvisor.register(rogue());
    for (const count of [1, 2]) {
      const call = pal.invoke(ROGUE.count, NONE, { timeLimit: 100 });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
      expect((await call).returnCode).toBe(count);
      await new Promise((resolve) => setTimeout(resolve, 1)); // as what is woken by a timer, not by a reply
    }
  });

  it('goes on when what is called with printed lines throws', async () => {
    const onPrint = () => {
      throw new Error('a mistake of the application');
    };
    await using trustvisor = await withElsewhere({ onPrint });
    const pal = await trustvisor.register(rogue());
    await pal.invoke(ROGUE.print, Uint8Array.of(65));
    expect((await pal.invoke(ROGUE.echo, Uint8Array.of(1))).output).toEqual(Uint8Array.of(1));
    await using here = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true, onPrint });
    const byLane = await here.register(rogue());
    await byLane.invoke(ROGUE.print, Uint8Array.of(65));
    expect((await byLane.invoke(ROGUE.echo, Uint8Array.of(1))).output).toEqual(Uint8Array.of(1));
  });

  it('gets an error of the store where that gives more than anybody put, or no bytes', async () => {
    const tpm = await startUtpm();
    for (const blob of [new Uint8Array(4 * 1024 * 1024), null]) {
      const store = { ...memoryStore(), get: async () => blob as Uint8Array };
      const { isolate } = await remoteIsolate();
      await expect(openTrustvisor({ tpm: tpm.transport, store, isolate })).rejects.toMatchObject({ code: 'store' });
    }
    await tpm.close();
  });

  it('gets an error of its input for options and images that no message has room for', async () => {
    for (const options of [
      { pcrs: [300] },
      { memoryLimit: -1 },
      { ownerAuth: new Uint8Array(65) },
      { storageKeyName: new Uint8Array(67) },
    ]) {
      await expect(withElsewhere(options)).rejects.toMatchObject({ name: 'TrustvisorError', code: 'input' });
    }
    await using trustvisor = await withElsewhere();
    const register = trustvisor.register(new Uint8Array(17 * 1024 * 1024));
    await expect(register).rejects.toMatchObject({ name: 'TrustvisorError', code: 'input' });
    expect((await trustvisor.register(services())).name).toBe('test');
  });

  it('lends 16 MiB to an isolate elsewhere beside what goes in and out, and is told of more', async () => {
    await using trustvisor = await withElsewhere();
    const pal = await trustvisor.register(rogue());
    const MIB = 1024 * 1024;
    const memory = await trustvisor.allocateShared(17 * MIB);
    const lend = (length: number) => ({ lend: [{ memory, offset: 0, length, access: 'read-write' as const }] });
    const input = new Uint8Array(16_000).fill(1);
    expect((await pal.invoke(ROGUE.echo, input, lend(16 * MIB))).output).toEqual(input);
    await expect(pal.invoke(ROGUE.echo, NONE, lend(17 * MIB))).rejects.toMatchObject({ code: 'input' });
    expect((await pal.invoke(ROGUE.echo, input)).output).toEqual(input);
  });
});
