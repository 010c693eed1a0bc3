/** Operations that run: asynchronous forms, cancellation, time limits; TrustZone API 3.0, sections 4.5, 4.8 and 7.1. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Operation, type Session, TZ_MEM } from '../../src/index.js';
import { PROBE } from '../probe-service.js';
import { type Abilities, code, type Subject, UNDEFINED } from './subject.js';

/** The rules of operations that run. */
export function runningRules(subject: () => Subject, can: Abilities): void {
  describe('asynchronous operation', () => {
    let session: Session;
    beforeEach(async () => {
      session = await subject().device.openSession(subject().service);
    });
    const done = (operation: Operation, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        operation.asyncStart({ done: resolve, ...(signal ? { signal } : {}) });
      });

    it('is PENDING until it has ended, and then as if it had been performed', async () => {
      const operation = session.prepareInvoke(PROBE.ECHO);
      operation.encodeUint32(5);
      const end = done(operation);
      expect(operation.state).toBe('RUNNING_ASYNC');
      expect(operation.asyncGetResult()).toBe('TZ_PENDING');
      expect(operation.state).toBe('RUNNING_ASYNC');
      await end;
      expect(operation.state).toBe('RUNNING_ASYNC');
      expect(operation.asyncGetResult()).toBe('TZ_SUCCESS');
      expect(operation.state).toBe('DECODE');
      expect(operation.decodeUint32()).toBe(5);
      expect(() => operation.asyncGetResult()).toThrow(UNDEFINED);
      operation.release();
    });

    it('signals once', async () => {
      let signals = 0;
      const operation = session.prepareInvoke(PROBE.ECHO);
      await new Promise<void>((resolve) => operation.asyncStart({ done: () => resolve(void signals++) }));
      operation.asyncGetResult();
      operation.release();
      await session.invoke(PROBE.ECHO);
      expect(signals).toBe(1);
    });

    it('gives its error with its result, and no sooner', async () => {
      const failing = session.prepareInvoke(PROBE.FAIL);
      failing.encodeUint32(12345);
      await done(failing);
      expect(() => failing.asyncGetResult()).toThrow(code('TZ_ERROR_SERVICE', { serviceReturn: 12345 }));
      expect([failing.state, failing.decodeUint32()]).toEqual(['DECODE', 77]);
      const overfull = session.prepareInvoke(PROBE.ECHO);
      overfull.encodeArraySpace(1 << 20);
      await done(overfull);
      expect(() => overfull.asyncGetResult()).toThrow(code('TZ_ERROR_ENCODE_MEMORY'));
      expect(overfull.state).toBe('INVALID');
    });

    it('refuses everything but a cancellation while it runs', async () => {
      const operation = session.prepareInvoke(PROBE.ECHO);
      const end = done(operation);
      expect(() => operation.encodeUint32(1)).toThrow(UNDEFINED);
      expect(() => operation.decodeUint32()).toThrow(UNDEFINED);
      expect(() => operation.asyncStart()).toThrow(UNDEFINED);
      expect(() => operation.release()).toThrow(UNDEFINED);
      await expect(operation.perform()).rejects.toThrow(UNDEFINED);
      await end;
      expect(() => operation.release()).toThrow(UNDEFINED);
      expect(operation.asyncGetResult()).toBe('TZ_SUCCESS');
    });

    it('can be cancelled before and after it has run, as one that is performed', async () => {
      const before = session.prepareInvoke(PROBE.ECHO);
      before.cancel();
      await done(before);
      expect(() => before.asyncGetResult()).toThrow(code('TZ_ERROR_CANCEL'));
      const after = session.prepareInvoke(PROBE.ECHO);
      after.encodeUint32(6);
      await done(after);
      after.cancel();
      expect([after.asyncGetResult(), after.decodeUint32()]).toEqual(['TZ_SUCCESS', 6]);
    });

    it('opens and closes sessions too', async () => {
      const { device, service } = subject();
      const opening = device.prepareOpen(service);
      await done(opening.operation);
      expect(opening.operation.asyncGetResult()).toBe('TZ_SUCCESS');
      opening.operation.release();
      const close = opening.session.prepareClose();
      await done(close);
      expect(close.asyncGetResult()).toBe('TZ_SUCCESS');
      expect([close.state, opening.session.state]).toEqual(['INVALID', 'UNDEFINED']);
      close.release();
    });

    it('of a close is refused at once while the session has other operations', () => {
      session.prepareInvoke(PROBE.ECHO);
      const close = session.prepareClose();
      expect(() => close.asyncStart()).toThrow(UNDEFINED);
      expect(close.state).toBe('PERFORMABLE');
    });

    it('runs beside others of its session', async () => {
      const operations = [1, 2, 3, 4].map((value) => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        operation.encodeUint32(value);
        return operation;
      });
      await Promise.all(operations.map((operation) => done(operation)));
      const answers = operations.map((operation) => [operation.asyncGetResult(), operation.decodeUint32()]);
      expect(answers).toEqual([1, 2, 3, 4].map((value) => ['TZ_SUCCESS', value]));
    });

    it('lends its memory until its result is fetched', async () => {
      using memory = await session.allocateSharedMemory(8, TZ_MEM.SERVICE_RW);
      const operation = session.prepareInvoke(PROBE.LENT_XOR);
      operation.encode([3, memory.range()]);
      await done(operation);
      expect(() => memory.read()).toThrow(UNDEFINED);
      operation.asyncGetResult();
      expect(memory.read()).toEqual(new Uint8Array(8).fill(3));
      operation.release();
    });

    if (can.stop)
      it('is cancelled while it runs: by cancel, by a signal, by its time limit, by await using', async () => {
        const byCall = session.prepareInvoke(PROBE.SPIN);
        const end = done(byCall);
        expect(byCall.asyncGetResult()).toBe('TZ_PENDING');
        byCall.cancel();
        await end;
        expect(() => byCall.asyncGetResult()).toThrow(code('TZ_ERROR_CANCEL'));
        expect(byCall.state).toBe('INVALID');
        const bySignal = session.prepareInvoke(PROBE.SPIN);
        await done(bySignal, AbortSignal.timeout(30));
        expect(() => bySignal.asyncGetResult()).toThrow(code('TZ_ERROR_CANCEL'));
        const byLimit = session.prepareInvoke(PROBE.SPIN, { timeLimit: subject().device.getTimeLimit(30) });
        await done(byLimit);
        expect(() => byLimit.asyncGetResult()).toThrow(code('TZ_ERROR_CANCEL'));
        {
          await using byScope = session.prepareInvoke(PROBE.SPIN);
          byScope.asyncStart();
        }
        expect(await session.invoke(PROBE.ECHO, [1])).toEqual([1]);
      });

    if (can.stop)
      it('that is made and released by invoke is cancelled by await using of its session', async () => {
        const other = await subject().device.openSession(subject().service);
        let call: Promise<unknown>;
        {
          await using _ = other;
          call = other.invoke(PROBE.SPIN).catch((error) => error);
        }
        expect(await call).toMatchObject({ code: 'TZ_ERROR_CANCEL' });
        expect(other.state).toBe('UNDEFINED');
      });
  });

  describe('cancellation and time limits', () => {
    let session: Session;
    beforeEach(async () => {
      session = await subject().device.openSession(subject().service);
    });

    it('a limit can be shared by several operations, and one that has passed ends those that are left', async () => {
      const timeLimit = subject().device.getTimeLimit(60_000);
      for (const value of [1, 2]) expect(await session.invoke(PROBE.ECHO, [value], { timeLimit })).toEqual([value]);
      const passed = subject().device.getTimeLimit(0);
      const opening = subject().device.prepareOpen(subject().service, { timeLimit: passed });
      await expect(opening.operation.perform()).rejects.toThrow(code('TZ_ERROR_CANCEL'));
      expect([opening.session.state, opening.operation.state]).toEqual(['INVALID', 'INVALID']);
      opening.operation.release();
      await expect(session.invoke(PROBE.ECHO, [1], { timeLimit: passed })).rejects.toThrow(code('TZ_ERROR_CANCEL'));
    });

    it('takes the longest limit that there is', async () => {
      const timeLimit = subject().device.getTimeLimit(0xffff_ffff);
      expect(await session.invoke(PROBE.ECHO, [1], { timeLimit })).toEqual([1]);
    });

    if (can.stop)
      it('takes its lent memory back from an operation that it ends', async () => {
        using memory = await session.allocateSharedMemory(100, TZ_MEM.SERVICE_RW);
        const operation = session.prepareInvoke(PROBE.SPIN);
        operation.encode([memory.range()]);
        await expect(operation.perform({ signal: AbortSignal.timeout(30) })).rejects.toThrow(code('TZ_ERROR_CANCEL'));
        expect([operation.state, memory.references]).toEqual(['INVALID', 0]);
        memory.write(0, new Uint8Array(100).fill(1));
        await session.invoke(PROBE.LENT_XOR, [1, memory.range()]);
        expect(memory.read()).toEqual(new Uint8Array(100));
        operation.release();
      });

    if (can.stop)
      it('ends one operation and leaves the others of its session', async () => {
        const spinning = session.prepareInvoke(PROBE.SPIN);
        const running = spinning.perform();
        const waiting = session.invoke(PROBE.ECHO, [8]);
        setTimeout(() => spinning.cancel(), 30);
        await expect(running).rejects.toThrow(code('TZ_ERROR_CANCEL'));
        expect(await waiting).toEqual([8]);
        spinning.release();
      });

    it('a close can be neither cancelled nor late', async () => {
      const close = session.prepareClose();
      expect(() => close.cancel()).toThrow(UNDEFINED);
      await close.perform({ signal: AbortSignal.abort() });
      expect([close.state, session.state]).toEqual(['INVALID', 'UNDEFINED']);
      close.release();
    });

    it('an operation whose signal is aborted later, after its end, keeps its answer', async () => {
      const controller = new AbortController();
      const operation = session.prepareInvoke(PROBE.ECHO);
      operation.encodeUint32(3);
      await operation.perform(controller);
      controller.abort();
      expect(operation.decodeUint32()).toBe(3);
      operation.release();
    });
  });
}
