/** Entries with parameters of their own: integers and pointers, both ways, on both engines. */

import { PAL_ACCESS, PAL_PARAMETER } from '@casemate/pal-linker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { encodeValues, splitOutput } from '../src/marshal.js';
import { rogue } from './pals.js';
import { buildProgram, whyNoPrograms } from './programs.js';

const integer = (size: 4 | 8) => ({ type: PAL_PARAMETER.INTEGER, access: PAL_ACCESS.IN, size });
const pointer = (access: 1 | 2 | 3, size: number) => ({ type: PAL_PARAMETER.POINTER, access, size });
const PARAMETERS = [
  ...[integer(4), integer(4), integer(8), pointer(1, 8), pointer(3, 8), pointer(2, 8)],
  ...[integer(4), pointer(2, 4), pointer(2, 8), integer(8)],
];
const NOTHING = new Uint8Array(0);

function values(more: Readonly<Record<number, unknown>> = {}): never {
  const all: unknown[] = [1, -2, 3n, Uint8Array.of(1, 2, 3), new Uint8Array(new Int32Array([10, 20]).buffer)];
  all.push(NOTHING, 0xffffffff, NOTHING, NOTHING, -(2n ** 63n));
  for (const [index, value] of Object.entries(more)) all[Number(index)] = value;
  return all as never;
}

for (const engine of ['wasm', 'kvm'] as const) {
  const missing = whyNoPrograms(engine);
  describe.skipIf(missing !== '')(
    `an entry with ten parameters on ${engine}${missing && ` (skipped: ${missing})`}`,
    () => {
      let trustvisor: Trustvisor;
      let pal: Pal;
      beforeAll(async () => {
        trustvisor = await openTrustvisor({ engine, store: memoryStore(), insecureAllowEphemeral: true });
        pal = await trustvisor.register(
          buildProgram(engine, ['parameters.c'], { entry: 'entry', parameters: PARAMETERS }),
        );
      });
      afterAll(() => trustvisor?.close());

      it('gets them all, and gives back what goes out', async () => {
        expect(pal.parameters).toEqual(PARAMETERS);
        const { returnCode, values: out } = await pal.invokeWith(values());
        const sum = (1 - 2 + 3 + 0xffffffff) >>> 0;
        expect(returnCode).toBe((sum ^ 0x80000000) >>> 0);
        expect(out.map((bytes) => bytes?.length)).toEqual([
          undefined,
          undefined,
          undefined,
          undefined,
          8,
          8,
          undefined,
          4,
          8,
          undefined,
        ]);
        expect(new Int32Array(out[4]?.slice().buffer ?? NOTHING.buffer)).toEqual(new Int32Array([8, 22]));
        expect(new DataView(out[5]?.buffer ?? NOTHING.buffer).getBigUint64(0, true)).toBe(9n + 2n ** 63n);
        expect(new DataView(out[7]?.buffer ?? NOTHING.buffer).getUint32(0, true)).toBe(sum);
        expect(out[8]).toEqual(Uint8Array.of(2, 3, 4, 1, 1, 1, 1, 1));
      });

      it('takes null for a pointer', async () => {
        const { values: out } = await pal.invokeWith(values({ 3: null, 4: null }));
        expect([out[3], out[4], out[8]]).toEqual([undefined, undefined, new Uint8Array(8)]);
      });

      it('changes nothing of what the caller holds', async () => {
        const point = new Uint8Array(new Int32Array([10, 20]).buffer);
        await pal.invokeWith(values({ 4: point }));
        expect(new Int32Array(point.buffer)).toEqual(new Int32Array([10, 20]));
      });

      it.each([
        [0, 2 ** 32, /value 0 to be an integer of 32 bits/],
        [0, -(2 ** 31) - 1, /value 0 to be an integer of 32 bits/],
        [0, 1.5, /value 0 to be an integer/],
        [0, NOTHING, /value 0 to be an integer/],
        [2, 2n ** 64n, /value 2 to be an integer of 64 bits/],
        [3, new Uint8Array(9), /value 3 to be at most 8 bytes or null, got 9 bytes/],
        [3, 5, /value 3 to be at most 8 bytes/],
        [10, 1, /expected 10 values, got 11/],
      ])('refuses value %i as %s', async (index, value, message) => {
        await expect(pal.invokeWith(values({ [index]: value }))).rejects.toMatchObject({
          code: 'input',
          message: expect.stringMatching(message),
        });
      });

      it('ends a call that faults, and goes on', async () => {
        await expect(pal.invokeWith(values({ 0: 99 }))).rejects.toMatchObject({ code: 'fault', fault: 'unreachable' });
        expect((await pal.invokeWith(values())).values).toHaveLength(10);
      });

      it('takes no buffers, and one that takes buffers no values', async () => {
        await expect(pal.invoke(0, NOTHING)).rejects.toMatchObject({ code: 'input' });
        const other = await trustvisor.register(rogue());
        expect(other.parameters).toBeUndefined();
        await expect(other.invokeWith([1])).rejects.toMatchObject({ code: 'input' });
      });
    },
  );
}

describe('the values of a call', () => {
  it('are refused where the isolate gave other bytes than there are behind the pointers', () => {
    const parameters = [pointer(2, 4), pointer(2, 4)];
    const split = (length: number) => splitOutput(parameters, [NOTHING, NOTHING], new Uint8Array(length));
    expect(split(8)).toEqual([new Uint8Array(4), new Uint8Array(4)]);
    for (const length of [0, 4, 7, 9]) {
      expect(() => split(length)).toThrowError(expect.objectContaining({ code: 'protocol' }));
    }
  });

  it('are an input that is too large where more lies behind a pointer than a call can carry', () => {
    const encode = () => encodeValues([pointer(3, 2 ** 21)], [new Uint8Array(2 ** 20 + 1)]);
    expect(encode).toThrowError(expect.objectContaining({ name: 'TrustvisorError', code: 'input' }));
  });
});
