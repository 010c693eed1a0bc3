import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { memoryStore, openTrustvisor, type Trustvisor } from '@casemate/trustvisor';
import { openUtpm } from '@casemate/utpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CASEMATE_PROPERTY,
  loadAndOpen,
  measurementUuid,
  openDevice,
  type Session,
  TZ_MEM,
  TZ_NAMESPACE,
  trustvisorDriver,
} from '../src/index.js';
import { conformance } from './conformance/conformance.js';
import { code, openSubject } from './conformance/subject.js';
import { buildCProbe, buildPal, PROBE } from './probe-service.js';

const isolate = new URL('../../trustvisor/dist/isolate.js', import.meta.url);
const reason = existsSync(isolate) ? undefined : 'the isolate is not built: cd packages/trustvisor && npx tsup';
const noKvm = reason ?? whyNoKvm();

/** Bytes that this process has written to files and streams. */
function written(): number {
  return Number(/wchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

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

    it('passes a mebibyte of shared memory by writing it once: nothing of it goes through a stream', async () => {
      await using loaded = await loadAndOpen(image, { trustvisor });
      using memory = await loaded.session.allocateSharedMemory(1 << 20, TZ_MEM.SERVICE_RW);
      await loaded.session.invoke(PROBE.LENT_INFO, [memory.range()]);
      const start = written();
      memory.write(0, new Uint8Array(1 << 20).fill(1));
      const stored = written();
      await loaded.session.invoke(PROBE.LENT_XOR, [3, memory.range()]);
      const called = written();
      expect(stored - start).toBe(1 << 20);
      expect(called - stored).toBeLessThan(4096);
      expect(memory.read(1 << 19, 2)).toEqual(Uint8Array.of(2, 2));
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

      it('takes a service from its image to an open session and back, in one', async () => {
        const loaded = await loadAndOpen(image, { trustvisor, serviceLogin: { user: true }, openWithin: 10_000 });
        expect(await loaded.session.invoke(PROBE.ECHO, [1, 'text'], { returns: ['uint32', 'text'] })).toEqual([
          1,
          'text',
        ]);
        expect(await loaded.session.invoke(PROBE.ECHO, [1, null], { returns: ['skip', 'array'] })).toEqual([null]);
        await loaded.close();
        expect([loaded.session.state, loaded.device.state]).toEqual(['UNDEFINED', 'UNDEFINED']);
        await using again = await loadAndOpen(image, { trustvisor });
        expect(again.service).toBe(loaded.service);
      });

      it('undoes what was done where a service cannot be opened', async () => {
        const serviceLogin = { clientData: new Uint8Array(4) }; // which the probe refuses
        await expect(loadAndOpen(image, { trustvisor, serviceLogin })).rejects.toThrow(code('TZ_ERROR_SERVICE'));
        await expect(loadAndOpen(image.slice(1), { trustvisor })).rejects.toThrow(code('TZ_ERROR_ACCESS_DENIED'));
        await using again = await loadAndOpen(image, { trustvisor });
        expect(again.session.state).toBe('OPEN');
      });

      it('answers TZ_ERROR_COMMUNICATION when its isolate has gone, and can still be closed', async () => {
        const own = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
        const device = await openDevice({ trustvisor: own });
        const manager = await device.openManager();
        const session = await device.openSession(await manager.downloadService(image));
        const memory = await session.allocateSharedMemory(8, 3);
        process.kill(own.pid ?? 0, 'SIGKILL');
        await expect(session.invoke(PROBE.ECHO)).rejects.toThrow(code('TZ_ERROR_COMMUNICATION'));
        memory.release();
        await expect(session.close()).rejects.toThrow(code('TZ_ERROR_COMMUNICATION'));
        expect(session.state).toBe('UNDEFINED');
        await manager.close();
        await device.close().catch(() => undefined); // it says that the isolate could not be told
        expect(device.state).toBe('UNDEFINED');
        await own.close();
      });

      it('answers TZ_ERROR_SECURITY for a service whose state is not its latest', async () => {
        const tpm = await openUtpm({ startup: true });
        const stored = new Map<string, Uint8Array>();
        const store = {
          get: async (name: string) => stored.get(name),
          put: async (name: string, content: Uint8Array) => void stored.set(name, content),
          delete: async (name: string) => void stored.delete(name),
        };
        const protectedImage = await buildPal('probe.pal.ts', { replayProtected: true });
        const run = async () => {
          await using own = await openTrustvisor({ tpm, store });
          await using loaded = await loadAndOpen(protectedImage, { trustvisor: own });
          return await loaded.session.invoke(PROBE.ECHO, [1]);
        };
        expect(await run()).toEqual([1]);
        const old = new Map(stored);
        expect(await run()).toEqual([1]);
        for (const [name, content] of old) stored.set(name, content);
        await expect(run()).rejects.toThrow(code('TZ_ERROR_SECURITY', { origin: 'device' }));
        await tpm.close();
      });

      it('gives a service what outlives it: a counter, protected memory, seals with labels', async () => {
        const tpm = await openUtpm({ startup: true });
        const store = memoryStore();
        const run = async <T>(use: (session: Session) => Promise<T>) => {
          await using own = await openTrustvisor({ tpm, store });
          await using loaded = await loadAndOpen(image, { trustvisor: own });
          return await use(loaded.session);
        };
        const secret = Uint8Array.of(1, 2, 3);
        const extra = Uint8Array.of(9);
        const [first, [blob]] = await run(async (session) => [
          await session.invoke(PROBE.KEPT),
          await session.invoke(PROBE.SEAL_DATA, [secret, extra], { returns: ['array'] }),
        ]);
        const [before, after, size] = first as readonly number[];
        expect([after, size]).toEqual([(before ?? 0) + 1, 32]);
        const [second, unsealed] = await run(async (session) => [
          await session.invoke(PROBE.KEPT),
          await session.invoke(PROBE.UNSEAL_DATA, [blob, extra], { returns: ['array', 'uint32', 'array'] }),
        ]);
        expect(second.slice(0, 2)).toEqual([after, (after ?? 0) + 1]);
        expect(second[3]).toEqual(first[4]);
        const label = new Uint8Array(32);
        label.set(new TextEncoder().encode('probe'));
        expect(unsealed).toEqual([secret, 3, label]);
        const forged = run((session) => session.invoke(PROBE.UNSEAL_DATA, [blob, Uint8Array.of(8)]));
        await expect(forged).rejects.toThrow(code('TZ_ERROR_SERVICE', { serviceReturn: 2 }));
        await tpm.close();
      });

      it('gives a service the uPCRs of TrustVisor itself', async () => {
        await using loaded = await loadAndOpen(image, { trustvisor });
        const [zero, extended] = await loaded.session.invoke(PROBE.CLASSIC);
        expect(zero).toEqual(new Uint8Array(20));
        const sha1 = createHash('sha1').update(new Uint8Array(40)).digest('hex');
        expect(Buffer.from(extended as Uint8Array).toString('hex')).toBe(sha1);
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
