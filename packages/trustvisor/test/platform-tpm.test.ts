import {
  extendPcr,
  GetCapability,
  HierarchyChangeAuth,
  NvDefineSpace,
  NvExtend,
  NvRead,
  NvUndefineSpace,
  nvReadPublic,
  password,
  TPM_CAP,
  TPM_RH,
  TPMA_NV,
  Tpm,
  type TpmsNvPublic,
  type TpmTransport,
} from '@casemate/tpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../src/digest.js';
import { HistoryRegistry } from '../src/history.js';
import { type ExtendIndex, PlatformTpm } from '../src/platform-tpm.js';
import { type BlobStore, memoryStore } from '../src/store.js';
import { hasSwtpm, type RunningTpm, startSwtpm, startUtpm } from './tpms.js';

const NONE = new Uint8Array(0);
const BASE = 0x0180c000;

function platformOn(
  transport: TpmTransport,
  pcrs: readonly number[] = [7],
  storageKeyName = NONE,
  nvBase = BASE,
): PlatformTpm {
  return new PlatformTpm(transport, { pcrs, nvBase, ownerAuth: NONE, storageKeyName });
}

/** Keeps what goes over the wire. */
function tapped(transport: TpmTransport): { transport: TpmTransport; traffic: Uint8Array[] } {
  const traffic: Uint8Array[] = [];
  const send: TpmTransport['send'] = async (command) => {
    const response = await transport.send(command);
    traffic.push(command.slice(), response.slice());
    return response;
  };
  return { transport: { send, close: async () => undefined }, traffic };
}

describe.each([
  ['uTPM', startUtpm, true],
  ['swtpm', startSwtpm, hasSwtpm],
] as const)('the master secret on %s', (_, start, here) => {
  let running: RunningTpm;
  const secret = new Uint8Array(32).map((_byte, i) => i * 7 + 1);

  beforeAll(async () => {
    if (here) running = await start();
  });
  afterAll(async () => {
    if (here) await running.close();
  });

  it.runIf(here)('is written and read back, and never crosses the wire in the clear', async () => {
    const { transport, traffic } = tapped(running.transport);
    const platform = platformOn(transport);
    expect(await platform.masterState()).toBe('absent');
    await platform.createMaster(secret);
    expect(await platform.masterState()).toBe('written');
    expect(await platform.readMaster()).toEqual(secret);
    expect(traffic.length).toBeGreaterThan(10);
    for (const bytes of traffic) expect(Buffer.from(bytes).includes(Buffer.from(secret.subarray(0, 8)))).toBe(false);
  });

  it.runIf(here)('cannot be read with the owner authorization or an empty password', async () => {
    const tpm = new Tpm(running.transport);
    const index = { handle: BASE, auth: password('') };
    await expect(tpm.execute(NvRead, { authHandle: index, nvIndex: BASE, size: 32, offset: 0 })).rejects.toThrow();
    const asOwner = { handle: 0x40000001, auth: password('') };
    await expect(tpm.execute(NvRead, { authHandle: asOwner, nvIndex: BASE, size: 32, offset: 0 })).rejects.toThrow();
    expect((await nvReadPublic(tpm, BASE)).public.dataSize).toBe(32);
  });

  it.runIf(here)('notices a change of a bit on the way, in either direction', async () => {
    const platform = platformOn(running.transport);
    await platform.readMaster();
    let count = 0;
    const flipping: TpmTransport = {
      send: async (command) => {
        const response = await running.transport.send(command);
        // TPM2_NV_Read is 0x0000014e; the last byte of the response is in its HMAC or in the data.
        if (new DataView(command.buffer, command.byteOffset).getUint32(6) !== 0x14e) return response;
        count++;
        const changed = response.slice();
        changed[20] = (changed[20] ?? 0) ^ 1;
        return changed;
      },
      close: async () => undefined,
    };
    const attacked = platformOn(flipping);
    await expect(attacked.readMaster()).rejects.toMatchObject({ code: 'tpm' });
    expect(count).toBe(1);
  });

  it.runIf(here)('is refused with a storage root key that is not the one that was named', async () => {
    const platform = platformOn(running.transport, [7], new Uint8Array(34));
    await expect(platform.readMaster()).rejects.toMatchObject({ code: 'refused' });
  });

  it.runIf(here)('is refused after a selected PCR has changed', async () => {
    await extendPcr(new Tpm(running.transport), 7, { sha256: new Uint8Array(32) });
    const platform = platformOn(running.transport);
    expect(await platform.masterState()).toBe('foreign');
    await expect(platform.readMaster()).rejects.toThrow();
  });

  it.runIf(here)('leaves no session and no object behind', async () => {
    const before = await loaded(running.transport);
    const platform = platformOn(running.transport);
    await platform.masterState();
    expect(await loaded(running.transport)).toEqual(before);
    expect(before).toEqual([]);
  });

  it.runIf(here)('has a registry that is refused when its index was undefined and made again', async () => {
    const platform = platformOn(running.transport);
    const host = { platform, store: memoryStore(), master: secret };
    await new HistoryRegistry(host).create();
    const registry = new HistoryRegistry(host);
    await registry.open();
    const index = await registry.allocate(new Uint8Array(32), new Uint8Array(32));
    await registry.add(new Uint8Array(32), index);
    const publicOfRegistry = (await nvReadPublic(new Tpm(running.transport), BASE + 1)).public;
    await new Tpm(running.transport).execute(NvUndefineSpace, { authHandle: TPM_RH.OWNER, nvIndex: BASE + 1 });
    await expect(new HistoryRegistry(host).open()).rejects.toMatchObject({ code: 'refused' });
    await forgeIndex(new Tpm(running.transport), publicOfRegistry);
    await expect(new HistoryRegistry(host).open()).rejects.toMatchObject({ code: 'replay' });
  });

  it.runIf(here)('has a registry that another isolate, which opens it meanwhile, does not put back', async () => {
    const platform = platformOn(running.transport, [7], NONE, BASE + 0x100);
    const store = memoryStore();
    const host = { platform, store, master: secret };
    await new HistoryRegistry(host).create();
    const openAndMark = async () => {
      const registry = new HistoryRegistry(host);
      await registry.open();
      await registry.mark();
    };
    await openAndMark();
    let meanwhile: () => Promise<void> = async () => undefined;
    const put: typeof store.put = async (name, content) => {
      await store.put(name, content);
      await meanwhile();
    };
    const registry = new HistoryRegistry({ ...host, store: { ...store, put } });
    await registry.open();
    const index = await registry.allocate(new Uint8Array(32), new Uint8Array(32));
    meanwhile = openAndMark;
    await registry.add(new Uint8Array(32), index);
    await openAndMark();
  });

  it.runIf(here)('has a registry that opens after two isolates added to it at once, whoever was first', async () => {
    for (const [turn, order] of ['wWEe', 'wWeE'].entries()) {
      const nvBase = BASE + 0x500 + 0x100 * turn;
      const host = { platform: platformOn(running.transport, [7], NONE, nvBase), store: memoryStore(), master: secret };
      await new HistoryRegistry(host).create();
      const turns = new Turns(order);
      const measurements = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
      const adding = measurements.map(async (measurement, i) => {
        const [wrote, extends_] = i === 0 ? ['w', 'e'] : ['W', 'E'];
        const platform = platformOn(turns.before(extends_, running.transport), [7], NONE, nvBase);
        const put: BlobStore['put'] = (name, content) => turns.take(wrote, () => host.store.put(name, content));
        const registry = new HistoryRegistry({ ...host, platform, store: { ...host.store, put } });
        await registry.open();
        await turns.started(2);
        await registry.add(measurement, { slot: 2 + i, auth: NONE, tag: NONE });
      });
      // One that cannot know what the other added is refused, but spoils nothing.
      const added = (await Promise.allSettled(adding)).map(({ status }) => status);
      expect(added).toContain('fulfilled');
      const registry = new HistoryRegistry(host);
      await registry.open();
      const isThere = measurements.map((measurement) => registry.find(measurement) !== undefined);
      expect(isThere).toEqual([true, true]);
    }
  });

  it.runIf(here)('proves the authorization of the owner and never sends it; a wrong one is refused', async () => {
    const tpm = new Tpm(running.transport);
    const ownerAuth = new Uint8Array(20).map((_byte, i) => 0xa0 + i);
    await tpm.execute(HierarchyChangeAuth, { authHandle: TPM_RH.OWNER, newAuth: ownerAuth });
    const { transport, traffic } = tapped(running.transport);
    const options = { pcrs: [7], nvBase: BASE + 0x200, storageKeyName: NONE };
    const platform = new PlatformTpm(transport, { ...options, ownerAuth });
    await platform.createMaster(secret);
    const index: ExtendIndex = { slot: 9, auth: new Uint8Array(32).fill(3), tag: new Uint8Array(32).fill(4) };
    await platform.createExtend(index, new Uint8Array(32));
    await platform.remove(9);
    expect(await platform.readMaster()).toEqual(secret);
    const isSent = traffic.some((bytes) => Buffer.from(bytes).includes(Buffer.from(ownerAuth)));
    expect([traffic.length > 20, isSent]).toEqual([true, false]);
    const wrong = new PlatformTpm(running.transport, { ...options, ownerAuth: Uint8Array.of(1) });
    await expect(wrong.masterState()).rejects.toMatchObject({ code: 'refused', message: /owner/ });
    const authHandle = { handle: TPM_RH.OWNER, auth: password(ownerAuth) };
    await tpm.execute(HierarchyChangeAuth, { authHandle, newAuth: NONE });
    expect(await loaded(running.transport)).toEqual([]);
  });

  it.runIf(here)('is defined by one alone of several that would, and removed only before it is written', async () => {
    const platforms = [1, 2].map(() => platformOn(running.transport, [7], NONE, BASE + 0x300));
    const [one, two] = platforms as [PlatformTpm, PlatformTpm];
    const order: string[] = [];
    const ready = async () => {
      expect(await two.createMaster(secret.toReversed(), async () => void order.push('two'))).toBe(false);
      order.push('one');
    };
    expect(await one.createMaster(secret, ready)).toBe(true);
    expect(order).toEqual(['one']);
    await expect(two.abandonMaster()).rejects.toThrow();
    expect(await two.readMaster()).toEqual(secret);
    await one.remove(0);
    const died = one.createMaster(secret, () => Promise.reject(new Error('the program has died here')));
    await expect(died).rejects.toThrow('died here');
    expect(await two.masterState()).toBe('defined');
    await two.abandonMaster();
    expect(await one.masterState()).toBe('absent');
  });

  it.runIf(here)('is not missed where it was never written, though the PCRs have changed since', async () => {
    const platform = platformOn(running.transport, [16], NONE, BASE + 0x400);
    const change = () => extendPcr(new Tpm(running.transport), 16, { sha256: new Uint8Array(32) });
    await expect(platform.createMaster(secret, () => Promise.reject(new Error('died here')))).rejects.toThrow();
    await change();
    expect(await platform.masterState()).toBe('defined');
    await platform.abandonMaster();
    await platform.createMaster(secret);
    await change();
    expect(await platform.masterState()).toBe('foreign');
    await expect(platform.abandonMaster()).rejects.toThrow();
    expect(await platform.masterState()).toBe('foreign');
  });

  it.runIf(here)('has extend indexes that only their authorization can extend, as SHA-256(old || data)', async () => {
    const platform = platformOn(running.transport);
    const index: ExtendIndex = { slot: 9, auth: new Uint8Array(32).fill(3), tag: new Uint8Array(32).fill(4) };
    await platform.createExtend(index, new Uint8Array(32).fill(5));
    const once = sha256(new Uint8Array(32), new Uint8Array(32).fill(5));
    expect(await platform.readExtend(index)).toEqual(once);
    expect(await platform.extend(index, new Uint8Array(32), Uint8Array.of(1), neverReady)).toBeUndefined();
    expect(await platform.extend(index, once, Uint8Array.of(1))).toEqual(sha256(once, Uint8Array.of(1)));
    const forged = { ...index, auth: new Uint8Array(32) };
    await expect(platform.extend(forged, once, Uint8Array.of(1))).rejects.toMatchObject({ code: 'replay' });
  });
});

/** Lets steps of two programs happen in one order; those that it does not name happen when they like. */
class Turns {
  #left: string;
  #waiting: (() => void)[] = [];
  #starts = 0;

  constructor(order: string) {
    this.#left = order;
  }

  async take<T>(step: string, run: () => Promise<T>): Promise<T> {
    while (this.#left.includes(step) && this.#left[0] !== step) await this.#change();
    const isMine = this.#left[0] === step;
    const result = await run();
    if (isMine) this.#left = this.#left.slice(1);
    this.#wake();
    return result;
  }

  async started(count: number): Promise<void> {
    this.#starts++;
    this.#wake();
    while (this.#starts < count) await this.#change();
  }

  /** TPM2_NV_Extend takes its turn. */
  before(step: string, transport: TpmTransport): TpmTransport {
    return {
      send: (command) => {
        const isExtend = new DataView(command.buffer, command.byteOffset).getUint32(6) === 0x136;
        return isExtend ? this.take(step, () => transport.send(command)) : transport.send(command);
      },
      close: async () => undefined,
    };
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

const neverReady = () => Promise.reject(new Error('must not come to this'));

/** What the owner of the TPM can do: an index that looks the same, with an authorization value of his own. */
async function forgeIndex(tpm: Tpm, publicInfo: TpmsNvPublic): Promise<void> {
  const attributes = publicInfo.attributes & ~TPMA_NV.WRITTEN;
  const authHandle = TPM_RH.OWNER;
  await tpm.execute(NvDefineSpace, { authHandle, auth: new Uint8Array(0), publicInfo: { ...publicInfo, attributes } });
  await tpm.execute(NvExtend, {
    authHandle: publicInfo.nvIndex,
    nvIndex: publicInfo.nvIndex,
    data: new Uint8Array(32),
  });
}

/** The handles of loaded objects, loaded sessions and saved sessions. */
async function loaded(transport: TpmTransport): Promise<readonly number[]> {
  const tpm = new Tpm(transport);
  const found: number[] = [];
  for (const property of [0x80000000, 0x02000000, 0x03000000]) {
    const request = { capability: TPM_CAP.HANDLES, property, propertyCount: 20 };
    const { capabilityData } = await tpm.execute(GetCapability, request);
    if (capabilityData.capability === TPM_CAP.HANDLES) found.push(...capabilityData.data);
  }
  return found;
}
