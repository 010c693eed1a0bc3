/** Services in C with the SDK: compiled by gcc and clang with all warnings as errors, run on kvm and wasm. */
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryStore, openTrustvisor, type Trustvisor } from '@casemate/trustvisor';
import { openUtpm } from '@casemate/utpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Device, openDevice, type Session, TZ_MEM, type TzInput, type TzValue } from '../src/index.js';
import { type BuiltSdk, buildPal, type Kind, makeSdk, SDK, whatIsMissing, whyNotKvm } from './sdk-build.js';

const missing = whatIsMissing('gcc', 'clang', 'make', 'ar', 'llvm-ar', 'wasm-ld');
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);
const noKvm = whyNotKvm();

/** The order of `svc_command` in sdk/test/service.h. */
const COMMANDS = [
  ...['ECHO', 'PRINT', 'HEAP', 'SORT', 'JUMP', 'EXIT', 'ASSERT', 'LENT', 'NUMBERS', 'STARTED', 'ENDLESS_OUTPUT'],
  ...['TWICE_FREED', 'ERRORS', 'SEAL', 'UNSEAL', 'QUOTE', 'ID_GETPUB', 'PCR_READ', 'PCR_EXTEND', 'RAND', 'TIME', 'NV'],
];
const command = (name: string) => {
  const number = COMMANDS.indexOf(name);
  if (number < 0) throw new Error(`no command ${name}`);
  return number;
};
const text = (value: TzValue | undefined) => (value instanceof Uint8Array ? Buffer.from(value).toString() : `${value}`);
const bytes = (value: TzValue | undefined) => {
  if (value instanceof Uint8Array) return value;
  throw new Error(`expected bytes, got ${value}`);
};

describe.skipIf(missing !== '')(`the SDK for C${missing === '' ? '' : ` (${missing})`}`, () => {
  let place: string;
  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), 'casemate-sdk-'));
  });
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  for (const kind of ['gcc', 'clang', 'wasm'] as const) {
    describe.skipIf(kind !== 'wasm' && noKvm !== '')(
      `a service made by ${kind === 'wasm' ? 'clang for wasm' : kind}`,
      () => {
        services(kind, () => place);
      },
    );
  }
});

function services(kind: Kind, place: () => string): void {
  const engine = kind === 'wasm' ? 'wasm' : 'kvm';
  const printed: string[] = [];
  let sdk: BuiltSdk;
  let image: Uint8Array;
  let trustvisor: Trustvisor;
  let device: Device;
  let session: Session;
  const invoke = (name: string, values: readonly TzInput[] = []) => session.invoke(command(name), values);

  beforeAll(async () => {
    sdk = makeSdk(place(), kind);
    const sources = ['service.c', 'service-tpm.c'].map((name) => join(SDK, 'test', name));
    image = buildPal(sdk, { sources, entry: 'service' });
    const tpm = await openUtpm({ startup: true });
    trustvisor = await openTrustvisor({ tpm, store: memoryStore(), engine, onPrint: (_, line) => printed.push(line) });
    device = await openDevice({ trustvisor });
    const manager = await device.openManager();
    session = await device.openSession(await manager.downloadService(image));
    await manager.close();
  }, 120_000);
  afterAll(async () => {
    await session?.close();
    await device?.close();
    await trustvisor?.close();
  });

  it('decodes and encodes by formats', async () => {
    const answer = await invoke('ECHO', [7, Uint8Array.of(1, 2, 3), 'a text', 9]);
    expect(answer[0]).toBe(7);
    expect(answer[1]).toEqual(Uint8Array.of(1, 2, 3));
    expect(text(answer[2])).toBe('a text\0');
    expect(answer[3]).toEqual(Uint8Array.of(7, 0, 0, 0));
    expect((await invoke('ECHO', [0, null, 'x', 0]))[1]).toBeNull();
    expect((await invoke('ECHO', [0, new Uint8Array(0), 'x', 0]))[1]).toEqual(new Uint8Array(0));
  });

  it('refuses what does not fit: copies without room, bad formats, records of another type', async () => {
    const [littleRoom, needed, noRoom, noFormat, wrongType, isNull] = await invoke('ERRORS', [
      new Uint8Array(9),
      new Uint8Array(1),
      5,
    ]);
    expect([littleRoom, needed, noRoom, noFormat, wrongType, isNull]).toEqual([17, 9, 11, 11, 7, 1]);
    await expect(invoke('ECHO', [1, 2])).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 7 });
    await expect(invoke('ECHO', [1])).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 6 });
    await expect(invoke('ENDLESS_OUTPUT')).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 9 });
  });

  it('prints to the developer, lines at their end and the rest when the call ends', async () => {
    printed.length = 0;
    await invoke('PRINT', [2]);
    expect(printed).toEqual([
      'hello, -1 of 2:  3.14|left  |0xff\n',
      'line 0\n',
      'line 1\n',
      'to standard error: Cannot allocate memory\n',
      'perror: Numerical result out of range\n',
      'written\n',
      'abc',
    ]);
  });

  it('has a heap, of which all comes back', async () => {
    const first = await invoke('HEAP', [1000]);
    expect(first[0]).toBeGreaterThan(500);
    expect(first.slice(1)).toEqual([1, 1]);
    expect(await invoke('HEAP', [1000])).toEqual(first);
    await expect(invoke('TWICE_FREED')).rejects.toMatchObject({ origin: 'service' });
  });

  it('sorts, searches, and reads and writes numbers', async () => {
    const numbers = Uint32Array.from({ length: 1000 }, (_, i) => (i * 2654435761) >>> 0);
    const [sorted, found] = await invoke('SORT', [new Uint8Array(numbers.buffer)]);
    const expected = numbers.slice().sort();
    expect(Buffer.from(bytes(sorted))).toEqual(Buffer.from(expected.buffer));
    expect(found).toBe(expected[500]);
    expect(text((await invoke('NUMBERS', ['2.5e-3xyz']))[0])).toBe('0.0025000000000000001 0x1.47ae147ae147bp-9 2 6\0');
  });

  it('jumps out of calls, where the engine has jumps', async () => {
    if (engine === 'kvm') expect(await invoke('JUMP')).toEqual([3, 4]);
    else await expect(invoke('JUMP')).rejects.toMatchObject({ serviceReturn: 14 });
  });

  it('ends a call by exit or by an assertion, and goes on with the next', async () => {
    printed.length = 0;
    const ended = engine === 'kvm' ? { code: 'TZ_ERROR_SERVICE', serviceReturn: 10 } : { origin: 'service' };
    await expect(invoke('EXIT')).rejects.toMatchObject(ended);
    expect(printed).toEqual(['goodbye\n']);
    await expect(invoke('ASSERT')).rejects.toMatchObject({ code: 'TZ_ERROR_GENERIC', origin: 'service' });
    expect(printed[1]).toMatch(/service\.c:\d+: service: Assertion `uiCommand == SVC_ECHO' failed\.\n$/);
    expect((await invoke('ECHO', [3, null, '', 0]))[0]).toBe(3);
  });

  it('runs constructors once, before anything else', async () => {
    expect(await invoke('STARTED')).toEqual([1]);
    expect(await invoke('STARTED')).toEqual([1]);
  });

  it('works on memory that the client lends', async () => {
    using source = await session.allocateSharedMemory(5000, TZ_MEM.SERVICE_RO);
    using target = await session.allocateSharedMemory(5000, TZ_MEM.SERVICE_WO);
    source.write(0, new Uint8Array(5000).fill(1));
    await using operation = session.prepareInvoke(command('LENT'));
    operation.encodeMemoryReference(source, 8, 4001, TZ_MEM.SERVICE_RO);
    operation.encodeMemoryReference(target, 16, 100, TZ_MEM.SERVICE_WO);
    await operation.perform();
    expect(operation.decodeUint32()).toBe(4001);
    expect(target.read(16, 100)).toEqual(new Uint8Array(100).fill(4001 & 255));
  });

  it('has uPCRs of 20 bytes', async () => {
    const measurement = randomBytes(20);
    const zero = new Uint8Array(20);
    expect(await invoke('PCR_READ', [7])).toEqual([zero]);
    await invoke('PCR_EXTEND', [3, new Uint8Array(measurement)]);
    const expected = createHash('sha1').update(zero).update(measurement).digest();
    expect(Buffer.from(bytes((await invoke('PCR_READ', [3]))[0]))).toEqual(expected);
    await expect(invoke('PCR_READ', [8])).rejects.toMatchObject({ serviceReturn: 10 });
  });

  it('seals to uPCRs, in the room that the TEE-SDK takes for it, and unseals where they are as they must be', async () => {
    const secret = new TextEncoder().encode('hello pal-ly boy');
    const info = new Uint8Array(43);
    info.set([1, 0, 0x80]);
    info.set(Buffer.from('c608a1e6eb7d0f886b15756b2983bed2e58619cb', 'hex'), 3);
    const unsealed = async (policy: Uint8Array | null) => {
      const [blob, length] = await invoke('SEAL', [policy, secret]);
      const [data, creation, size] = await invoke('UNSEAL', [bytes(blob).slice(0, Number(length))]);
      return { data: bytes(data).slice(0, Number(size)), creation: Buffer.from(bytes(creation)).toString('hex') };
    };
    expect(await unsealed(info)).toEqual({ data: secret, creation: 'c608a1e6eb7d0f886b15756b2983bed2e58619cb' });
    expect((await unsealed(new Uint8Array(43))).data).toEqual(secret);
    expect((await unsealed(null)).data).toEqual(secret);
    info[5] = 0;
    await expect(unsealed(info)).rejects.toMatchObject({ serviceReturn: 15 });
    const [blob, length] = await invoke('SEAL', [null, secret]);
    const changed = bytes(blob).slice(0, Number(length));
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    await expect(invoke('UNSEAL', [changed])).rejects.toMatchObject({ serviceReturn: 15 });
  });

  it('quotes its uPCRs with an RSA key that OpenSSL verifies', async () => {
    const nonce = new Uint8Array(randomBytes(20));
    const [key, needed] = await invoke('ID_GETPUB');
    expect(bytes(key)).toHaveLength(Number(needed));
    const publicKey = createPublicKey({ key: Buffer.from(bytes(key)), format: 'der', type: 'pkcs1' });
    const [signature, composite, signatureSize, compositeSize] = await invoke('QUOTE', [
      nonce,
      Uint8Array.of(1, 0, 0x88),
    ]);
    const values = bytes(composite).slice(0, Number(compositeSize));
    expect([signatureSize, compositeSize]).toEqual([256, 3 + 4 + 40]);
    expect(Buffer.from(values.slice(0, 7)).toString('hex')).toBe('01008800000028');
    const digest = createHash('sha1').update(values).digest();
    const quoted = Buffer.concat([Buffer.from([1, 1, 0, 0]), Buffer.from('QUOT'), digest, nonce]);
    expect(verify('sha1', quoted, publicKey, bytes(signature).slice(0, 256))).toBe(true);
    quoted[47] = (quoted[47] ?? 0) ^ 1;
    expect(verify('sha1', quoted, publicKey, bytes(signature).slice(0, 256))).toBe(false);
  });

  it('has randomness in any amount, and time that passes', async () => {
    const [random, atOnce] = await invoke('RAND', [6000]);
    expect(atOnce).toBe(4096);
    expect(new Set(bytes(random)).size).toBe(256);
    expect((await invoke('TIME')).slice(0, 2)).toEqual([1, 1]);
  });

  it('keeps 32 bytes of its own', async () => {
    const [first, second] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const [before] = await invoke('NV', [first]);
    expect(bytes(before)).toHaveLength(32);
    expect(await invoke('NV', [second])).toEqual([first]);
    expect(await invoke('NV', [first])).toEqual([second]);
    await expect(invoke('NV', [new Uint8Array(31)])).rejects.toMatchObject({ serviceReturn: 10 });
  });

  it.skipIf(kind === 'clang')(
    'has histories: a state that grows and stays, that an error leaves alone, and that cannot be rolled back',
    async () => {
      const journal = { sources: [join(SDK, 'test', 'history.c')], entry: 'journal', replayProtected: true };
      const built = buildPal(sdk, journal);
      const tpm = await openUtpm({ startup: true });
      const blobs = new Map<string, Uint8Array>();
      const store = {
        get: async (name: string) => blobs.get(name),
        put: async (name: string, blob: Uint8Array) => void blobs.set(name, blob.slice()),
        delete: async (name: string) => void blobs.delete(name),
      };
      const use = async (...requests: readonly (readonly [number, ...TzInput[]])[]) => {
        await using own = await openTrustvisor({ tpm, store, engine });
        await using at = await openDevice({ trustvisor: own });
        const manager = await at.openManager();
        await using opened = await at.openSession(await manager.downloadService(built));
        await manager.close();
        const answers: (readonly TzValue[])[] = [];
        for (const [number, ...values] of requests) {
          const asked = opened.invoke(number, values);
          answers.push(await asked.catch(({ serviceReturn }) => [-serviceReturn]));
        }
        return answers;
      };
      const [append, read, spoil, empty] = [0, 1, 2, 3];
      const lines = [700, 800].map((length, i) => new Uint8Array(length).fill(i + 1));
      const whole = new Uint8Array(Buffer.concat(lines));
      const [first, second] = lines.map((line) => [append, line] as const);
      if (!first || !second) throw new Error('unreachable');
      expect(await use([read], first)).toEqual([[0, new Uint8Array(0)], [1]]);
      const older = new Map(blobs);
      expect(await use(second, [spoil], [empty], [9], [read])).toEqual([[2], [-6], [-15], [-14], [2, whole]]);
      const newest = new Map(blobs);
      for (const [name, blob] of older) blobs.set(name, blob);
      await expect(use([read])).rejects.toMatchObject({ code: 'TZ_ERROR_SECURITY', cause: { code: 'replay' } });

      for (const [name, blob] of newest) blobs.set(name, blob);
      expect(await use([read])).toEqual([[2, whole]]);
      await tpm.close();
    },
  );

  it('is the same image when it is built again', () => {
    const sources = ['service.c', 'service-tpm.c'].map((name) => join(SDK, 'test', name));
    expect(Buffer.from(buildPal(sdk, { sources, entry: 'service' })).equals(image)).toBe(true);
  });
}
