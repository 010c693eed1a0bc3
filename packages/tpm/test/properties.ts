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

/** Bytes that end early are refused, cut at every byte, and so is one byte too many. */
export function assertTruncationRefused(codec: Codec<unknown>, values: fc.Arbitrary<unknown>, numRuns = 4): void {
  fc.assert(
    fc.property(values, (value) => {
      const bytes = encode(codec, value);
      for (let length = 0; length < bytes.length; length++) expectRefusal(codec, bytes.subarray(0, length));
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

/** encode∘decode of bytes that nothing has to do with the codec is the identity or a refusal. */
export function assertArbitraryBytes(codec: Codec<unknown>, numRuns = 25): void {
  // Zeros and small numbers are more often counts, sizes and selectors that let a decoder go on.
  const octet = fc.oneof(fc.constant(0), fc.nat({ max: 32 }), fc.nat({ max: 255 }));
  fc.assert(
    fc.property(fc.array(octet, { maxLength: 96 }), (octets) => {
      const bytes = Uint8Array.from(octets);
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
