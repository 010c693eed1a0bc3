import { accessSync, constants, existsSync } from 'node:fs';
import { memoryStore, openTrustvisor, type Trustvisor } from '@casemate/trustvisor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CASEMATE_PROPERTY, measurementUuid, openDevice, TZ_NAMESPACE, trustvisorDriver } from '../src/index.js';
import { conformance } from './conformance/conformance.js';
import { openSubject } from './conformance/subject.js';
import { buildCProbe, buildPal, PROBE } from './probe-service.js';

const isolate = new URL('../../trustvisor/dist/isolate.js', import.meta.url);
const reason = existsSync(isolate) ? undefined : 'the isolate is not built: cd packages/trustvisor && npx tsup';
const noKvm = reason ?? whyNoKvm();

function whyNoKvm(): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return '/dev/kvm is not there or may not be used';
  }
}

describe.skipIf(noKvm !== undefined && process.env.MUST_RUN !== '1')(
  `with a Trustvisor of virtual machines${noKvm ? ` (${noKvm})` : ''}`,
  () => {
    let image: Uint8Array;
    let trustvisor: Trustvisor;
    beforeAll(async () => {
      image = buildCProbe();
      trustvisor = await openTrustvisor({ store: memoryStore(), engine: 'kvm', insecureAllowEphemeral: true });
    });
    afterAll(() => trustvisor?.close());

    conformance('the trustvisor device, engine kvm', () => openSubject(trustvisorDriver({ trustvisor }), image), {
      stop: true,
      image: () => image,
      forbiddenWrite: 'fault',
      addresses: true,
    });

    it('says which engine runs its services', async () => {
      await using device = await openDevice({ trustvisor });
      const engine = device.getProperty({ namespace: TZ_NAMESPACE.CASEMATE, name: CASEMATE_PROPERTY.ENGINE });
      expect(new TextDecoder().decode(engine)).toBe('kvm\0');
    });
  },
);

describe.skipIf(reason !== undefined && process.env.MUST_RUN !== '1')(
  `with a Trustvisor${reason ? ` (${reason})` : ''}`,
  () => {
    let image: Uint8Array;
    let trustvisor: Trustvisor;
    const lines: string[] = [];
    beforeAll(async () => {
      image = await buildPal('probe.pal.ts');
      trustvisor = await openTrustvisor({
        store: memoryStore(),
        insecureAllowEphemeral: true,
        onPrint: (_, text) => lines.push(text),
      });
    });
    afterAll(() => trustvisor?.close());

    conformance('the trustvisor device, engine wasm', () => openSubject(trustvisorDriver({ trustvisor }), image), {
      stop: true,
      image: () => image,
      forbiddenWrite: 'lost',
      addresses: true,
    });

    describe('the trustvisor device', () => {
      it('serves a PAL that the caller has registered, and leaves it registered', async () => {
        const pal = await trustvisor.register(image);
        const service = measurementUuid(pal.measurement);
        {
          await using device = await openDevice({ trustvisor, pals: [pal] });
          const manager = await device.openManager();
          expect(await manager.getServiceList()).toEqual([service]);
          await expect(manager.removeService(service)).rejects.toMatchObject({ code: 'TZ_ERROR_ACCESS_DENIED' });
          await using session = await device.openSession(service);
          expect(await session.invoke(PROBE.ECHO, [1, null, new Uint8Array(3)])).toEqual([1, null, new Uint8Array(3)]);
        }
        expect((await pal.invoke(PROBE.ECHO, new Uint8Array(0))).returnCode).toBe(0);
        await pal.unregister();
      });

      it('removes what it has installed when it closes', async () => {
        const device = await openDevice({ trustvisor });
        const manager = await device.openManager();
        await manager.downloadService(image);
        await manager.close();
        await device.close();
        const pal = await trustvisor.register(image);
        await pal.unregister();
      });

      it('gives a PAL its uPCRs and shows what it prints', async () => {
        await using device = await openDevice({ trustvisor });
        await using manager = await device.openManager();
        const session = await device.openSession(await manager.downloadService(image));
        const [before, after] = await session.invoke(PROBE.PCR);
        expect(before).toEqual(new Uint8Array(32));
        expect(
          Buffer.from(after as Uint8Array)
            .toString('hex')
            .slice(0, 8),
        ).toBe('f5a5fd42');
        lines.length = 0;
        await session.close();
        expect(lines.join('')).toContain('closed');
      });

      it('gives a PAL the services that need a key: quotes, its identity, sealing', async () => {
        const pal = await trustvisor.register(image);
        await using device = await openDevice({ trustvisor, pals: [pal] });
        await using session = await device.openSession(measurementUuid(pal.measurement));
        const nonce = Uint8Array.from({ length: 32 }, (_, i) => i);
        const [quoted, signature] = await session.invoke(PROBE.QUOTE, [nonce]);
        // TPMS_ATTEST starts with TPM_GENERATED_VALUE and TPM_ST_ATTEST_QUOTE: TPM 2.0 Library, Part 2, 10.12.
        expect(Buffer.from(quoted as Uint8Array).toString('hex')).toMatch(/^ff5443478018/);
        expect(Buffer.from(quoted as Uint8Array).includes(Buffer.from(nonce))).toBe(true);
        expect((signature as Uint8Array).length).toBeGreaterThan(60);
        expect(await session.invoke(PROBE.IDENTITY)).toEqual([pal.identity]);
        const secret = new Uint8Array(3000).fill(7);
        const [blob] = await session.invoke(PROBE.SEAL, [secret]);
        expect(Buffer.from(blob as Uint8Array).includes(Buffer.alloc(16, 7))).toBe(false);
        expect(await session.invoke(PROBE.UNSEAL, [blob as Uint8Array])).toEqual([secret]);
        const forged = (blob as Uint8Array).slice();
        forged[40] = (forged[40] ?? 0) ^ 1;
        await expect(session.invoke(PROBE.UNSEAL, [forged])).rejects.toMatchObject({ serviceReturn: 10 });
      });

      it('tells a crash from an answer: TZ_ERROR_GENERIC of the service', async () => {
        await using device = await openDevice({ trustvisor });
        await using manager = await device.openManager();
        await using session = await device.openSession(await manager.downloadService(image));
        await expect(session.invoke(PROBE.TRAP)).rejects.toMatchObject({ code: 'TZ_ERROR_GENERIC', origin: 'service' });
        expect(await session.invoke(PROBE.ECHO, [5])).toEqual([5]);
      });

      it('ends a PAL that takes too long, by the standard limit of the device', async () => {
        await using device = await openDevice({ trustvisor, timeLimit: 500 });
        await using manager = await device.openManager();
        await using session = await device.openSession(await manager.downloadService(image));
        await expect(session.invoke(PROBE.SPIN)).rejects.toMatchObject({ code: 'TZ_ERROR_CANCEL', origin: 'device' });
      });
    });
  },
);
