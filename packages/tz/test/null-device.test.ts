import { beforeAll, describe, expect, it } from 'vitest';
import { nullDriver, openDevice, TZ_COMMAND, uuid } from '../src/index.js';
import { conformance } from './conformance/conformance.js';
import { openSubject } from './conformance/subject.js';
import { buildPal, probe } from './probe-service.js';

const SERVICE = uuid('6f9619ff-8b86-d011-b42d-00c04fc964ff');

/** A promise that the test settles. */
function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

let image: Uint8Array;
beforeAll(async () => {
  image = await buildPal('probe.pal.ts');
});

conformance(
  'the null device with a TypeScript service',
  async () => {
    const driver = nullDriver({ services: { [SERVICE]: { handle: probe, name: 'probe' } } });
    return { driver, device: await openDevice({ driver }), service: SERVICE };
  },
  { stop: true, image: () => undefined, forbiddenWrite: 'refused', addresses: false },
);

conformance('the null device with a PAL', () => openSubject(nullDriver(), image), {
  stop: false,
  image: () => image,
  forbiddenWrite: 'lost',
  addresses: true,
});

describe('the null device', () => {
  it('refuses the same service twice', async () => {
    await using device = await openDevice({ name: 'null' });
    const manager = await device.openManager();
    await manager.downloadService(image);
    await expect(manager.downloadService(image)).rejects.toMatchObject({
      code: 'TZ_ERROR_ACCESS_DENIED',
      origin: 'device',
    });
  });

  it('accepts a session for a service that has no handler for it', async () => {
    await using device = await openDevice({ name: 'null', services: { [SERVICE]: () => 14 } });
    const session = await device.openSession(SERVICE);
    await session.close();
  });

  it('ends a session whatever the service answers to its close', async () => {
    const service = (command: number) => {
      if (command === 0xffff_ffff) throw new Error('will not');
      return 0;
    };
    await using device = await openDevice({ name: 'null', services: { [SERVICE]: service } });
    const session = await device.openSession(SERVICE);
    await expect(session.close()).rejects.toMatchObject({ code: 'TZ_ERROR_GENERIC', origin: 'service' });
    expect([session.state, device.sessionCount]).toEqual(['UNDEFINED', 0]);
  });

  it('is closed by await using with all its sessions, also where a service fails at their close', async () => {
    const closed: number[] = [];
    const failing = (command: number) => {
      if (command === TZ_COMMAND.CLOSE) throw new Error(`will not ${closed.push(1)}`);
      return 0;
    };
    const connection = { ended: 0 };
    const inner = nullDriver({ services: { [SERVICE]: failing } });
    const open = async () => {
      const opened = await inner.open();
      const close = () => {
        connection.ended++;
        return opened.close();
      };
      return { ...opened, close };
    };
    const device = await openDevice({ driver: { name: 'counted', open } });
    const sessions = [await device.openSession(SERVICE), await device.openSession(SERVICE)];
    await expect(device[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'TZ_ERROR_GENERIC', origin: 'service' });
    expect(closed.length).toBe(2);
    expect(sessions.map(({ state }) => state)).toEqual(['UNDEFINED', 'UNDEFINED']);
    expect([device.state, connection.ended]).toEqual(['UNDEFINED', 1]);
  });

  it('removes no service while a session is being opened with it', async () => {
    const asked = deferred<void>();
    const decision = deferred<boolean>();
    await using device = await openDevice({
      name: 'null',
      admit: () => {
        asked.resolve();
        return decision.promise;
      },
    });
    await using manager = await device.openManager();
    const service = await manager.downloadService(image);
    const opening = device.openSession(service);
    await asked.promise;
    await expect(manager.removeService(service)).rejects.toMatchObject({ code: 'TZ_ERROR_BUSY' });
    decision.resolve(true);
    await (await opening).close();
    const removals = await Promise.allSettled([manager.removeService(service), manager.removeService(service)]);
    expect(removals.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    await expect(device.openSession(service)).rejects.toMatchObject({ code: 'TZ_ERROR_ACCESS_DENIED' });
  });

  it('prints what a PAL prints', async () => {
    const lines: string[] = [];
    await using device = await openDevice({ name: 'null', print: (text) => lines.push(text) });
    const manager = await device.openManager();
    const session = await device.openSession(await manager.downloadService(image));
    await session.close();
    expect(lines).toEqual(['closed']);
  });

  it('turns the failure of a driver to open into a TzError with its cause', async () => {
    const cause = new Error('no such device');
    const driver = { name: 'broken', open: () => Promise.reject(cause) };
    await expect(openDevice({ driver })).rejects.toMatchObject({ code: 'TZ_ERROR_COMMUNICATION', cause });
  });
});
