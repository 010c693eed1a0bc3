import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  array,
  bytes,
  constant,
  decode,
  empty,
  encode,
  flags,
  type Infer,
  oneOf,
  optionalSized,
  repeated,
  rest,
  sized,
  sizedBytes,
  struct,
  text,
  u8,
  u16,
  u16le,
  u32,
  u32le,
  u64,
  union,
  WireError,
} from '../src/index.js';

const Shape = struct('SHAPE', {
  kind: oneOf('SHAPE_KIND', u16, [1, 2, 0x10]),
  label: text('LABEL', u8, { max: 20 }),
  body: union('kind', {
    1: struct('CIRCLE', { radius: u32 }),
    2: struct('POLYGON', { corners: array('CORNERS', u8, u64, { max: 4 }) }),
    16: empty,
  }),
  mark: bytes('MARK', 3),
});
type Shape = Infer<typeof Shape>;

const shapes: fc.Arbitrary<Shape> = fc.oneof(
  fc.record({
    kind: fc.constant(1 as const),
    label: fc.string({ maxLength: 5 }),
    body: fc.record({ radius: fc.nat(0xffffffff) }),
    mark: fc.uint8Array({ minLength: 3, maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant(2 as const),
    label: fc.string({ maxLength: 5 }),
    body: fc.record({ corners: fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: 4 }) }),
    mark: fc.uint8Array({ minLength: 3, maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant(16 as const),
    label: fc.string({ maxLength: 5 }),
    body: fc.constant(undefined),
    mark: fc.uint8Array({ minLength: 3, maxLength: 3 }),
  }),
);

function failure(run: () => unknown): WireError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(WireError);
    return error as WireError;
  }
  throw new Error('expected a WireError');
}

describe('codecs', () => {
  it('encode integers big-endian unless the name says le', () => {
    expect(encode(u32, 0x01020304)).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(encode(u32le, 0x01020304)).toEqual(Uint8Array.of(4, 3, 2, 1));
    expect(encode(u64, 0x0102030405060708n)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  });

  it('return what was encoded', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        expect(decode(Shape, encode(Shape, shape))).toEqual(shape);
      }),
    );
  });

  it('refuse every truncation and every trailing byte', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const whole = encode(Shape, shape);
        for (let n = 0; n < whole.length; n++) failure(() => decode(Shape, whole.subarray(0, n)));
        expect(failure(() => decode(Shape, Uint8Array.of(...whole, 0))).code).toBe('trailing');
      }),
    );
  });

  it('decode arbitrary bytes to a value that encodes to the same bytes, or throw WireError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
        try {
          const value = decode(Shape, input);
          expect(encode(Shape, value)).toEqual(input);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
    );
  });

  it('name the field and the offset of what they refuse', () => {
    const error = failure(() => decode(Shape, Uint8Array.of(0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 9)));
    expect(error).toMatchObject({ code: 'truncated', path: 'body/corners/1', offset: 12 });
    expect(error).toMatchObject({ subject: expect.stringMatching(/^decode /) });
    expect(error.message).toBe('decode u64: expected 8 more bytes, got 1 (at body/corners/1, offset 0xc)');
  });

  it('refuse reserved bits, unknown values and lengths over the bound', () => {
    expect(failure(() => decode(flags('F', u8, 0x0f), Uint8Array.of(0x10))).code).toBe('reserved-bits');
    expect(failure(() => decode(Shape, Uint8Array.of(0, 3))).code).toBe('bad-value');
    const digest = sizedBytes('DIGEST', u16, { max: 2 });
    expect(failure(() => decode(digest, Uint8Array.of(0, 3, 1, 1, 1))).code).toBe('too-long');
  });

  it('hold a sized region to its length', () => {
    const region = sized('REGION', u8, u16);
    expect(decode(region, Uint8Array.of(2, 0, 7))).toBe(7);
    expect(failure(() => decode(region, Uint8Array.of(1, 0, 7))).code).toBe('truncated');
    expect(failure(() => decode(region, Uint8Array.of(3, 0, 7, 1))).code).toBe('trailing');
    expect(decode(optionalSized('R', u8, u16), Uint8Array.of(0))).toBeUndefined();
  });

  it('refuse values that do not fit', () => {
    expect(failure(() => encode(u8, 256)).code).toBe('bad-input');
    expect(failure(() => encode(u8, 1.5)).code).toBe('bad-input');
    expect(failure(() => encode(u64, -1n)).code).toBe('bad-input');
    expect(failure(() => encode(bytes('M', 3), new Uint8Array(2))).code).toBe('bad-input');
  });

  it.each([u8, u16, u32, u16le, u32le])('refuse a bigint for $name, which holds a number', (codec) => {
    expect(failure(() => encode(codec, 5n as never)).code).toBe('bad-input');
    const pair = struct('PAIR', { first: u8, second: codec });
    expect(failure(() => encode(pair, { first: 1, second: 5n as never })).path).toBe('second');
  });

  it('refuse what is no byte string and no list', () => {
    for (const value of [undefined, null, 5, 'text']) {
      expect(failure(() => encode(rest('REST', 8), value as never)).code).toBe('bad-input');
      expect(failure(() => encode(repeated('LIST', u8, { max: 8 }), value as never)).code).toBe('bad-input');
    }
  });
});

describe('flags', () => {
  const Bits = flags('BITS', u32, 0x80000001);

  it('takes the sign that the bit operators give to bit 31', () => {
    expect(encode(Bits, 1 << 31)).toEqual(Uint8Array.of(0x80, 0, 0, 0));
    expect(encode(Bits, (1 << 31) | 1)).toEqual(Uint8Array.of(0x80, 0, 0, 1));
  });

  it.each([[[1]], [Uint8Array.of(1)], ['1'], [0.5], [-0.5], [2 ** 32], [2 ** 33 + 1], [-(2 ** 32)], [undefined]])(
    'refuses %s, which is no set of its bits',
    (value) => {
      expect(failure(() => encode(Bits, value as number)).code).toBe('bad-input');
    },
  );
});

describe('constant', () => {
  const Magic = constant('MAGIC', u16, 0x8021);

  it('takes and gives its one number', () => {
    expect(decode(Magic, encode(Magic, 0x8021))).toBe(0x8021);
    expect(failure(() => decode(Magic, Uint8Array.of(0x80, 0x22))).code).toBe('bad-value');
  });

  it('refuses to encode another value instead of replacing it', () => {
    expect(failure(() => encode(Magic, 0x8022 as 0x8021)).code).toBe('bad-input');
    expect(failure(() => encode(Magic, undefined as never)).code).toBe('bad-input');
  });
});
