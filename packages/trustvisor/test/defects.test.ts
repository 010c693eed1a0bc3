/** The defects of TrustVisor's own code, by their numbers in the list of them, each shown to be absent. */
import { PAL_STATUS } from '@casemate/pal-linker';
import { TpmsAttest } from '@casemate/tpm';
import { decode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { palOf, ROGUE, rogue, SERVICE, services } from './pals.js';

const NONE = new Uint8Array(0);
const text = (value: string) => new TextEncoder().encode(value);

/** The list: what was wrong there, by the numbers that the notes on TrustVisor give. */
const DEFECTS: Readonly<Record<number, string>> = {
  1: 'a quote loses its errors, reads past its buffers and never gives its length',
  2: 'sealing overflows a buffer where PCRs are selected',
  3: 'unsealing takes blobs that are too short, and compares not in constant time',
  4: 'sealing and unsealing do not look at the size of the output buffer',
  5: 'sealing prints keys and data',
  6: 'lengths wrap around when buffers are decoded and encoded',
  7: 'a range that cannot be shared is said to be shared, and the PAL runs without it',
  8: 'shared memory that was registered is released as garbage',
  9: 'every error becomes the same number, which means something else',
  10: 'a guest can halt the machine',
  11: 'a count from outside decides how much is allocated',
};
const shown = new Set<number>();

/** A test that shows a defect to be absent. */
function absent(number: number, name: string, run: () => Promise<void>): void {
  shown.add(number);
  it(`${number} (${DEFECTS[number]}): ${name}`, run);
}

describe('the defects of TrustVisor', () => {
  let trustvisor: Trustvisor;
  let pal: Pal;
  const printed: string[] = [];
  beforeAll(async () => {
    trustvisor = await openTrustvisor({
      store: memoryStore(),
      insecureAllowEphemeral: true,
      onPrint: (_, line) => printed.push(line),
    });
    pal = await trustvisor.register(services());
  });
  afterAll(() => trustvisor.close());

  absent(
    1,
    'a quote that fails says so, tells its true lengths, and copies nothing for a selection that there is not',
    async () => {
      const nothing = await pal.invoke(SERVICE.quote, Uint8Array.of(0));
      expect(nothing).toEqual({ returnCode: PAL_STATUS.PCR_OUT_OF_RANGE, output: NONE });
      const { output } = await pal.invoke(SERVICE.quote, Uint8Array.of(1, 5));
      const length = new DataView(output.buffer, output.byteOffset).getUint32(0, true);
      expect(decode(TpmsAttest, output.slice(4, 4 + length)).extraData).toEqual(Uint8Array.of(5));
    },
  );

  absent(2, 'seals data of every length up to the capacity, with and without a policy', async () => {
    for (const length of [0, 1, 1983, 1984, 2048, 16000]) {
      const sealed = await pal.invoke(SERVICE.seal, new Uint8Array(length).fill(1));
      expect(sealed.returnCode, `${length} bytes`).toBe(PAL_STATUS.SUCCESS);
      const opened = await pal.invoke(SERVICE.unseal, sealed.output);
      expect(opened.output.subarray(0, -32)).toEqual(new Uint8Array(length).fill(1));
      const bound = await pal.invoke(SERVICE.sealTo, Uint8Array.of(4, 3, 0, 0, 0, ...new Uint8Array(length)));
      expect(bound.returnCode).toBe(PAL_STATUS.SUCCESS);
    }
  });

  absent(3, 'unseals nothing that is too short, at any length, and goes on', async () => {
    const sealed = await pal.invoke(SERVICE.seal, text('x'));
    for (let length = 0; length < sealed.output.length; length++) {
      const cut = await pal.invoke(SERVICE.unseal, sealed.output.subarray(0, length));
      expect(cut).toEqual({ returnCode: PAL_STATUS.REFUSED, output: NONE });
    }
  });

  absent(4, 'writes nothing past the output buffer that the PAL gave', async () => {
    const { returnCode, output } = await pal.invoke(SERVICE.short, text('secret'));
    const words = new DataView(output.buffer, output.byteOffset);
    expect(returnCode).toBe(PAL_STATUS.SHORT_BUFFER);
    expect([words.getUint32(0, true), words.getUint32(4, true), words.getUint32(8, true)]).toEqual([
      0, 0x11223344, 123,
    ]);
  });

  absent(5, 'prints no secret: what a PAL seals appears nowhere outside it', async () => {
    printed.length = 0;
    const marker = 'a marker that no log may hold';
    const sealed = await pal.invoke(SERVICE.seal, text(marker));
    await pal.invoke(SERVICE.unseal, sealed.output);
    expect(printed).toEqual([]);
    expect(Buffer.from(sealed.output).includes(marker)).toBe(false);
  });

  absent(6, 'takes no length that would wrap around: the output a PAL claims is compared as it is', async () => {
    for (const claim of [0xffffffff, 0x80000000, 0xfffffff0, 16385]) {
      const liar = await trustvisor.register(palOf([`(call $end (i32.const ${claim | 0}) (i32.const 0))`]));
      await expect(liar.invoke(0, NONE)).rejects.toMatchObject({ code: 'fault', fault: 'malformed-output' });
      await liar.unregister();
    }
  });

  absent(10, 'ends a call with an error instead of the machine, whatever the PAL does', async () => {
    const bad = await trustvisor.register(rogue({ version: '10' }));
    for (const command of [
      ROGUE.unreachable,
      ROGUE.outOfBounds,
      ROGUE.divide,
      ROGUE.recurse,
      ROGUE.indirect,
      ROGUE.malformed,
    ]) {
      await expect(bad.invoke(command, NONE)).rejects.toMatchObject({ code: 'fault' });
    }
    expect((await bad.invoke(ROGUE.echo, text('on'))).output).toEqual(text('on'));
    await bad.unregister();
  });

  absent(
    7,
    'a loan that is not within its memory, or overlaps another, is an error, and the PAL does not run',
    async () => {
      const counting = await trustvisor.register(rogue({ version: '7' }));
      const memory = await trustvisor.allocateShared(8192);
      const loans = [
        [{ memory, offset: 1, length: 8192, access: 'read' }],
        [{ memory, offset: -1, length: 1, access: 'read' }],
        [{ memory, offset: 0, length: 2 ** 32, access: 'write' }],
        [{ memory, offset: 0.5, length: 1, access: 'read' }],
        [
          { memory, offset: 0, length: 100, access: 'read-write' },
          { memory, offset: 50, length: 100, access: 'read' },
        ],
      ] as const;
      for (const lend of loans) {
        await expect(counting.invoke(ROGUE.count, NONE, { lend })).rejects.toMatchObject({ code: 'input' });
      }
      expect((await counting.invoke(ROGUE.count, NONE)).returnCode).toBe(1);
      memory.release();
      await counting.unregister();
    },
  );

  absent(8, 'shared memory is released once, what is released is an error, and so is a PAL', async () => {
    const shared = await trustvisor.allocateShared(100);
    shared.release();
    shared.release();
    expect(() => shared.read(0, 1)).toThrowError(expect.objectContaining({ name: 'TrustvisorError' }));
    const short = await trustvisor.register(rogue({ version: '8' }));
    await Promise.all([short.unregister(), short.unregister()]);
    await expect(short.invoke(ROGUE.echo, NONE)).rejects.toMatchObject({ code: 'closed' });
    await expect(short.quote(NONE)).rejects.toMatchObject({ code: 'closed' });
    const lend = [{ memory: shared, offset: 0, length: 1, access: 'read' }] as const;
    await expect(pal.invoke(SERVICE.random, Uint8Array.of(0, 0, 0, 0), { lend })).rejects.toMatchObject({
      name: 'TrustvisorError',
    });
  });

  absent(9, 'tells errors apart: each has its own code, never the number of another', async () => {
    const codes = new Set<string>();
    const of = (promise: Promise<unknown>) => promise.catch((error) => codes.add(error.code));
    const bad = await trustvisor.register(rogue({ version: '9' }));
    await of(bad.invoke(ROGUE.divide, NONE));
    await of(bad.invoke(ROGUE.loop, NONE, { timeLimit: 50 }));
    await of(bad.invoke(ROGUE.echo, new Uint8Array(20000)));
    await of(trustvisor.register(NONE));
    await bad.unregister();
    await of(bad.invoke(ROGUE.echo, NONE));
    expect([...codes]).toEqual(['fault', 'timeout', 'input', 'refused', 'closed']);
  });

  absent(11, 'allocates nothing for a count that the bytes do not hold', async () => {
    const image = services({ version: '11' });
    // The last section's content length, then nothing: an image that claims 4 GiB.
    const claim = Uint8Array.of(...image.subarray(0, -4), 0xff, 0xff, 0xff, 0xff);
    await expect(trustvisor.register(claim)).rejects.toMatchObject({ code: 'refused', message: /at most/ });
    const memory = await trustvisor.allocateShared(100_000);
    const lend = Array.from({ length: 100_000 }, (_, offset) => ({
      memory,
      offset,
      length: 1,
      access: 'read' as const,
    }));
    await expect(pal.invoke(SERVICE.time, NONE, { lend })).rejects.toMatchObject({ code: 'input' });
    memory.release();
    for (const size of [-1, 0.5, Number.NaN, 2 ** 40]) {
      await expect(trustvisor.allocateShared(size)).rejects.toMatchObject({ name: 'TrustvisorError' });
    }
  });

  it('of measurement: entry, parameters, name and version change it', async () => {
    const variants = [services(), services({ name: 'n' }), services({ version: '2' }), services({ inputCapacity: 64 })];
    const identities = new Set<string>();
    for (const image of variants) {
      await using each = await trustvisor.register(image);
      identities.add(Buffer.from(each.measurement).toString('hex') + Buffer.from(each.identity).toString('hex'));
    }
    expect(identities.size).toBe(4);
  });

  it('are all in the list, and each of the list is shown to be absent', () => {
    expect([...shown].sort((a, b) => a - b)).toEqual(Object.keys(DEFECTS).map(Number));
    expect(Object.keys(DEFECTS)).toHaveLength(11);
  });
});
