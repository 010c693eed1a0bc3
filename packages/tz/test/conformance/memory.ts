/** Shared memory: TrustZone API 3.0, sections 4.4, 6.1.10 to 6.1.12 and 6.2.4. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Encoder, encodeBuffer, type Operation, type Session, type SharedMemory, TZ_MEM } from '../../src/index.js';
import { PROBE } from '../probe-service.js';
import { type Abilities, code, type Subject, UNDEFINED } from './subject.js';

const { SERVICE_RO, SERVICE_WO, SERVICE_RW } = TZ_MEM;
const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + 1) & 0xff);

/** The rules of shared memory. */
export function memoryRules(subject: () => Subject, can: Abilities): void {
  describe('shared memory', () => {
    let session: Session;
    beforeEach(async () => {
      session = await subject().device.openSession(subject().service);
    });
    const failsToEncode = async (operation: Operation, error = 'TZ_ERROR_ENCODE_FORMAT') => {
      await expect(operation.perform()).rejects.toThrow(code(error, { origin: 'api' }));
      expect(operation.state).toBe('INVALID');
    };
    const referring = (memory: SharedMemory, offset: number, length: number, flags = memory.flags): Operation => {
      const operation = session.prepareInvoke(PROBE.LENT_INFO);
      operation.encodeMemoryReference(memory, offset, length, flags);
      return operation;
    };

    it('is OPEN and zero when it is allocated, and UNDEFINED after its release', async () => {
      const memory = await session.allocateSharedMemory(10, SERVICE_RW);
      expect([memory.state, memory.length, memory.flags, memory.references]).toEqual(['OPEN', 10, 3, 0]);
      expect(memory.read()).toEqual(new Uint8Array(10));
      memory.write(3, Uint8Array.of(1, 2));
      expect(memory.read(2, 4)).toEqual(Uint8Array.of(0, 1, 2, 0));
      memory.release();
      expect(memory.state).toBe('UNDEFINED');
      expect(() => memory.release()).toThrow(UNDEFINED);
      expect(() => memory.read()).toThrow(UNDEFINED);
      expect(() => memory.write(0, new Uint8Array(1))).toThrow(UNDEFINED);
      expect(() => referring(memory, 0, 1)).toThrow(UNDEFINED);
    });

    it('is zero again where another block has been', async () => {
      const first = await session.allocateSharedMemory(5000, SERVICE_RW);
      first.write(0, new Uint8Array(5000).fill(9));
      first.release();
      using second = await session.allocateSharedMemory(5000, SERVICE_RW);
      expect(second.read()).toEqual(new Uint8Array(5000));
    });

    it('can be made in an OPEN session alone', async () => {
      const { device, service } = subject();
      const opening = device.prepareOpen(service);
      await expect(opening.session.allocateSharedMemory(8, SERVICE_RO)).rejects.toThrow(UNDEFINED);
      opening.operation.release();
      const close = session.prepareClose();
      await expect(session.allocateSharedMemory(8, SERVICE_RO)).rejects.toThrow(UNDEFINED);
      await expect(session.registerSharedMemory(new Uint8Array(8), SERVICE_RO)).rejects.toThrow(UNDEFINED);
      await close.perform();
      close.release();
      await expect(session.allocateSharedMemory(8, SERVICE_RO)).rejects.toThrow(UNDEFINED);
    });

    it('needs a length and flags', async () => {
      await expect(session.allocateSharedMemory(0, SERVICE_RO)).rejects.toThrow(UNDEFINED);
      await expect(session.registerSharedMemory(new Uint8Array(0), SERVICE_RO)).rejects.toThrow(UNDEFINED);
      for (const flags of [0, 4, 7]) {
        await expect(session.allocateSharedMemory(8, flags as typeof SERVICE_RO)).rejects.toThrow(UNDEFINED);
      }
      for (const length of [-1, 0.5, Number.NaN, 2 ** 32]) {
        const illegal = code('TZ_ERROR_ILLEGAL_ARGUMENT');
        await expect(session.allocateSharedMemory(length, SERVICE_RO)).rejects.toThrow(illegal);
      }
    });

    it('that is more than there is fails with TZ_ERROR_MEMORY', async () => {
      await expect(session.allocateSharedMemory(0xffff_ffff, SERVICE_RO)).rejects.toThrow(code('TZ_ERROR_MEMORY'));
    });

    it('carries bytes of a range to the service', async () => {
      using memory = await session.allocateSharedMemory(5000, SERVICE_RO);
      memory.write(0, pattern(5000));
      const [all] = await session.invoke(PROBE.LENT_READ, [0, 5000, memory.range()]);
      expect(all).toEqual(pattern(5000));
      const [some] = await session.invoke(PROBE.LENT_READ, [10, 20, memory.range(100, 1000)]);
      expect(some).toEqual(pattern(5000).slice(110, 130));
      expect(memory.read()).toEqual(pattern(5000));
    });

    it('brings back what the service wrote, and nothing beside the range', async () => {
      using memory = await session.allocateSharedMemory(9000, SERVICE_WO);
      memory.write(0, pattern(9000));
      await session.invoke(PROBE.LENT_FILL, [0x5a, memory.range(4000, 3000)]);
      expect(memory.read(4000, 3000)).toEqual(new Uint8Array(3000).fill(0x5a));
      expect(memory.read(0, 4000)).toEqual(pattern(9000).slice(0, 4000));
      expect(memory.read(7000, 2000)).toEqual(pattern(9000).slice(7000));
    });

    it('goes both ways', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      memory.write(0, pattern(100));
      await session.invoke(PROBE.LENT_XOR, [0xff, memory.range(1, 98)]);
      const expected = pattern(100).map((byte, i) => (i === 0 || i === 99 ? byte : byte ^ 0xff));
      expect(memory.read()).toEqual(expected);
    });

    it(`that the service may only read stays as it is: a write is ${can.forbiddenWrite}`, async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      memory.write(0, pattern(100));
      const call = session.invoke(PROBE.LENT_FILL, [1, memory.range(0, 100, SERVICE_RO)]);
      if (can.forbiddenWrite === 'lost') await call;
      if (can.forbiddenWrite === 'refused') await expect(call).rejects.toThrow(code('TZ_ERROR_ACCESS_DENIED'));
      if (can.forbiddenWrite === 'fault') {
        await expect(call).rejects.toThrow(code('TZ_ERROR_GENERIC', { origin: 'service' }));
      }
      expect(memory.read()).toEqual(pattern(100));
    });

    it('that the service may only write tells it so', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_WO);
      const call = session.invoke(PROBE.LENT_READ, [0, 1, memory.range()]);
      await expect(call).rejects.toThrow(code('TZ_ERROR_SERVICE', { serviceReturn: 2 }));
    });

    it.each([
      ['more than its block allows', SERVICE_RO, SERVICE_WO],
      ['both, where its block allows one', SERVICE_WO, SERVICE_RW],
      ['nothing', SERVICE_RW, 0],
      ['what there is not', SERVICE_RW, 4],
      ['what there is and what there is not', SERVICE_RW, 7],
    ])('refuses a reference that allows %s', async (_, block, reference) => {
      using memory = await session.allocateSharedMemory(100, block);
      await using operation = referring(memory, 0, 1, reference as typeof SERVICE_RO);
      await failsToEncode(operation);
      expect(memory.references).toBe(0);
    });

    it.each([
      [0, 101],
      [100, 1],
      [0, 0],
      [-1, 2],
      [1, -1],
      [0.5, 1],
      [0, Number.NaN],
      [0xffff_ffff, 2],
      [2, 0xffff_ffff],
    ])('refuses a reference to bytes that are not there: %d, %d long', async (offset, length) => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      await using operation = referring(memory, offset, length);
      await failsToEncode(operation);
    });

    it('refuses references that overlap, in one operation and in two', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      const first = referring(memory, 40, 20);
      for (const [offset, length] of [
        [40, 20],
        [0, 41],
        [59, 1],
        [50, 2],
        [0, 100],
      ] as const) {
        await using second = referring(memory, offset, length, SERVICE_RO);
        await failsToEncode(second);
      }
      await using adjacent = referring(memory, 0, 40);
      adjacent.encodeMemoryReference(memory, 60, 40, SERVICE_RO);
      await adjacent.perform();
      expect(adjacent.decode().filter((_, i) => i % 3 !== 2)).toEqual([40, 3, 40, 1]);
      first.encodeMemoryReference(memory, 59, 2, SERVICE_RO);
      await failsToEncode(first);
      expect(memory.references).toBe(0);
    });

    it('is referred to until the operation has been performed, or is released', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      const performed = referring(memory, 0, 100);
      expect(memory.references).toBe(1);
      expect(() => memory.release()).toThrow(UNDEFINED);
      await performed.perform();
      expect([memory.references, performed.state]).toEqual([0, 'DECODE']);
      const released = referring(memory, 0, 100);
      released.release();
      expect(memory.references).toBe(0);
      const cancelled = referring(memory, 0, 100);
      cancelled.cancel();
      await expect(cancelled.perform()).rejects.toThrow(code('TZ_ERROR_CANCEL'));
      expect(memory.references).toBe(0);
      const failed = session.prepareInvoke(PROBE.FAIL);
      failed.encode([5, memory.range()]);
      await expect(failed.perform()).rejects.toThrow(code('TZ_ERROR_SERVICE', { serviceReturn: 5 }));
      expect([memory.references, failed.decodeUint32()]).toEqual([0, 77]);
    });

    it('is not for the client while a reference lives; its neighbours are', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      const operation = referring(memory, 10, 10);
      expect(() => memory.write(19, new Uint8Array(1))).toThrow(UNDEFINED);
      expect(() => memory.read(0, 11)).toThrow(UNDEFINED);
      memory.write(0, new Uint8Array(10).fill(1));
      memory.write(20, new Uint8Array(80).fill(2));
      expect(memory.read(20, 1)).toEqual(Uint8Array.of(2));
      operation.release();
      memory.write(10, new Uint8Array(10));
    });

    it.each([
      [101, 0],
      [0, 101],
      [-1, 1],
      [0.5, 1],
    ])('refuses the client what is beyond its end: %d, %d long', async (offset, length) => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      expect(() => memory.read(offset, length)).toThrow(code('TZ_ERROR_ILLEGAL_ARGUMENT'));
      expect(() => memory.write(offset, new Uint8Array(length))).toThrow(code('TZ_ERROR_ILLEGAL_ARGUMENT'));
    });

    it('belongs to its session', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      const other = await subject().device.openSession(subject().service);
      await using operation = other.prepareInvoke(PROBE.LENT_INFO);
      operation.encodeMemoryReference(memory, 0, 1, SERVICE_RO);
      await failsToEncode(operation);
      const opening = subject().device.prepareOpen(subject().service).operation;
      opening.encodeMemoryReference(memory, 0, 1, SERVICE_RO);
      await failsToEncode(opening);
      opening.release();
    });

    it('is not referred to by a reference that does not fit into the message', async () => {
      using memory = await session.allocateSharedMemory(100, SERVICE_RW);
      const operation = session.prepareInvoke(PROBE.LENT_INFO);
      operation.encodeArraySpace(16_384 - 8 - 12);
      operation.encodeMemoryReference(memory, 0, 1, SERVICE_RO);
      expect(memory.references).toBe(0);
      await failsToEncode(operation, 'TZ_ERROR_ENCODE_MEMORY');
    });

    it('is lent in up to sixteen ranges, in their order', async () => {
      using memory = await session.allocateSharedMemory(1000, SERVICE_RW);
      const ranges = Array.from({ length: 16 }, (_, i) => memory.range(i * 32, i + 1, ([1, 2, 3] as const)[i % 3]));
      const infos = await session.invoke(PROBE.LENT_INFO, ranges);
      expect(infos.filter((_, i) => i % 3 === 0)).toEqual(ranges.map(({ length }) => length));
      expect(infos.filter((_, i) => i % 3 === 1)).toEqual(ranges.map(({ flags }) => flags));
      const tooMany = session.invoke(PROBE.LENT_INFO, [...ranges, memory.range(900, 1)]);
      await expect(tooMany).rejects.toThrow(code('TZ_ERROR_ENCODE_MEMORY'));
      expect(memory.references).toBe(0);
    });

    it('several blocks can be lent together', async () => {
      using first = await session.allocateSharedMemory(10, SERVICE_RO);
      using second = await session.allocateSharedMemory(10, SERVICE_RO);
      first.write(0, new Uint8Array(10).fill(1));
      second.write(0, new Uint8Array(10).fill(2));
      const operation = session.prepareInvoke(PROBE.LENT_READ);
      operation.encode([9, 1, second.range(), first.range()]);
      await operation.perform();
      expect(operation.decode()).toEqual([Uint8Array.of(2)]);
    });

    if (can.addresses)
      it('has addresses that are multiples of 8 where offsets are', async () => {
        using memory = await session.allocateSharedMemory(100, SERVICE_RW);
        const infos = await session.invoke(PROBE.LENT_INFO, [
          memory.range(0, 5),
          memory.range(8, 3),
          memory.range(64, 9),
        ]);
        expect(infos.filter((_, i) => i % 3 === 2)).toEqual([0, 0, 0]);
      });

    it('keeps its session from being closed, and can be used while it is CLOSING', async () => {
      const memory = await session.allocateSharedMemory(8, SERVICE_RO);
      const invoke = session.prepareInvoke(PROBE.LENT_READ);
      const close = session.prepareClose();
      await expect(close.perform()).rejects.toThrow(UNDEFINED);
      invoke.encode([0, 8, memory.range()]);
      await invoke.perform();
      expect(invoke.decodeArraySpace()).toEqual(new Uint8Array(8));
      invoke.release();
      await expect(close.perform()).rejects.toThrow(UNDEFINED);
      expect(close.state).toBe('PERFORMABLE');
      memory.release();
      await close.perform();
      close.release();
    });

    it('is released by await using of its session, also while it is lent', async () => {
      const other = await subject().device.openSession(subject().service);
      const memory = await other.allocateSharedMemory(8, SERVICE_RO);
      {
        await using _ = other;
        const operation = other.prepareInvoke(PROBE.LENT_INFO);
        operation.encode([memory.range()]);
        operation.asyncStart();
      }
      expect([memory.state, other.state]).toEqual(['UNDEFINED', 'UNDEFINED']);
    });

    it('that the client registers is seen as it is when an operation is performed, and written where that says', async () => {
      const mine = new Uint8Array(100);
      using memory = await session.registerSharedMemory(mine, SERVICE_RW);
      const operation = session.prepareInvoke(PROBE.LENT_READ);
      mine.fill(7);
      operation.encode([0, 100, memory.range(0, 100, SERVICE_RO)]);
      mine.fill(8); // before it is performed; afterwards it would be undefined
      await operation.perform();
      expect(operation.decodeArraySpace()).toEqual(new Uint8Array(100).fill(8));
      await session.invoke(PROBE.LENT_FILL, [9, memory.range(10, 5, SERVICE_WO)]);
      expect(mine).toEqual(Uint8Array.from({ length: 100 }, (_, i) => (i >= 10 && i < 15 ? 9 : 8)));
      expect(memory.read()).toEqual(mine);
      memory.write(0, Uint8Array.of(1));
      expect(mine[0]).toBe(1);
    });

    it('can be a mebibyte', async () => {
      using memory = await session.allocateSharedMemory(1 << 20, SERVICE_RW);
      memory.write(0, pattern(1 << 20));
      await session.invoke(PROBE.LENT_XOR, [0x55, memory.range()]);
      expect(
        Buffer.compare(
          memory.read(),
          pattern(1 << 20).map((byte) => byte ^ 0x55),
        ),
      ).toBe(0);
    });

    it('that the message names but nobody lent is refused by the service', async () => {
      const connection = await subject().driver.open();
      const { signal } = new AbortController();
      const image = can.image();
      const service = image
        ? await connection.openManager({}).then((manager) => manager.download(image, signal))
        : subject().service;
      const none = { signal, onCancel: () => () => undefined, timeLimit: undefined, lend: [] };
      const channel = await connection.openSession(service, {}, encodeBuffer([]), none);
      const block = await connection.memory?.allocate(64);
      if (!block) throw new Error('expected shared memory');
      const lend = [{ memory: block, offset: 8, length: 16, flags: SERVICE_RO }];
      const answer = async (reference: { index: number; length: number; flags: 1 | 2 | 3 }) => {
        const encoder = new Encoder();
        encoder.memoryReference(reference);
        return (await channel.invoke(PROBE.LENT_INFO, encoder.finish(), { ...none, lend })).returnCode;
      };
      expect(await answer({ index: 0, length: 16, flags: SERVICE_RO })).toBe(0);
      expect(await answer({ index: 1, length: 16, flags: SERVICE_RO })).toBe(7);
      expect(await answer({ index: 0xffff_ffff, length: 16, flags: SERVICE_RO })).toBe(7);
      expect(await answer({ index: 0, length: 17, flags: SERVICE_RO })).toBe(7);
      expect(await answer({ index: 0, length: 16, flags: SERVICE_RW })).toBe(7);
      expect(await channel.invoke(PROBE.LENT_INFO, encodeBuffer([]), none)).toMatchObject({ returnCode: 0 });
      block.release();
      await channel.close();
      await connection.close();
    });
  });
}
