/** Service calls and replies as bytes. */
import { PAL_SERVICES, type PalServiceName, type PalStatus } from '@casemate/pal-linker';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCall, encodeReplyInto, replyLength } from '../src/service-codec.js';
import { SERVICE_SLOTS, type ServiceCall } from '../src/service-plan.js';

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

const u32 = (value: number) => [...new Uint8Array(Uint32Array.of(value).buffer)];

/** As the monitor writes it. */
function encodeCall({ name, values, inputs }: ServiceCall): Uint8Array {
  const [numbers, strings] = [[...values], [...inputs]];
  const slots = SERVICE_SLOTS[name].map(({ kind }) => {
    if (kind === 'value' || kind === 'fill') return [0, ...u32(numbers.shift() ?? 0)];
    const given = kind === 'input' || kind === 'fixed-input' ? strings.shift() : undefined;
    return given ? [1, ...u32(given.length), ...given] : [2];
  });
  return Uint8Array.of(names.indexOf(name) + 1, ...slots.flat());
}

/** As the monitor reads it. */
function decodeReply(bytesOfReply: Uint8Array): { status: number; outputs: Uint8Array[] } {
  const view = new DataView(bytesOfReply.buffer);
  const outputs: Uint8Array[] = [];
  for (let at = 4; at < bytesOfReply.length; at += 4 + (outputs.at(-1)?.length ?? 0)) {
    outputs.push(bytesOfReply.slice(at + 4, at + 4 + view.getUint32(at, true)));
  }
  return { status: view.getUint32(0, true), outputs };
}

describe('service calls as bytes', () => {
  it('say what was put into them, and give copies', () => {
    fc.assert(
      fc.property(anyCall, (call) => {
        const content = encodeCall(call);
        const read = decodeCall(content);
        content.fill(0);
        expect(read).toEqual(call);
      }),
    );
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
