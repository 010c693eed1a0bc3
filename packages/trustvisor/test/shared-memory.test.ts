/** Memory that is lent for a call: the same program on both engines, mapped or copied, and with an isolate elsewhere. */
import { openSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type SharedMemory, type Trustvisor } from '../src/index.js';
import { openArenaFile, SharedPool } from '../src/shared-memory.js';
import { counter, SERVICE, services } from './pals.js';
import { buildProgram, whyNoPrograms } from './programs.js';
import { remoteIsolate } from './streams.js';

const NONE = new Uint8Array(0);
const LENT = {
  list: 0,
  sum: 1,
  fill: 2,
  xor: 3,
  keep: 4,
  use: 5,
  before: 6,
  behind: 7,
  rand: 8,
  over: 9,
  print: 10,
  trap: 11,
  code: 12,
};
const words = (text: string) => new TextEncoder().encode(text);

for (const engine of ['wasm', 'kvm'] as const) {
  const missing = whyNoPrograms(engine);
  describe.each(['here', 'elsewhere'] as const)(
    `lent memory on ${engine}, with an isolate %s${missing && ` (skipped: ${missing})`}`,
    (place) => {
      let trustvisor: Trustvisor;
      let pal: Pal;
      let memory: SharedMemory;
      const printed: string[] = [];
      const lend = (offset: number, length: number, access: 'read' | 'write' | 'read-write') => ({
        lend: [{ memory, offset, length, access }],
      });

      beforeAll(async () => {
        if (missing) return;
        const isolate = place === 'elsewhere' ? { isolate: (await remoteIsolate()).isolate } : {};
        trustvisor = await openTrustvisor({
          ...{ engine, store: memoryStore(), insecureAllowEphemeral: true, onPrint: (_, text) => printed.push(text) },
          ...isolate,
        });
        pal = await trustvisor.register(buildProgram(engine, ['lent.c']));
        memory = await trustvisor.allocateShared(20_000);
      });
      afterAll(() => trustvisor?.close());

      const test = it.skipIf(missing !== '');

      test('is there for the call, with address, length and access, and nothing else is', async () => {
        const { returnCode, output } = await pal.invoke(LENT.list, NONE, {
          lend: [
            { memory, offset: 100, length: 5000, access: 'read' },
            { memory, offset: 8192, length: 1, access: 'write' },
            { memory, offset: 16384, length: 3616, access: 'read-write' },
          ],
        });
        const view = new DataView(output.buffer, output.byteOffset);
        const seen = [0, 1, 2].map((i) => [view.getBigUint64(24 * i + 8, true), view.getUint32(24 * i + 16, true)]);
        expect([returnCode, seen]).toEqual([
          3,
          [
            [5000n, 1],
            [1n, 2],
            [3616n, 3],
          ],
        ]);
        const addresses = [0, 1, 2].map((i) => view.getBigUint64(24 * i, true));
        expect(addresses.every((address, i) => i === 0 || address > (addresses[i - 1] ?? 0n) + 1n)).toBe(true);
        expect((await pal.invoke(LENT.list, NONE)).returnCode).toBe(0);
      });

      test('is read and written in place, at any offset and length', async () => {
        const bytes = new Uint8Array(20_000).map((_, i) => (i * 7) % 251);
        memory.write(0, bytes);
        for (const [offset, length] of [
          [0, 20_000],
          [1, 4096],
          [4095, 2],
          [19_999, 1],
          [8192, 4096],
        ] as const) {
          const expected = bytes.subarray(offset, offset + length).reduce((sum, byte) => sum + byte, 0);
          expect((await pal.invoke(LENT.sum, NONE, lend(offset, length, 'read'))).returnCode).toBe(expected);
        }
        await pal.invoke(LENT.fill, Uint8Array.of(0xaa), lend(4090, 10, 'write'));
        expect(memory.read(4085, 20)).toEqual(
          bytes.slice(4085, 4105).map((byte, i) => (i >= 5 && i < 15 ? 0xaa : byte)),
        );
        memory.write(0, words('hello'));
        await pal.invoke(LENT.xor, NONE, {
          lend: [
            { memory, offset: 0, length: 5, access: 'read' },
            { memory, offset: 5, length: 5, access: 'read-write' },
          ],
        });
        expect(memory.read(5, 5)).toEqual(words('hello').map((byte) => byte ^ 1));
      });

      test('is unchanged where it is lent for reading', async () => {
        memory.write(0, words('unchanged'));
        const outcome = await pal.invoke(LENT.fill, Uint8Array.of(1), lend(0, 9, 'read')).catch((error) => error);
        if (engine === 'kvm') expect(outcome).toMatchObject({ code: 'fault', fault: 'out-of-bounds' });
        expect(memory.read(0, 9)).toEqual(words('unchanged'));
      });

      test('is gone after the call, for a PAL that kept the address too', async () => {
        memory.write(0, Uint8Array.of(77));
        for (let round = 0; round < 3; round++) {
          expect((await pal.invoke(LENT.keep, NONE, lend(0, 4096, 'read-write'))).returnCode).toBe(77);
          const later = await pal.invoke(LENT.use, NONE).catch((error) => error);
          if (engine === 'kvm') expect(later).toMatchObject({ code: 'fault', fault: 'out-of-bounds' });
          else expect(later.returnCode).toBe(0);
        }
      });

      it.skipIf(missing !== '' || engine !== 'kvm')('lies between unmapped pages, and is no code', async () => {
        for (const command of [LENT.before, LENT.behind, LENT.code]) {
          await expect(pal.invoke(command, NONE, lend(4096, 4096, 'read-write'))).rejects.toMatchObject({
            fault: 'out-of-bounds',
          });
        }
      });

      test('takes what services give and gives what they take, within its bounds', async () => {
        memory.write(0, new Uint8Array(64));
        expect((await pal.invoke(LENT.rand, NONE, lend(0, 64, 'write'))).returnCode).toBe(0);
        expect(new Set(memory.read(0, 64)).size).toBeGreaterThan(20);
        if (engine === 'kvm') {
          expect((await pal.invoke(LENT.over, NONE, lend(0, 64, 'write'))).returnCode).toBe(1);
          expect((await pal.invoke(LENT.rand, NONE, lend(0, 64, 'read'))).returnCode).toBe(1);
        }
        memory.write(0, words('said from lent memory'));
        await pal.invoke(LENT.print, NONE, lend(0, 21, 'read'));
        expect(printed).toContain('said from lent memory');
      });

      test('comes back after a fault, a timeout and an abort', async () => {
        await expect(pal.invoke(LENT.trap, NONE, lend(0, 16, 'read-write'))).rejects.toMatchObject({ code: 'fault' });
        memory.write(0, Uint8Array.of(1, 2, 3));
        expect((await pal.invoke(LENT.sum, NONE, lend(0, 3, 'read'))).returnCode).toBe(6);
      });

      test('is refused with a clear error where it is not to be had', async () => {
        const other = new SharedPool(undefined).allocate(100);
        const refused = async (problem: RegExp, ...lend: readonly object[]) => {
          const error = await pal.invoke(LENT.list, NONE, { lend: lend as never }).catch((thrown) => thrown);
          expect(error).toMatchObject({ code: 'input', message: expect.stringMatching(problem) });
        };
        const one = { memory, offset: 0, length: 1, access: 'read' };
        await refused(/within 20000 bytes, got 20001 at 0/, { ...one, length: 20_001 });
        await refused(/got 2 at 19999/, { ...one, offset: 19_999, length: 2 });
        await refused(/at least one byte/, { ...one, length: 0 });
        await refused(/got 1 at -1/, { ...one, offset: -1 });
        await refused(/got 1.5 at 0/, { ...one, length: 1.5 });
        await refused(/got 1 at 4294967296/, { ...one, offset: 2 ** 32 });
        await refused(/access read, write or read-write, got execute/, { ...one, access: 'execute' });
        await refused(/of this Trustvisor/, { ...one, memory: other });
        await refused(/0 to 1 overlaps the range 0 to 1/, one, { ...one, access: 'write' });
        await refused(/at most 16 ranges, got 17/, ...Array.from({ length: 17 }, () => one));
        expect(
          (await pal.invoke(LENT.list, NONE, { lend: Array.from({ length: 16 }, () => one) as never })).returnCode,
        ).toBe(16);
      });

      test('cannot be used by the application, lent again or released while it is lent', async () => {
        const call = pal.invoke(LENT.sum, NONE, lend(0, 4096, 'read-write'));
        expect(() => memory.read(0, 1)).toThrowError(/is lent to a call/);
        expect(() => memory.write(4095, Uint8Array.of(1))).toThrowError(/is lent to a call/);
        expect(memory.read(4096, 1)).toHaveLength(1);
        await expect(pal.invoke(LENT.sum, NONE, lend(4095, 10, 'read'))).rejects.toMatchObject({ code: 'input' });
        expect(() => memory.release()).toThrowError(/it is lent/);
        await call;
        expect(memory.read(0, 1)).toHaveLength(1);
      });

      test('is released for good, and is zero when it is allocated again', async () => {
        const first = await trustvisor.allocateShared(5000);
        first.write(0, new Uint8Array(5000).fill(9));
        first.release();
        first.release();
        expect(() => first.read(0, 1)).toThrowError(/that was not released/);
        await expect(
          pal.invoke(LENT.sum, NONE, { lend: [{ memory: first, offset: 0, length: 1, access: 'read' }] }),
        ).rejects.toMatchObject({ code: 'input' });
        const second = await trustvisor.allocateShared(5000);
        expect(second.read(0, 5000)).toEqual(new Uint8Array(5000));
        for (const size of [0, -1, 1.5, 2 ** 40, Number.NaN]) {
          await expect(trustvisor.allocateShared(size)).rejects.toMatchObject({ code: 'input' });
        }
      });
    },
  );
}

describe('shared memory', () => {
  it('is not for PALs that are protected against replay', async () => {
    const { openUtpm } = await import('@casemate/utpm');
    const tpm = await openUtpm({ startup: true });
    await using trustvisor = await openTrustvisor({ tpm, store: memoryStore() });
    const pal = await trustvisor.register(counter());
    const memory = await trustvisor.allocateShared(1);
    const call = pal.invoke(0, Uint8Array.of(1), { lend: [{ memory, offset: 0, length: 1, access: 'read' }] });
    await expect(call).rejects.toMatchObject({
      code: 'input',
      message: expect.stringMatching(/protected against replay/),
    });
    expect((await pal.invoke(1, NONE)).output).toEqual(new Uint8Array(8));
    await tpm.close();
  });

  it('is used again where blocks were released, in any order', () => {
    const pool = new SharedPool(openArenaFile());
    const blocks = Array.from({ length: 8 }, (_, i) => pool.allocate(4096 * (i + 1)));
    for (const i of [3, 1, 2, 0]) blocks[i]?.release();
    const again = pool.allocate(4096 * 10);
    again.write(0, new Uint8Array(4096 * 10).fill(1));
    expect(blocks[4]?.read(0, 10)).toEqual(new Uint8Array(10));
    expect(() => pool.allocate(256 * 1024 * 1024)).toThrowError(expect.objectContaining({ code: 'memory' }));
    pool.close();
    expect(() => again.read(0, 1)).toThrowError(expect.objectContaining({ code: 'closed' }));
  });

  it.skipIf(process.platform !== 'linux')('is refused with an error of its own where the system has no room', () => {
    const pool = new SharedPool(openSync('/dev/full', 'r+'));
    expect(() => pool.allocate(1)).toThrowError(expect.objectContaining({ name: 'TrustvisorError', code: 'memory' }));
    pool.close();
  });

  it('answers BAD_PARAM to a PAL that is lent nothing', async () => {
    await using trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
    const pal = await trustvisor.register(services());
    expect((await pal.invoke(SERVICE.identity, NONE)).returnCode).toBe(0);
  });
});
