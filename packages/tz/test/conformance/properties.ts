/** Properties, and the service manager's lists: TrustZone API 3.0, sections 5.3.5, 5.5.4, 6.1.13, 6.1.14 and 6.3. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CASEMATE_PROPERTY, type Manager, TZ_NAMESPACE, TZ_PROPERTY } from '../../src/index.js';
import { PROBE } from '../probe-service.js';
import { type Abilities, code, NOBODY, type Subject, UNDEFINED } from './subject.js';

const { SYSTEM, SERVICE, CONFIG, CASEMATE } = TZ_NAMESPACE;
const API_VERSION = { namespace: SYSTEM, name: TZ_PROPERTY.SYS_API_VERSION };
const UUID = { namespace: SERVICE, name: TZ_PROPERTY.SVC_UUID };
const NAME = { namespace: SERVICE, name: TZ_PROPERTY.SVC_NAME };
const VENDOR = { namespace: SERVICE, name: TZ_PROPERTY.SVC_VENDOR };
const text = (value: Uint8Array) => new TextDecoder().decode(value);

/** The rules of properties and of the manager. */
export function propertyRules(subject: () => Subject, can: Abilities): void {
  describe('system property', () => {
    it('API_VERSION is 3.0, and MEMORY_ALIGN a power of two from 8 on', () => {
      const { device } = subject();
      expect(device.getProperty(API_VERSION)).toEqual(Uint8Array.of(0, 0, 3, 0));
      const align = device.getProperty({ namespace: SYSTEM, name: TZ_PROPERTY.SYS_MEMORY_ALIGN });
      const value = new DataView(align.buffer).getUint32(0, true);
      expect(value).toBeGreaterThanOrEqual(8);
      expect(value & (value - 1)).toBe(0);
    });

    it('is in the list with its namespace, and nothing is in it twice', () => {
      const list = subject().device.getPropertyList();
      expect(list).toContainEqual(API_VERSION);
      expect(list).toContainEqual({ namespace: CASEMATE, name: CASEMATE_PROPERTY.ENGINE });
      expect(new Set(list.map((each) => JSON.stringify(each))).size).toBe(list.length);
      for (const name of list) expect(subject().device.getProperty(name)).toBeInstanceOf(Uint8Array);
    });

    it('is queried: no buffer, one that is too short, one that is long enough', () => {
      const { device } = subject();
      expect(device.readProperty(API_VERSION, null)).toBe(4);
      const short = new Uint8Array(3).fill(9);
      expect(() => device.readProperty(API_VERSION, short)).toThrow(code('TZ_ERROR_SHORT_BUFFER', { needed: 4 }));
      expect(short).toEqual(new Uint8Array(3).fill(9));
      const long = new Uint8Array(6).fill(9);
      expect(device.readProperty(API_VERSION, long)).toBe(4);
      expect(long).toEqual(Uint8Array.of(0, 0, 3, 0, 9, 9));
    });

    it('list is queried the same way', () => {
      const { device } = subject();
      const { length } = device.getPropertyList();
      expect(device.getPropertyList(length)).toHaveLength(length);
      expect(() => device.getPropertyList(length - 1)).toThrow(code('TZ_ERROR_SHORT_BUFFER', { needed: length }));
    });

    it('that there is not is denied, and all of them on a device that is closed', async () => {
      const { device } = subject();
      const missing = { namespace: SYSTEM, name: 99 };
      expect(() => device.getProperty(missing)).toThrow(code('TZ_ERROR_ACCESS_DENIED'));
      expect(() => device.readProperty(missing, null)).toThrow(code('TZ_ERROR_ACCESS_DENIED'));
      await device.close();
      expect(() => device.getProperty(API_VERSION)).toThrow(UNDEFINED);
      expect(() => device.getPropertyList()).toThrow(UNDEFINED);
    });

    it('does not change when a caller changes what it was given', () => {
      subject().device.getProperty(API_VERSION).fill(7);
      expect(subject().device.getProperty(API_VERSION)).toEqual(Uint8Array.of(0, 0, 3, 0));
    });
  });

  describe('service property', () => {
    let manager: Manager;
    beforeEach(async () => {
      manager = await subject().device.openManager(); // PUBLIC
    });
    afterEach(() => manager[Symbol.asyncDispose]());

    it('UUID is the one of the list, in the order of RFC 9562', async () => {
      const value = await manager.getServiceProperty(subject().service, UUID);
      expect(Buffer.from(value).toString('hex')).toBe(subject().service.replaceAll('-', ''));
    });

    it('NAME and VENDOR are zero-terminated; the service gives its vendor, and cannot rename itself', async () => {
      expect(text(await manager.getServiceProperty(subject().service, NAME))).toBe('probe\0');
      expect(text(await manager.getServiceProperty(subject().service, VENDOR))).toBe("the probe's vendor\0");
    });

    it('can be one of the service itself, but in no namespace that is not its', async () => {
      const list = await manager.getServicePropertyList(subject().service);
      for (const name of [UUID, NAME, VENDOR, { namespace: SERVICE, name: 100 }, { namespace: 0x12345678, name: 1 }]) {
        expect(list).toContainEqual(name);
      }
      expect(list.filter(({ namespace }) => namespace === SYSTEM || namespace >= TZ_NAMESPACE.CLIENT)).toEqual([]);
      expect(new Set(list.map((each) => JSON.stringify(each))).size).toBe(list.length);
      const own = await manager.getServiceProperty(subject().service, { namespace: SERVICE, name: 100 });
      expect(text(own)).toBe('own\0');
      const hidden = manager.getServiceProperty(subject().service, { namespace: CONFIG, name: 1 });
      await expect(hidden).rejects.toThrow(code('TZ_ERROR_ACCESS_DENIED'));
    });

    it('is queried: no buffer, one that is too short, one that is long enough', async () => {
      const { service } = subject();
      expect(await manager.readServiceProperty(service, UUID, null)).toBe(16);
      const short = new Uint8Array(15);
      await expect(manager.readServiceProperty(service, UUID, short)).rejects.toThrow(
        code('TZ_ERROR_SHORT_BUFFER', { needed: 16 }),
      );
      expect(short).toEqual(new Uint8Array(15));
      expect(await manager.readServiceProperty(service, UUID, new Uint8Array(16))).toBe(16);
      const { length } = await manager.getServicePropertyList(service);
      await expect(manager.getServicePropertyList(service, length - 1)).rejects.toThrow(
        code('TZ_ERROR_SHORT_BUFFER', { needed: length }),
      );
      expect(await manager.getServicePropertyList(service, length)).toHaveLength(length);
    });

    it('of no service, or of no name, is denied', async () => {
      const denied = code('TZ_ERROR_ACCESS_DENIED');
      await expect(manager.getServicePropertyList(NOBODY)).rejects.toThrow(denied);
      await expect(manager.getServiceProperty(NOBODY, UUID)).rejects.toThrow(denied);
      const missing = { namespace: SERVICE, name: 9999 };
      await expect(manager.getServiceProperty(subject().service, missing)).rejects.toThrow(denied);
      await manager.close();
      await expect(manager.getServicePropertyList(subject().service)).rejects.toThrow(UNDEFINED);
      await expect(manager.getServiceProperty(subject().service, UUID)).rejects.toThrow(UNDEFINED);
    });

    it('can be asked while the service has sessions, and does not count as one', async () => {
      const session = await subject().device.openSession(subject().service);
      expect(await manager.getServicePropertyList(subject().service)).toContainEqual(UUID);
      expect(await session.invoke(PROBE.ECHO, [1])).toEqual([1]);
      await session.close();
      await manager.removeService(subject().service);
    });
  });

  describe('service list', () => {
    it('is queried like a buffer', async () => {
      await using manager = await subject().device.openManager();
      expect(await manager.getServiceList()).toEqual([subject().service]);
      expect(await manager.getServiceList(1)).toHaveLength(1);
      await expect(manager.getServiceList(0)).rejects.toThrow(code('TZ_ERROR_SHORT_BUFFER', { needed: 1 }));
    });

    it('is open to several managers at once', async () => {
      const { device, service } = subject();
      await using first = await device.openManager();
      await using second = await device.openManager();
      expect(device.sessionCount).toBe(2);
      expect(await Promise.all([first.getServiceList(), second.getServiceList()])).toEqual([[service], [service]]);
    });

    if (can.addresses)
      it('has a service once, whoever downloads it', async () => {
        const image = can.image();
        if (!image) throw new Error('expected an image');
        await using manager = await subject().device.openManager();
        await expect(manager.downloadService(image)).rejects.toThrow(code('TZ_ERROR_ACCESS_DENIED'));
        expect(await manager.getServiceList()).toEqual([subject().service]);
        await manager.removeService(subject().service);
        expect(await manager.downloadService(image)).toBe(subject().service);
      });
  });
}
