import { PAL_SERVICES, PAL_STATUS, type PalServiceName } from '@casemate/pal-linker';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { callService, SERVICE_SLOTS, type ServiceCall, statusOnly } from '../src/service-plan.js';

const names = Object.keys(PAL_SERVICES) as PalServiceName[];
const width = { value: 1, input: 2, 'fixed-input': 1, fill: 2, output: 2, 'fixed-output': 1 };

function memoryWith(values: Readonly<Record<number, number>>): Uint8Array {
  const memory = new Uint8Array(256).fill(0xee);
  for (const [at, value] of Object.entries(values)) new DataView(memory.buffer).setUint32(Number(at), value, true);
  return memory;
}

describe('the parameters of a service call', () => {
  it.each(names)('%s takes as many as the linker says', (name) => {
    const total = SERVICE_SLOTS[name].reduce((sum, slot) => sum + width[slot.kind], 0);
    expect(total).toBe(PAL_SERVICES[name]);
  });

  it('are refused where a pointer and length reach past the end by one byte, or wrap around', () => {
    const perform = () => {
      throw new Error('must not be performed');
    };
    const memory = memoryWith({ 0: 100 });
    for (const [pointer, length] of [
      [256, 1],
      [255, 2],
      [-1, 1],
      [-4, 8],
      [0, 257],
      [0x7fffffff, -0x7fffffff],
      [1, -1],
    ] as const) {
      expect(callService(memory, 'print', [pointer, length], perform)).toBe(PAL_STATUS.BAD_PARAM);
      expect(callService(memory, 'state_write', [pointer, length], perform)).toBe(PAL_STATUS.BAD_PARAM);
    }
    expect(callService(memory, 'utpm_pcr_read', [0, 225], perform)).toBe(PAL_STATUS.BAD_PARAM);
    expect(callService(memory, 'utpm_pcr_extend', [0, 225], perform)).toBe(PAL_STATUS.BAD_PARAM);
    expect(callService(memory, 'utpm_id_getpub', [0, 253], perform)).toBe(PAL_STATUS.BAD_PARAM);
    expect(callService(memory, 'utpm_id_getpub', [157, 0], perform)).toBe(PAL_STATUS.BAD_PARAM);
    expect(callService(memory, 'utpm_rand', [0, 4097], perform)).toBe(PAL_STATUS.BAD_PARAM);
    expect(callService(memory, 'time_elapsed', [0, 0xfffffff9 | 0], perform)).toBe(PAL_STATUS.BAD_PARAM);
  });

  it('are taken at the very end of the memory', () => {
    const seen: ServiceCall[] = [];
    const memory = memoryWith({});
    callService(memory, 'print', [255, 1], (call) => {
      seen.push(call);
      return statusOnly(PAL_STATUS.SUCCESS);
    });
    callService(memory, 'print', [256, 0], (call) => {
      seen.push(call);
      return statusOnly(PAL_STATUS.SUCCESS);
    });
    expect(seen.map(({ inputs }) => inputs[0])).toEqual([Uint8Array.of(0xee), new Uint8Array(0)]);
  });

  it('are copies: what the PAL writes later does not change them', () => {
    const memory = memoryWith({});
    callService(memory, 'print', [0, 4], ({ inputs }) => {
      memory.fill(1);
      expect(inputs[0]).toEqual(new Uint8Array(4).fill(0xee));
      return statusOnly(PAL_STATUS.SUCCESS);
    });
  });
});

describe('the results of a service call', () => {
  it('are written with their length where they fit exactly', () => {
    const memory = memoryWith({ 0: 3 });
    const status = callService(memory, 'utpm_id_getpub', [8, 0], () => ({
      status: 0,
      outputs: [Uint8Array.of(1, 2, 3)],
    }));
    expect(status).toBe(PAL_STATUS.SUCCESS);
    expect([...memory.subarray(0, 12)]).toEqual([3, 0, 0, 0, 0xee, 0xee, 0xee, 0xee, 1, 2, 3, 0xee]);
  });

  it('leave the buffer alone and tell the length where they do not fit', () => {
    const memory = memoryWith({ 0: 2 });
    const status = callService(memory, 'utpm_id_getpub', [8, 0], () => ({
      status: 0,
      outputs: [Uint8Array.of(1, 2, 3)],
    }));
    expect(status).toBe(PAL_STATUS.SHORT_BUFFER);
    expect([...memory.subarray(0, 12)]).toEqual([3, 0, 0, 0, ...new Array(8).fill(0xee)]);
  });

  it('are all or nothing where there are two', () => {
    const memory = memoryWith({ 0: 8, 4: 1 });
    const reply = { status: PAL_STATUS.SUCCESS, outputs: [Uint8Array.of(1, 2), Uint8Array.of(3, 4)] };
    expect(callService(memory, 'utpm_quote', [0, 0, 1, 16, 0, 32, 4], () => reply)).toBe(PAL_STATUS.SHORT_BUFFER);
    expect(memory[16]).toBe(0xee);
    expect([memory[0], memory[4]]).toEqual([2, 2]);
  });

  it('are not written with a status other than success', () => {
    const memory = memoryWith({ 0: 8 });
    callService(memory, 'utpm_id_getpub', [8, 0], () => ({ status: PAL_STATUS.ERR, outputs: [Uint8Array.of(1)] }));
    expect([memory[0], memory[8]]).toEqual([8, 0xee]);
  });

  it('never touch a byte outside the buffers, whatever the parameters are', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(fc.oneof(fc.integer(), fc.integer({ min: -8, max: 300 })), { minLength: 7, maxLength: 7 }),
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 2, maxLength: 2 }),
        (name, parameters, outputs) => {
          const memory = memoryWith({ 0: 5, 64: 40 });
          const before = memory.length;
          callService(memory, name, parameters, () => ({ status: PAL_STATUS.SUCCESS, outputs }));
          expect(memory.length).toBe(before);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
