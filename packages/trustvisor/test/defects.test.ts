/** The defects of TrustVisor's own code, by their numbers in the list of them, each shown to be absent. */
import { PAL_STATUS } from '@casemate/pal-linker';
import { TpmsAttest } from '@casemate/tpm';
import { decode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { palOf, ROGUE, rogue, SERVICE, services } from './pals.js';

const NONE = new Uint8Array(0);
const text = (value: string) => new TextEncoder().encode(value);

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

  it('1: a quote that fails says so, tells its true lengths, and copies nothing for a selection that there is not', async () => {
    const nothing = await pal.invoke(SERVICE.quote, Uint8Array.of(0));
    expect(nothing).toEqual({ returnCode: PAL_STATUS.PCR_OUT_OF_RANGE, output: NONE });
    const { output } = await pal.invoke(SERVICE.quote, Uint8Array.of(1, 5));
    const length = new DataView(output.buffer, output.byteOffset).getUint32(0, true);
    expect(decode(TpmsAttest, output.slice(4, 4 + length)).extraData).toEqual(Uint8Array.of(5));
  });

  it('2: seals data of every length up to the capacity, with and without a policy', async () => {
    for (const length of [0, 1, 1983, 1984, 2048, 16000]) {
      const sealed = await pal.invoke(SERVICE.seal, new Uint8Array(length).fill(1));
      expect(sealed.returnCode, `${length} bytes`).toBe(PAL_STATUS.SUCCESS);
      const opened = await pal.invoke(SERVICE.unseal, sealed.output);
      expect(opened.output.subarray(0, -32)).toEqual(new Uint8Array(length).fill(1));
      const bound = await pal.invoke(SERVICE.sealTo, Uint8Array.of(4, 3, 0, 0, 0, ...new Uint8Array(length)));
      expect(bound.returnCode).toBe(PAL_STATUS.SUCCESS);
    }
  });

  it('3: unseals nothing that is too short, at any length, and goes on', async () => {
    const sealed = await pal.invoke(SERVICE.seal, text('x'));
    for (let length = 0; length < sealed.output.length; length++) {
      const cut = await pal.invoke(SERVICE.unseal, sealed.output.subarray(0, length));
      expect(cut).toEqual({ returnCode: PAL_STATUS.REFUSED, output: NONE });
    }
  });

  it('4: writes nothing past the output buffer that the PAL gave', async () => {
    const { returnCode, output } = await pal.invoke(SERVICE.short, text('secret'));
    const words = new DataView(output.buffer, output.byteOffset);
    expect(returnCode).toBe(PAL_STATUS.SHORT_BUFFER);
    expect([words.getUint32(0, true), words.getUint32(4, true), words.getUint32(8, true)]).toEqual([
      0, 0x11223344, 123,
    ]);
  });

  it('5: prints no secret: what a PAL seals appears nowhere outside it', async () => {
    printed.length = 0;
    const marker = 'a marker that no log may hold';
    const sealed = await pal.invoke(SERVICE.seal, text(marker));
    await pal.invoke(SERVICE.unseal, sealed.output);
    expect(printed).toEqual([]);
    expect(Buffer.from(sealed.output).includes(marker)).toBe(false);
  });

  it('6: takes no length that would wrap around: the output a PAL claims is compared as it is', async () => {
    for (const claim of [0xffffffff, 0x80000000, 0xfffffff0, 16385]) {
      const liar = await trustvisor.register(palOf([`(call $end (i32.const ${claim | 0}) (i32.const 0))`]));
      await expect(liar.invoke(0, NONE)).rejects.toMatchObject({ code: 'fault', fault: 'malformed-output' });
      await liar.unregister();
    }
  });

  it('7, 10: ends a call with an error instead of the machine, whatever the PAL does', async () => {
    const bad = await trustvisor.register(rogue({ version: '7' }));
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

  it('8: a PAL that is released is released once, and a released one is an error, not garbage', async () => {
    const short = await trustvisor.register(rogue({ version: '8' }));
    await Promise.all([short.unregister(), short.unregister()]);
    await expect(short.invoke(ROGUE.echo, NONE)).rejects.toMatchObject({ code: 'closed' });
    await expect(short.quote(NONE)).rejects.toMatchObject({ code: 'closed' });
  });

  it('9: tells errors apart: each has its own code, never the number of another', async () => {
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

  it('11: allocates nothing for a count that the bytes do not hold', async () => {
    const image = services({ version: '11' });
    // The last section's content length, then nothing: an image that claims 4 GiB.
    const claim = Uint8Array.of(...image.subarray(0, -4), 0xff, 0xff, 0xff, 0xff);
    await expect(trustvisor.register(claim)).rejects.toMatchObject({ code: 'refused', message: /at most/ });
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
});
