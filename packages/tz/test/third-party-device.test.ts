/** The public interface by which others add devices. */
import { describe, expect, it } from 'vitest';
import { openDevice, TZ_MEM, TZ_NAMESPACE, TZ_PROPERTY } from '../src/index.js';
import { code, NOBODY } from './conformance/subject.js';
import { ADDER, remoteDriver } from './third-party-device.js';

describe('a device of somebody else', () => {
  it('opens sessions, invokes and closes like any other', async () => {
    await using device = await openDevice({ driver: remoteDriver() });
    await using first = await device.openSession(ADDER);
    await using second = await device.openSession(ADDER, { login: { user: true } });
    expect(await second.invoke(1, [1, 2, 3])).toEqual([6, 2]);
    expect(await first.invoke(1, [], { returns: ['uint32'] })).toEqual([0]);
    await expect(first.invoke(99)).rejects.toThrow(code('TZ_ERROR_SERVICE', { serviceReturn: 4711 }));
    await expect(device.openSession(NOBODY)).rejects.toThrow(code('TZ_ERROR_ACCESS_DENIED'));
  });

  it('has its own capacity', async () => {
    await using device = await openDevice({ driver: remoteDriver() });
    await using session = await device.openSession(ADDER);
    const call = session.invoke(1, [new Uint8Array(300)]);
    await expect(call).rejects.toThrow(code('TZ_ERROR_ENCODE_MEMORY'));
  });

  it('answers TZ_ERROR_NOT_IMPLEMENTED for what it cannot', async () => {
    await using device = await openDevice({ driver: remoteDriver() });
    await using session = await device.openSession(ADDER);
    const missing = code('TZ_ERROR_NOT_IMPLEMENTED', { origin: 'device' });
    await expect(session.allocateSharedMemory(8, TZ_MEM.SERVICE_RO)).rejects.toThrow(missing);
    await expect(session.registerSharedMemory(new Uint8Array(8), TZ_MEM.SERVICE_RO)).rejects.toThrow(missing);
    await using manager = await device.openManager();
    await expect(manager.downloadService(new Uint8Array(8))).rejects.toThrow(missing);
  });

  it('has the properties that every device and service has', async () => {
    await using device = await openDevice({ driver: remoteDriver() });
    const align = { namespace: TZ_NAMESPACE.SYSTEM, name: TZ_PROPERTY.SYS_MEMORY_ALIGN };
    expect(device.getProperty(align)).toEqual(Uint8Array.of(8, 0, 0, 0));
    await using manager = await device.openManager();
    const vendor = { namespace: TZ_NAMESPACE.SERVICE, name: TZ_PROPERTY.SVC_VENDOR };
    const value = await manager.getServiceProperty(ADDER, vendor);
    expect(new TextDecoder().decode(value)).toBe('somebody else\0');
  });

  it('that breaks off is an error of communication, with its cause, and everything can be closed', async () => {
    const driver = remoteDriver();
    const device = await openDevice({ driver });
    const session = await device.openSession(ADDER);
    const operation = session.prepareInvoke(1);
    const running = operation.perform();
    driver.cut();
    await expect(running).rejects.toThrow(code('TZ_ERROR_COMMUNICATION', { origin: 'communication' }));
    expect(operation.state).toBe('INVALID');
    operation.release();
    await expect(session.close()).rejects.toThrow(code('TZ_ERROR_COMMUNICATION'));
    expect([session.state, device.sessionCount]).toEqual(['UNDEFINED', 0]);
    await device.close();
  });
});
