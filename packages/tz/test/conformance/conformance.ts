import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Device, Manager, Operation, Session, Uuid } from '../../src/index.js';
import { PROBE } from '../probe-service.js';
import { loginRules } from './logins.js';
import { memoryRules } from './memory.js';
import { propertyRules } from './properties.js';
import { runningRules } from './running.js';
import { type Abilities, NOBODY, type Subject, UNDEFINED } from './subject.js';

/** The rules of the TrustZone API 3.0, one test each; `can` names what a device is able to do. */
export function conformance(name: string, open: () => Promise<Subject>, can: Abilities): void {
  describe(`the TZ API on ${name}`, () => {
    let subject: Subject;
    let device: Device;
    let service: Uuid;
    beforeEach(async () => {
      subject = await open();
      ({ device, service } = subject);
    });
    afterEach(() => device[Symbol.asyncDispose]());

    memoryRules(() => subject, can);
    propertyRules(() => subject, can);
    loginRules(() => subject);
    runningRules(() => subject, can);

    describe('device', () => {
      it('is OPEN with no sessions, and UNDEFINED after it is closed', async () => {
        expect([device.state, device.sessionCount]).toEqual(['OPEN', 0]);
        await device.close();
        expect(device.state).toBe('UNDEFINED');
        await expect(device.close()).rejects.toThrow(UNDEFINED);
        expect(() => device.prepareOpen(service)).toThrow(UNDEFINED);
        expect(() => device.getTimeLimit(1)).toThrow(UNDEFINED);
        await expect(device.openManager()).rejects.toThrow(UNDEFINED);
      });

      it('refuses to close while it has sessions and stays as it was', async () => {
        const session = await device.openSession(service);
        await expect(device.close()).rejects.toMatchObject({ code: 'TZ_ERROR_ILLEGAL_STATE', number: 12 });
        expect([device.state, device.sessionCount]).toEqual(['OPEN', 1]);
        await session.close();
        await device.close();
      });

      it('counts a session from its preparation to its end, or to the release of an open that failed', async () => {
        const prepared = device.prepareOpen(service);
        expect(device.sessionCount).toBe(1);
        prepared.operation.release();
        expect(device.sessionCount).toBe(0);
        const failing = device.prepareOpen(NOBODY);
        await expect(failing.operation.perform()).rejects.toMatchObject({ code: 'TZ_ERROR_ACCESS_DENIED' });
        expect(device.sessionCount).toBe(1);
        failing.operation.release();
        expect(device.sessionCount).toBe(0);
      });

      it.each([-1, Number.NaN, 2 ** 32])('refuses %s as a time limit', (timeout) => {
        expect(() => device.getTimeLimit(timeout)).toThrow(
          expect.objectContaining({ code: 'TZ_ERROR_ILLEGAL_ARGUMENT' }),
        );
      });

      it("refuses a time limit that is another device's", async () => {
        const other = await open();
        const timeLimit = other.device.getTimeLimit(1000);
        expect(() => device.prepareOpen(service, { timeLimit })).toThrow(UNDEFINED);
        const session = await device.openSession(service);
        expect(() => session.prepareInvoke(PROBE.ECHO, { timeLimit })).toThrow(UNDEFINED);
        expect(session.state).toBe('OPEN');
        await other.device.close();
      });
    });

    describe('session', () => {
      it('is INVALID until its open operation succeeds, then OPEN, and UNDEFINED when closed', async () => {
        const { session, operation } = device.prepareOpen(service);
        expect([session.state, operation.state]).toEqual(['INVALID', 'ENCODE']);
        expect(() => session.prepareInvoke(PROBE.ECHO)).toThrow(UNDEFINED);
        expect(() => session.prepareClose()).toThrow(UNDEFINED);
        await operation.perform();
        expect([session.state, operation.state]).toEqual(['OPEN', 'DECODE']);
        operation.release();
        const close = session.prepareClose();
        expect([session.state, close.state]).toEqual(['CLOSING', 'PERFORMABLE']);
        await close.perform();
        expect([session.state, close.state, device.sessionCount]).toEqual(['UNDEFINED', 'INVALID', 0]);
        close.release();
        expect(() => session.prepareInvoke(PROBE.ECHO)).toThrow(UNDEFINED);
      });

      it('carries a message to the service at its opening and brings the answer, with the login in front', async () => {
        const { session, operation } = device.prepareOpen(service);
        operation.encode([5, Uint8Array.of(6), null]);
        await operation.perform();
        expect(operation.decode()).toEqual([0, 5, Uint8Array.of(6), null]);
        operation.release();
        await session.close();
      });

      it('shows the service the client data of a login, by which it may refuse', async () => {
        const allowed = { login: { clientData: Uint8Array.of(1, 2, 3) } };
        const { session, operation } = device.prepareOpen(service, allowed);
        await operation.perform();
        expect(operation.decodeUint32()).toBe(1);
        operation.release();
        expect(session.state).toBe('OPEN');
        const refused = device.prepareOpen(service, { login: { clientData: new Uint8Array(4) } });
        await expect(refused.operation.perform()).rejects.toMatchObject({
          code: 'TZ_ERROR_SERVICE',
          origin: 'service',
          serviceReturn: 2,
        });
        expect([refused.session.state, refused.operation.state]).toEqual(['INVALID', 'DECODE']);
        refused.operation.release();
        expect(device.sessionCount).toBe(1);
      });

      it('goes back to OPEN when a close is released without being performed', async () => {
        const session = await device.openSession(service);
        const close = session.prepareClose();
        expect(() => session.prepareInvoke(PROBE.ECHO)).toThrow(UNDEFINED);
        expect(() => session.prepareClose()).toThrow(UNDEFINED);
        close.release();
        expect(session.state).toBe('OPEN');
        expect(await session.invoke(PROBE.ECHO, [1])).toEqual([1]);
      });

      it('cannot be closed while it has other operations; those still work in CLOSING', async () => {
        const session = await device.openSession(service);
        const invoke = session.prepareInvoke(PROBE.ECHO);
        const close = session.prepareClose();
        await expect(close.perform()).rejects.toThrow(UNDEFINED);
        expect(close.state).toBe('PERFORMABLE');
        invoke.encodeUint32(3);
        await invoke.perform();
        expect(invoke.decodeUint32()).toBe(3);
        await expect(close.perform()).rejects.toThrow(UNDEFINED);
        invoke.release();
        await close.perform();
        close.release();
      });

      it('to one service may be open several times', async () => {
        const sessions = await Promise.all([1, 2, 3].map(() => device.openSession(service)));
        const answers = await Promise.all(sessions.map((session, i) => session.invoke(PROBE.ECHO, [i])));
        expect(answers).toEqual([[0], [1], [2]]);
        expect(device.sessionCount).toBe(3);
      });

      it('is closed by await using, with whatever was left in it', async () => {
        {
          await using session = await device.openSession(service);
          session.prepareInvoke(PROBE.ECHO);
          session.prepareClose();
        }
        expect(device.sessionCount).toBe(0);
      });

      it.each([-1, 0.5, 2 ** 32, 0xffff_fffd, 0xffff_fffe, 0xffff_ffff])('refuses %s as a command', async (command) => {
        const session = await device.openSession(service);
        expect(() => session.prepareInvoke(command)).toThrow(
          expect.objectContaining({ code: 'TZ_ERROR_ILLEGAL_ARGUMENT' }),
        );
      });
    });

    describe('operation', () => {
      let session: Session;
      beforeEach(async () => {
        session = await device.openSession(service);
      });
      const withState = async (state: string): Promise<Operation> => {
        const operation = session.prepareInvoke(state === 'INVALID' ? PROBE.FAIL : PROBE.ECHO);
        if (state === 'INVALID') operation.cancel();
        if (state !== 'ENCODE') await operation.perform().catch(() => undefined);
        if (state === 'UNDEFINED') operation.release();
        expect(operation.state).toBe(state);
        return operation;
      };

      it.each(['DECODE', 'INVALID', 'UNDEFINED'])('in %s refuses to encode and to be performed', async (state) => {
        const operation = await withState(state);
        expect(() => operation.encodeUint32(1)).toThrow(UNDEFINED);
        expect(() => operation.encodeArray(null)).toThrow(UNDEFINED);
        expect(() => operation.encodeArraySpace(1)).toThrow(UNDEFINED);
        expect(() => operation.encode([1])).toThrow(UNDEFINED);
        await expect(operation.perform()).rejects.toThrow(UNDEFINED);
        expect(operation.state).toBe(state);
      });

      it.each(['ENCODE', 'INVALID', 'UNDEFINED'])('in %s refuses to decode', async (state) => {
        const operation = await withState(state);
        expect(() => operation.decodeUint32()).toThrow(UNDEFINED);
        expect(() => operation.decodeArraySpace()).toThrow(UNDEFINED);
        expect(() => operation.decodeGetType()).toThrow(UNDEFINED);
        expect(() => operation.decodeGetError()).toThrow(UNDEFINED);
        expect(() => operation.decode()).toThrow(UNDEFINED);
      });

      it('is released once', async () => {
        for (const state of ['ENCODE', 'DECODE', 'INVALID']) {
          const operation = await withState(state);
          operation.release();
          expect(operation.state).toBe('UNDEFINED');
          expect(() => operation.release()).toThrow(UNDEFINED);
        }
      });

      it('while it runs refuses everything but a cancellation', async () => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        const running = operation.perform();
        expect(operation.state).toBe('RUNNING');
        expect(() => operation.encodeUint32(1)).toThrow(UNDEFINED);
        expect(() => operation.decodeUint32()).toThrow(UNDEFINED);
        expect(() => operation.release()).toThrow(UNDEFINED);
        await expect(operation.perform()).rejects.toThrow(UNDEFINED);
        await running;
        expect(operation.state).toBe('DECODE');
      });

      it('tells the type of each record, and decodes with an error that sticks', async () => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        operation.encode([1, new Uint8Array(0), null, 2]);
        await operation.perform();
        expect(operation.decodeGetType()).toBe('UINT32');
        expect(operation.decodeUint32()).toBe(1);
        expect(operation.decodeGetType()).toBe('ARRAY');
        expect(operation.decodeArraySpace()).toEqual(new Uint8Array(0));
        expect(operation.decodeArraySpace()).toBeNull();
        expect(operation.decodeGetError()).toBeUndefined();
        expect(operation.decodeArraySpace()).toBeNull();
        expect(operation.decodeGetError()).toBe('TZ_ERROR_DECODE_TYPE');
        expect(operation.decodeUint32()).toBe(0);
        expect(operation.decodeGetType()).toBe('NONE');
      });

      it('past the last record decodes TZ_ERROR_DECODE_NO_DATA', async () => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        await operation.perform();
        expect([operation.decodeGetType(), operation.decodeGetError()]).toEqual(['NONE', undefined]);
        expect([operation.decodeUint32(), operation.decodeGetError()]).toEqual([0, 'TZ_ERROR_DECODE_NO_DATA']);
      });

      it('with an encoder error fails without reaching the service', async () => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        expect(operation.encodeArraySpace(1 << 24)).toBeNull();
        operation.encodeUint32(1);
        await expect(operation.perform()).rejects.toMatchObject({ code: 'TZ_ERROR_ENCODE_MEMORY', origin: 'api' });
        expect(operation.state).toBe('INVALID');
      });

      it('brings an error of the service with its number and still decodes the answer', async () => {
        for (const serviceReturn of [2, 14, 12345, 0xffff_ffff]) {
          const operation = session.prepareInvoke(PROBE.FAIL);
          operation.encodeUint32(serviceReturn);
          await expect(operation.perform()).rejects.toMatchObject({
            code: 'TZ_ERROR_SERVICE',
            number: 16,
            origin: 'service',
            serviceReturn,
          });
          expect(operation.state).toBe('DECODE');
          expect(operation.decodeUint32()).toBe(77);
          operation.release();
        }
      });

      it('of a command that the service does not know fails with TZ_ERROR_NOT_IMPLEMENTED of the service', async () => {
        await expect(session.invoke(1000)).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 14 });
      });

      it('cancelled before it is performed never reaches the service', async () => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        operation.cancel();
        expect(operation.state).toBe('ENCODE');
        await expect(operation.perform()).rejects.toMatchObject({ code: 'TZ_ERROR_CANCEL', number: 4 });
        expect(operation.state).toBe('INVALID');
        expect(() => operation.cancel()).toThrow(UNDEFINED);
      });

      it('cancelled after it was performed keeps its answer', async () => {
        const operation = session.prepareInvoke(PROBE.ECHO);
        operation.encodeUint32(9);
        await operation.perform();
        operation.cancel();
        expect(operation.decodeUint32()).toBe(9);
      });

      it('that closes cannot be cancelled', () => {
        expect(() => session.prepareClose().cancel()).toThrow(UNDEFINED);
      });

      it('with a time limit that has passed, or a signal that was aborted, is cancelled', async () => {
        await expect(session.invoke(PROBE.ECHO, [], { timeLimit: device.getTimeLimit(0) })).rejects.toMatchObject({
          code: 'TZ_ERROR_CANCEL',
        });
        await expect(session.invoke(PROBE.ECHO, [], { signal: AbortSignal.abort() })).rejects.toMatchObject({
          code: 'TZ_ERROR_CANCEL',
        });
        expect(await session.invoke(PROBE.ECHO, [1], { timeLimit: device.getTimeLimit(10_000) })).toEqual([1]);
      });

      if (can.stop)
        it('is cancelled while it runs: by cancel, by a signal, by its time limit', async () => {
          const operation = session.prepareInvoke(PROBE.SPIN);
          const running = operation.perform();
          setTimeout(() => operation.cancel(), 30);
          await expect(running).rejects.toMatchObject({ code: 'TZ_ERROR_CANCEL' });
          expect(operation.state).toBe('INVALID');
          operation.release();
          await expect(session.invoke(PROBE.SPIN, [], { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
            code: 'TZ_ERROR_CANCEL',
          });
          await expect(session.invoke(PROBE.SPIN, [], { timeLimit: device.getTimeLimit(30) })).rejects.toMatchObject({
            code: 'TZ_ERROR_CANCEL',
          });
          expect(await session.invoke(PROBE.ECHO, [4])).toEqual([4]);
        });

      if (can.stop)
        it('that runs is cancelled and released by await using', async () => {
          let running: Promise<unknown>;
          {
            await using operation = session.prepareInvoke(PROBE.SPIN);
            running = operation.perform().catch((error) => error);
          }
          expect(await running).toMatchObject({ code: 'TZ_ERROR_CANCEL' });
          await session.close();
        });

      it('of a service that crashes fails, and the session can be closed', async () => {
        const operation = session.prepareInvoke(PROBE.TRAP);
        await expect(operation.perform()).rejects.toMatchObject({ code: 'TZ_ERROR_GENERIC', origin: 'service' });
        expect(operation.state).toBe('INVALID');
        expect(await session.invoke(PROBE.ECHO, [7])).toEqual([7]);
        operation.release();
        await session.close();
        expect(device.sessionCount).toBe(0);
      });
    });

    describe('manager', () => {
      let manager: Manager;
      beforeEach(async () => {
        manager = await device.openManager();
      });

      it('lists the services', async () => {
        expect(await manager.getServiceList()).toContain(service);
      });

      it('refuses what is no service with TZ_ERROR_ACCESS_DENIED', async () => {
        await expect(manager.downloadService(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({
          code: 'TZ_ERROR_ACCESS_DENIED',
        });
      });

      it('refuses to remove a service that is not there, or that has sessions', async () => {
        await expect(manager.removeService(NOBODY)).rejects.toMatchObject({ code: 'TZ_ERROR_ACCESS_DENIED' });
        const session = await device.openSession(service);
        await expect(manager.removeService(service)).rejects.toMatchObject({ code: 'TZ_ERROR_BUSY' });
        await session.close();
        await manager.removeService(service);
        expect(await manager.getServiceList()).not.toContain(service);
        await expect(device.openSession(service)).rejects.toMatchObject({ code: 'TZ_ERROR_ACCESS_DENIED' });
      });

      it('cancels what is pending when it is closed, and nothing of it is left', async () => {
        const image = can.image();
        if (!image) return; // a service that is there from the start cannot be downloaded
        await manager.removeService(service);
        const pending = manager.downloadService(image).catch((error) => error);
        await manager.close();
        expect(await pending).toMatchObject({ code: 'TZ_ERROR_CANCEL' });
        await using other = await device.openManager();
        expect(await other.getServiceList()).toEqual([]);
        expect(await other.downloadService(image)).toBe(service);
      });

      it('is closed once; afterwards it does nothing', async () => {
        await manager.close();
        expect(manager.state).toBe('UNDEFINED');
        await expect(manager.close()).rejects.toThrow(UNDEFINED);
        await expect(manager.getServiceList()).rejects.toThrow(UNDEFINED);
        expect(device.sessionCount).toBe(0);
      });
    });
  });
}
