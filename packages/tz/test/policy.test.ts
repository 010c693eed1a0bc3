/** Who may do what, and whose services are accepted; on the device `null`, whose policy is that of the others. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { measurePal, signPal } from '@casemate/pal-linker';
import { openSigningKey } from '@casemate/pal-linker/node';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  applicationDigest,
  CASEMATE_PROPERTY,
  type Credentials,
  type DevicePolicy,
  type DownloadedImage,
  measurementUuid,
  openDevice,
  TZ_LOGIN,
  TZ_NAMESPACE,
  thisProcess,
  uuid,
} from '../src/index.js';
import { code } from './conformance/subject.js';
import { buildPal, probe } from './probe-service.js';

const SERVICE = uuid('6f9619ff-8b86-d011-b42d-00c04fc964ff');
const DENIED = code('TZ_ERROR_ACCESS_DENIED', { origin: 'device' });
const services = { [SERVICE]: probe };
const open = (policy: DevicePolicy) => openDevice({ name: 'null', services, ...policy });

function signer() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return openSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}
const identityOf = (key: { readonly publicKey: Uint8Array }) => createHash('sha256').update(key.publicKey).digest();

describe('the client', () => {
  it('is whom the device says: a process that serves others shows them, not itself', async () => {
    const digest = new Uint8Array(32).fill(7);
    await using device = await open({ caller: () => ({ user: 1234, group: 56, name: '/opt/client', digest }) });
    const { operation } = device.prepareOpen(SERVICE, { login: { user: true, group: true, name: true, digest: true } });
    await operation.perform();
    const name = new TextEncoder().encode('/opt/client');
    expect(operation.decode()).toEqual([TZ_LOGIN.ALL & ~TZ_LOGIN.CLIENT_DATA, 1234, 56, name, digest]);
    operation.release();
  });

  it('that is not known is shown as unknown', async () => {
    await using device = await open({ caller: async () => ({}) });
    const { operation } = device.prepareOpen(SERVICE, { login: { user: true, group: true, name: true, digest: true } });
    await operation.perform();
    expect(operation.decode().slice(1)).toEqual([0xffff_ffff, 0xffff_ffff, null, null]);
    operation.release();
  });

  it('is not asked after where nobody wants to know', async () => {
    let asked = 0;
    const caller = () => {
      asked++;
      return {};
    };
    await using device = await open({ caller });
    await device.openSession(SERVICE);
    await device.openSession(SERVICE, { login: { clientData: new Uint8Array(1) } });
    expect(asked).toBe(0);
  });

  it('shows what it asks for and no more', async () => {
    const seen: Credentials[] = [];
    const admit = (_: unknown, credentials: Credentials) => seen.push(credentials) > 0;
    await using device = await open({ admit, caller: () => ({ user: 1, group: 2, name: 'x' }) });
    await device.openSession(SERVICE, { login: { group: true } });
    expect(seen).toEqual([
      { flags: TZ_LOGIN.GROUP, clientData: undefined, user: undefined, group: 2, name: undefined, digest: undefined },
    ]);
  });

  it('has a digest that anybody can compute who has its executable and its script', async () => {
    const { name } = await thisProcess({ name: true });
    const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
    const parts = [hash(readFileSync(process.execPath)), hash(readFileSync(name ?? ''))];
    const { digest } = await thisProcess({ digest: true });
    expect(digest).toEqual(new Uint8Array(hash(Buffer.concat(parts))));
    expect(digest).toEqual(await applicationDigest(process.execPath, name));
    expect(digest).not.toEqual(await applicationDigest(process.execPath));
  });
});

describe('a session', () => {
  it('is refused by the device to a client that the policy does not admit; the service never hears of it', async () => {
    let calls = 0;
    const count = () => {
      calls++;
      return 0;
    };
    const admit = (_: unknown, { user }: Credentials) => user === 1000;
    const caller = () => ({ user: 1001 });
    await using device = await openDevice({ name: 'null', services: { [SERVICE]: count }, admit, caller });
    await expect(device.openSession(SERVICE, { login: { user: true } })).rejects.toThrow(DENIED);
    await expect(device.openSession(SERVICE)).rejects.toThrow(DENIED);
    expect([calls, device.sessionCount]).toEqual([0, 0]);
    await using other = await open({ admit, caller: () => ({ user: 1000 }) });
    await other.openSession(SERVICE, { login: { user: true } });
  });
});

describe('the manager', () => {
  it('lets everybody list, and only whom the policy lets log in, download and remove', async () => {
    const image = await buildPal('probe.pal.ts');
    const asked: string[] = [];
    const manage = (action: string, { clientData }: Credentials) => {
      asked.push(action);
      return clientData?.[0] === 1;
    };
    await using device = await open({ manage });
    const anybody = await device.openManager();
    expect(await anybody.getServiceList()).toEqual([SERVICE]);
    await expect(anybody.downloadService(image)).rejects.toThrow(DENIED);
    await expect(anybody.removeService(SERVICE)).rejects.toThrow(DENIED);
    const wrong = device.openManager({ login: { clientData: Uint8Array.of(2) } });
    await expect(wrong).rejects.toThrow(DENIED);
    const right = await device.openManager({ login: { clientData: Uint8Array.of(1) } });
    await right.removeService(await right.downloadService(image));
    expect(asked).toEqual(['download', 'remove', 'login', 'login', 'download', 'remove']);
  });
});

describe('a service', () => {
  let image: Uint8Array;
  const vendor = signer();
  const other = signer();
  beforeAll(async () => {
    image = await buildPal('probe.pal.ts');
  });
  const download = async (policy: DevicePolicy, file: Uint8Array) => {
    await using device = await open(policy);
    await using manager = await device.openManager();
    const service = await manager.downloadService(file);
    const casemate = (name: number) => manager.getServiceProperty(service, { namespace: TZ_NAMESPACE.CASEMATE, name });
    return {
      signer: await casemate(CASEMATE_PROPERTY.SIGNER),
      version: await casemate(CASEMATE_PROPERTY.SECURITY_VERSION),
    };
  };

  it('that is signed says by whom, and keeps its UUID', async () => {
    const signed = await signPal(image, vendor, { securityVersion: 3 });
    const found = await download({}, signed);
    expect(Buffer.from(found.signer)).toEqual(identityOf(vendor));
    expect(found.version).toEqual(Uint8Array.of(3, 0, 0, 0));
    await using device = await open({});
    const manager = await device.openManager();
    const service = await manager.downloadService(image);
    await expect(manager.downloadService(signed)).rejects.toThrow(DENIED); // a duplicate
    await manager.removeService(service);
    expect(await manager.downloadService(signed)).toBe(service);
  });

  it('with a signature that is not authentic is refused, whatever the policy', async () => {
    const signed = await signPal(image, vendor);
    for (const at of [signed.length - 1, signed.length - 40, image.length + 30, image.length - 1]) {
      const forged = signed.slice();
      forged[at] = (forged[at] ?? 0) ^ 1;
      await expect(download({}, forged)).rejects.toThrow(DENIED);
      await expect(download({ accept: () => true }, forged)).rejects.toThrow(DENIED);
    }
  });

  it('is accepted by the signers that the policy names, from a security version on', async () => {
    const accept = { signers: [identityOf(other), identityOf(vendor)], minimumSecurityVersion: 2 };
    await download({ accept }, await signPal(image, vendor, { securityVersion: 2 }));
    await expect(download({ accept }, await signPal(image, vendor, { securityVersion: 1 }))).rejects.toThrow(DENIED);
    await expect(download({ accept }, await signPal(image, signer(), { securityVersion: 9 }))).rejects.toThrow(DENIED);
    await expect(download({ accept }, image)).rejects.toThrow(DENIED);
    await expect(download({ accept: { signers: [] } }, await signPal(image, vendor))).rejects.toThrow(DENIED);
  });

  it('is the one that was checked, though the client changes its bytes while that is done', async () => {
    const other = await buildPal('probe.pal.ts', { version: '2' });
    const given = image.slice();
    const accept = async ({ version }: DownloadedImage) => {
      given.set(other);
      return version === '1';
    };
    await using device = await open({ accept });
    const service = await (await device.openManager()).downloadService(given);
    expect(service).toBe(measurementUuid(measurePal(image)));
  });

  it('is accepted by a function that sees its name, version and signature', async () => {
    const seen: DownloadedImage[] = [];
    const accept = async (downloaded: DownloadedImage) => seen.push(downloaded) === 1;
    const signed = await signPal(image, vendor);
    await download({ accept }, signed);
    await expect(download({ accept }, image)).rejects.toThrow(DENIED);
    expect(seen.map(({ name, version, signature }) => [name, version, signature?.algorithm])).toEqual([
      ['probe', '1', 'ecdsa-p256-sha256'],
      ['probe', '1', undefined],
    ]);
  });
});
