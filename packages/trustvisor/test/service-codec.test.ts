/** Service calls and replies as bytes. */
import { PAL_SERVICES, type PalServiceName, type PalStatus } from '@casemate/pal-linker';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCall, decodeReply, encodeCall, encodeReplyInto, replyLength } from '../src/service-codec.js';
import { SERVICE_SLOTS } from '../src/service-plan.js';

const names = Object.keys(PAL_SERVICES) as PalServiceName[]; // the keys of a Record of that type
const bytes = fc.uint8Array({ maxLength: 60 });

/** A call with as many values and inputs as its service has slots for. */
const anyCall = fc.constantFrom(...names).chain((name) => {
  const count = (...kinds: readonly string[]) => SERVICE_SLOTS[name].filter(({ kind }) => kinds.includes(kind)).length;
  const [values, inputs] = [count('value', 'fill'), count('input', 'fixed-input')];
  return fc.record({
    name: fc.constant(name),
    values: fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: values, maxLength: values }),
    inputs: fc.array(bytes, { minLength: inputs, maxLength: inputs }),
  });
});

describe('service calls as bytes', () => {
  it('say what was put into them, in memory that two threads share too, and give copies', () => {
    fc.assert(
      fc.property(anyCall, (call) => {
        const shared = new Uint8Array(new SharedArrayBuffer(400)).fill(0xee);
        const length = encodeCall(call, shared);
        const read = decodeCall(shared.subarray(0, length));
        shared.fill(0);
        expect(read).toEqual(call);
        for (const input of read.inputs) expect(input.buffer).toBeInstanceOf(ArrayBuffer);
      }),
    );
  });

  it('are left to a message where they do not fit', () => {
    const call = { name: 'utpm_unseal', values: [], inputs: [new Uint8Array(100)] } as const;
    const needed = encodeCall(call, new Uint8Array(1000)) ?? 0;
    expect(encodeCall(call, new Uint8Array(needed - 30))).toBeUndefined();
    expect(decodeCall(new Uint8Array(1000).fill(0).fill(4, 0, 1)).name).toBe('utpm_unseal');
  });

  it('are refused where they end early or name no service', () => {
    expect(() => decodeCall(Uint8Array.of(0))).toThrow(/no service 0/);
    expect(() => decodeCall(Uint8Array.of(255))).toThrow(/no service 255/);
    expect(() => decodeCall(Uint8Array.of(1, 0, 1))).toThrow(RangeError);
  });

  it('are answered by replies that say the same', () => {
    const outputs = fc.array(bytes, { maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(0, 1, 5), outputs, (status, given) => {
        const reply = { status: status as PalStatus, outputs: given }; // three of them
        const target = new Uint8Array(replyLength(reply));
        encodeReplyInto(reply, target);
        expect(decodeReply(target)).toEqual({ status, outputs: status === 0 ? given : [] });
      }),
    );
  });
});
