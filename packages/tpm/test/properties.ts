/** The properties that hold for every codec of the specification. */
import { type Codec, decode, encode, WireError } from '@casemate/wire';
import fc from 'fast-check';
import { expect } from 'vitest';

/** decode∘encode is the identity. */
export function assertRoundTrip(codec: Codec<unknown>, values: fc.Arbitrary<unknown>, numRuns = 25): void {
  fc.assert(
    fc.property(values, (value) => {
      expect(decode(codec, encode(codec, value))).toStrictEqual(value);
    }),
    { numRuns },
  );
}

/** Bytes that end early are refused at every length, and so is one byte too many. */
export function assertTruncationRefused(codec: Codec<unknown>, values: fc.Arbitrary<unknown>, numRuns = 4): void {
  fc.assert(
    fc.property(values, (value) => {
      const bytes = encode(codec, value);
      // Long byte strings are all alike in the middle: every length at both ends, and some between.
      const step = Math.max(1, Math.floor(bytes.length / 150));
      for (let length = 0; length < bytes.length; length += length < 70 ? 1 : step) {
        expectRefusal(codec, bytes.subarray(0, length));
      }
      if (bytes.length > 0) expectRefusal(codec, bytes.subarray(0, bytes.length - 1));
      expectRefusal(codec, new Uint8Array([...bytes, 0]));
    }),
    { numRuns },
  );
}

/** encode∘decode of any bytes is the identity or a refusal. */
export function assertNoOtherForm(codec: Codec<unknown>, values: fc.Arbitrary<unknown>, numRuns = 25): void {
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
  fc.assert(
    fc.property(values, fc.array(change, { minLength: 1, maxLength: 3 }), (value, changes) => {
      const bytes = encode(codec, value);
      if (bytes.length === 0) return;
      for (const [at, octet] of changes) bytes[at % bytes.length] = octet;
      const decoded = decodeOrRefuse(codec, bytes);
      if (decoded !== refused) expect(encode(codec, decoded)).toEqual(bytes);
    }),
    { numRuns },
  );
}

const refused = Symbol('refused');

function decodeOrRefuse(codec: Codec<unknown>, bytes: Uint8Array): unknown {
  try {
    return decode(codec, bytes);
  } catch (error) {
    if (error instanceof WireError) return refused;
    throw error;
  }
}

function expectRefusal(codec: Codec<unknown>, bytes: Uint8Array): void {
  if (decodeOrRefuse(codec, bytes) !== refused) throw new Error(`${codec.name} takes ${bytes.length} bytes`);
}
