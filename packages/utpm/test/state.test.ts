import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ClockRateAdjust,
  createPrimary,
  EcEphemeral,
  extendPcr,
  GetCapability,
  nvDefine,
  nvRead,
  nvWrite,
  openNv,
  PcrAllocate,
  PcrSetAuthValue,
  password,
  ReadClock,
  ReadPublic,
  readPcrs,
  Shutdown,
  Startup,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CAP,
  TPM_CLOCK_ADJUST,
  TPM_ECC_CURVE,
  TPM_RC,
  TPM_RH,
  TPM_SU,
  Tpm,
  ZGen2Phase,
} from '@casemate/tpm';
import { describe, expect, it } from 'vitest';
import { memoryState, openUtpm, type UtpmState } from '../src/index.js';
import { nobleUtpmCrypto } from '../src/noble-crypto.js';
import { directoryState } from '../src/node.js';
import { decodePermanent } from '../src/permanent.js';
import { fromStored } from '../src/tpm.js';
import { decodeVolatile } from '../src/volatile.js';
import { temporaryDirectory } from './temporary.js';

// A key that agrees on secrets with any other.
const EXCHANGE = {
  type: TPM_ALG.ECC,
  nameAlg: TPM_ALG.SHA256,
  authPolicy: new Uint8Array(0),
  unique: { x: new Uint8Array(0), y: new Uint8Array(0) },
  objectAttributes: 0x20072,
  parameters: {
    symmetric: { algorithm: TPM_ALG.NULL, keyBits: undefined, mode: undefined },
    scheme: { scheme: TPM_ALG.NULL, details: undefined },
    curveID: TPM_ECC_CURVE.NIST_P256,
    kdf: { scheme: TPM_ALG.NULL, details: undefined },
  },
} as const;

const directory = (): string => temporaryDirectory('state');

async function storedBlob(): Promise<Uint8Array> {
  const state = memoryState();
  await (await openUtpm({ state, startup: true })).close();
  return state.snapshot() ?? new Uint8Array(0);
}

describe('stored state', () => {
  it('is refused where any byte of it was changed, and left as it is', async () => {
    const blob = await storedBlob();
    for (let i = 0; i < blob.length; i += 7) {
      const damaged = blob.slice();
      damaged[i] = (damaged[i] ?? 0) ^ 0x20;
      const state = memoryState(damaged);
      await expect(openUtpm({ state })).rejects.toMatchObject({
        code: expect.stringMatching(/state-(damaged|version)/),
      });
      expect(state.snapshot()).toEqual(damaged);
    }
  });

  it('is refused where it was cut off at any byte', async () => {
    const blob = await storedBlob();
    for (let length = 0; length < blob.length; length += 11) {
      const state = memoryState(blob.slice(0, length));
      await expect(openUtpm({ state })).rejects.toMatchObject({ code: 'state-damaged' });
    }
  });

  it('is refused where a later version wrote it', async () => {
    const blob = await storedBlob();
    blob[15] = 2;
    await expect(openUtpm({ state: memoryState(blob) })).rejects.toMatchObject({ code: 'state-version' });
  });

  it('is refused where other seeds were asked for, and seeds of a wrong length are refused before that', async () => {
    const seed = new Uint8Array(32).fill(1);
    const state = memoryState();
    await (await openUtpm({ state, seeds: { owner: seed } })).close();
    const again = memoryState(state.snapshot());
    await (await openUtpm({ state: again, seeds: { owner: seed } })).close();
    const other = { owner: new Uint8Array(32).fill(2) };
    await expect(openUtpm({ state: again, seeds: other })).rejects.toMatchObject({ code: 'seed-mismatch' });
    const short = { owner: new Uint8Array(31) };
    await expect(openUtpm({ seeds: short })).rejects.toMatchObject({ code: 'bad-option' });
  });

  it('that cannot be written fails the command and every later one, instead of an answer that is not kept', async () => {
    let isFull = false;
    const memory = memoryState();
    const save = async (blob: Uint8Array): Promise<void> => {
      if (isFull) throw new Error('no space left');
      await memory.save(blob);
    };
    const state: UtpmState = { ...memory, save };
    const utpm = await openUtpm({ state, startup: true });
    const tpm = new Tpm(utpm);
    const index = await nvDefine(tpm, { index: 0x01800001, size: 4 });
    isFull = true;
    await expect(nvWrite(tpm, index, new Uint8Array(4))).rejects.toThrow();
    await expect(nvRead(tpm, index)).rejects.toMatchObject({ response: { number: TPM_RC.FAILURE } });
    isFull = false;
    // Power on, and what is stored is what there is.
    await utpm.powerCycle();
    await tpm.execute(Startup, { startupType: TPM_SU.CLEAR });
    await expect(nvRead(tpm, index)).rejects.toMatchObject({ response: { number: TPM_RC.NV_UNINITIALIZED } });
    await tpm.close();
  });
});

describe('a state directory', () => {
  it('keeps a TPM, with a file that others cannot read', async () => {
    const path = directory();
    await (await openUtpm({ state: directoryState(path), startup: true })).close();
    expect(readdirSync(path)).toEqual(['utpm.state']);
    const first = readFileSync(join(path, 'utpm.state'));
    await (await openUtpm({ state: directoryState(path) })).close();
    expect(readFileSync(join(path, 'utpm.state'))).toEqual(first);
  });

  it('is open in one TPM at a time', async () => {
    const path = directory();
    const utpm = await openUtpm({ state: directoryState(path) });
    await expect(openUtpm({ state: directoryState(path) })).rejects.toMatchObject({ code: 'state-locked' });
    await utpm.close();
    await (await openUtpm({ state: directoryState(path) })).close();
  });

  it('is refused while another process holds it, and taken over when that process is gone', async () => {
    const path = directory();
    await (await openUtpm({ state: directoryState(path) })).close();
    const child = spawn('sleep', ['60']);
    const pid = child.pid ?? 0;
    const start = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const own = await openUtpm({ state: directoryState(path) });
    const namespace = readdirSync(path)
      .find((name) => name.startsWith('utpm.lock'))
      ?.split('.')
      .at(-1);
    await own.close();
    const lock = join(path, `utpm.lock.${pid}.${start}.${boot}.${namespace}`);
    writeFileSync(lock, '');
    await expect(openUtpm({ state: directoryState(path) })).rejects.toMatchObject({ code: 'state-locked' });
    await new Promise((resolve) => child.once('exit', resolve).kill('SIGKILL'));
    await (await openUtpm({ state: directoryState(path) })).close();
    expect(existsSync(lock)).toBe(false);
  });

  it('is taken over from a process whose number was given to another one, and from before a reboot', async () => {
    const path = directory();
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const own = await openUtpm({ state: directoryState(path) });
    const namespace = readdirSync(path)
      .find((name) => name.startsWith('utpm.lock'))
      ?.split('.')
      .at(-1);
    await own.close();
    writeFileSync(join(path, `utpm.lock.${process.pid}.1.${boot}.${namespace}`), '');
    writeFileSync(join(path, `utpm.lock.1.1.00000000-0000.${namespace}`), '');
    await (await openUtpm({ state: directoryState(path) })).close();
    expect(readdirSync(path)).toEqual(['utpm.state']);
  });
});

describe('a snapshot', () => {
  it('lets a TPM go on in another one: PCRs, loaded objects, sessions, time and NV', async () => {
    const utpm = await openUtpm({ startup: true });
    const first = new Tpm(utpm);
    await extendPcr(first, 11, { sha256: new Uint8Array(32).fill(7) });
    const key = await createPrimary(first, { template: srkTemplate('ecc-p256') });
    const session = await startSession(first, { type: 'hmac' });
    const index = await nvDefine(first, { index: 0x01800001, size: 4 });
    await nvWrite(first, index, Uint8Array.of(1, 2, 3, 4));
    const before = await first.execute(ReadClock, {});
    const snapshot = await utpm.snapshot();

    const state = memoryState();
    const other = await openUtpm({ state });
    await other.powerCycle(snapshot);
    const second = new Tpm(other);
    expect(await readPcrs(second, { sha256: [11] })).toEqual(await readPcrs(first, { sha256: [11] }));
    expect((await second.execute(ReadPublic, { objectHandle: key.handle })).name).toEqual(key.name);
    expect(await nvRead(second, await openNv(second, 0x01800001))).toEqual(Uint8Array.of(1, 2, 3, 4));
    const after = await second.execute(ReadClock, {});
    expect(after.currentTime.time).toBeGreaterThanOrEqual(before.currentTime.time);
    expect(after.currentTime.clockInfo.resetCount).toBe(before.currentTime.clockInfo.resetCount);
    const sessions = await second.execute(GetCapability, {
      capability: TPM_CAP.HANDLES,
      property: session.handle & 0xff000000,
      propertyCount: 3,
    });
    expect(sessions.capabilityData.data).toEqual([session.handle]);
    // The store has the permanent half.
    await second.close();
    expect(await nvRead(new Tpm(await openUtpm({ state, startup: true })), index)).toEqual(Uint8Array.of(1, 2, 3, 4));
    await first.close();
  });

  it('lets it go on with its commitments, the value of its PCRs, its banks to come and the rate of its clock', async () => {
    const utpm = await openUtpm({ startup: true });
    const first = new Tpm(utpm);
    const { Q, counter } = await first.execute(EcEphemeral, { curveID: TPM_ECC_CURVE.NIST_P256 });
    await first.execute(PcrSetAuthValue, { pcrHandle: 20, auth: Uint8Array.of(1, 2) });
    const pcrAllocation = [{ hash: TPM_ALG.SHA256, pcrSelect: Uint8Array.of(255, 255, 255) }] as const;
    await first.execute(PcrAllocate, { authHandle: TPM_RH.PLATFORM, pcrAllocation });
    await first.execute(ClockRateAdjust, { auth: TPM_RH.OWNER, rateAdjust: TPM_CLOCK_ADJUST.COARSE_SLOWER });
    const snapshot = await utpm.snapshot();

    const other = await openUtpm();
    await other.powerCycle(snapshot);
    const second = new Tpm(other);
    expect((await second.execute(EcEphemeral, { curveID: TPM_ECC_CURVE.NIST_P256 })).counter).toBe(counter + 1);
    const keyA = await createPrimary(second, { template: EXCHANGE });
    const exchange = { keyA: keyA.handle, inQsB: Q, inQeB: Q, inScheme: TPM_ALG.ECDH, counter };
    expect((await second.execute(ZGen2Phase, exchange)).outZ2.x.length).toBeGreaterThan(0);
    await expect(second.execute(ZGen2Phase, exchange)).rejects.toMatchObject({ response: { name: 'TPM_RC_VALUE' } });
    const withoutValue = second.execute(PcrSetAuthValue, { pcrHandle: 20, auth: new Uint8Array(0) });
    await expect(withoutValue).rejects.toMatchObject({ response: { name: 'TPM_RC_BAD_AUTH' } });
    const pcrHandle = { handle: 20, auth: password(Uint8Array.of(1, 2)) };
    await second.execute(PcrSetAuthValue, { pcrHandle, auth: new Uint8Array(0) });
    const shutdown = second.execute(Shutdown, { shutdownType: TPM_SU.STATE });
    await expect(shutdown).rejects.toMatchObject({ response: { name: 'TPM_RC_TYPE' } });

    const permanent = fromStored(decodePermanent(snapshot.permanent));
    const now = 1e9;
    const restored = decodeVolatile({ crypto: nobleUtpmCrypto, now: () => now, permanent }, snapshot.volatile);
    expect(restored.clockRate).toBeGreaterThan(30_000);
    await first.close();
    await second.close();
  });

  it('is refused where it was changed, cut off or of another moment, and the TPM is then as it was', async () => {
    const utpm = await openUtpm({ startup: true });
    const tpm = new Tpm(utpm);
    await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    await extendPcr(tpm, 11, { sha256: new Uint8Array(32).fill(7) });
    const pcrs = await readPcrs(tpm, { sha256: [11] });
    const { permanent, volatile } = await utpm.snapshot();
    for (let i = 0; i < volatile.length; i += 13) {
      const damaged = volatile.slice();
      damaged[i] = (damaged[i] ?? 0) ^ 0x40;
      for (const bad of [damaged, volatile.slice(0, i)]) {
        await expect(utpm.powerCycle({ volatile: bad })).rejects.toMatchObject({
          code: expect.stringMatching(/state-(damaged|version)/),
        });
      }
    }
    const other = await openUtpm({ startup: true });
    await other.powerCycle();
    await new Tpm(other).execute(Startup, { startupType: TPM_SU.CLEAR });
    await expect(other.powerCycle({ volatile })).rejects.toMatchObject({ code: 'state-damaged' });
    await expect(other.powerCycle({ permanent: volatile })).rejects.toMatchObject({ code: 'state-damaged' });
    expect(await readPcrs(tpm, { sha256: [11] })).toEqual(pcrs);
    await utpm.powerCycle({ permanent, volatile });
    expect(await readPcrs(tpm, { sha256: [11] })).toEqual(pcrs);
  });

  it('of the volatile state is kept by a directory until it is removed', async () => {
    const path = directory();
    const state = directoryState(path);
    const utpm = await openUtpm({ state, startup: true });
    const { volatile } = await utpm.snapshot();
    expect(await state.loadVolatile()).toBeUndefined();
    await state.saveVolatile(volatile);
    expect(statSync(join(path, 'utpm.volatile')).mode & 0o777).toBe(0o600);
    expect(await directoryState(path).loadVolatile()).toEqual(volatile);
    await state.saveVolatile(undefined);
    expect(await state.loadVolatile()).toBeUndefined();
    await utpm.close();
  });
});

describe('a TPM that was shut down with its state saved', () => {
  it('resumes after it was closed', async () => {
    const state = memoryState();
    const tpm = new Tpm(await openUtpm({ state, startup: true }));
    await extendPcr(tpm, 11, { sha256: new Uint8Array(32).fill(7) });
    const pcrs = await readPcrs(tpm, { sha256: [11] });
    await tpm.execute(Shutdown, { shutdownType: TPM_SU.STATE });
    await tpm.close();
    const again = new Tpm(await openUtpm({ state }));
    await again.execute(Startup, { startupType: TPM_SU.STATE });
    expect(await readPcrs(again, { sha256: [11] })).toEqual(pcrs);
  });
});
