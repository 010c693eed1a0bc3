/** A compiled structure does what the interpreted one does, for what it accepts and for what it refuses. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileReader, compileWriter, GAVE_UP } from '../src/compile.js';
import {
  array,
  bytes,
  type Codec,
  checked,
  constant,
  decode,
  decodeShared,
  empty,
  encode,
  flags,
  mapped,
  oneOf,
  optionalSized,
  Reader,
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
  u64le,
  uint16,
  union,
  WireError,
  Writer,
  within,
} from '../src/index.js';

/** One structure with every kind of field, made anew each time so that it has not been used. */
function make() {
  const Point = struct('POINT', { x: sizedBytes('X', u16, { max: 6, min: 1 }), y: sizedBytes('Y', u8, { max: 3 }) });
  const Kind = oneOf('KIND', u8, [1, 2, 3]);
  return struct('ALL', {
    magic: constant('MAGIC', u16, 0x8021),
    stamp: constant('STAMP', u64, 7n),
    kind: Kind,
    body: union('kind', { 1: Point, 2: empty, 3: array('LIST', u8, Kind, { max: 3 }) }),
    bits: flags('BITS', u32, 0x8000_0101),
    handle: within('HANDLE', u32, [
      [0x8000_0000, 0x8000_00ff],
      [0x4000_0007, 0x4000_0007],
    ]),
    truth: mapped(
      'TRUTH',
      oneOf('TRUTH', u8, [0, 1]),
      (value) => value === 1,
      (value) => (value ? 1 : 0),
    ),
    even: checked('EVEN', uint16('EVEN'), (value) => (value % 2 === 0 ? undefined : `${value} is odd`)),
    big: u64,
    little: struct('LITTLE', { a: u16le, b: u32le, c: u64le }),
    digest: bytes('DIGEST', 4),
    perhaps: optionalSized('PERHAPS', u16, Point),
    inner: sized('INNER', u16, struct('INNER', { points: repeated('POINTS', Point, { max: 2 }) }), { max: 12 }),
    label: text('LABEL', u8, { max: 6 }),
    tail: rest('TAIL', 9),
  });
}
type All = ReturnType<typeof make> extends Codec<infer T> ? T : never;

const octets = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
const points = fc.record({ x: octets(1, 6), y: octets(0, 3) }, { noNullPrototype: true });
const rest1 = fc.record(
  {
    magic: fc.constant(0x8021 as const),
    stamp: fc.constant(7n as const),
    bits: fc.constantFrom(0, 1, 0x100, 0x8000_0000, 0x8000_0101),
    handle: fc.constantFrom(0x8000_0000, 0x8000_00ff, 0x4000_0007),
    truth: fc.boolean(),
    even: fc.nat({ max: 0x7fff }).map((n) => 2 * n),
    big: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    little: fc.record(
      { a: fc.nat({ max: 0xffff }), b: fc.nat({ max: 0xffff_ffff }), c: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
      { noNullPrototype: true },
    ),
    digest: octets(4, 4),
    perhaps: fc.option(points, { nil: undefined }),
    inner: fc.record(
      { points: fc.array(fc.constant({ x: Uint8Array.of(1), y: Uint8Array.of() }), { maxLength: 2 }) },
      { noNullPrototype: true },
    ),
    label: fc.constantFrom('', 'a', 'déjà'),
    tail: octets(0, 9),
  },
  { noNullPrototype: true },
);
const bodies = fc.oneof(
  points.map((body) => ({ kind: 1 as const, body })),
  fc.constant({ kind: 2 as const, body: undefined }),
  fc
    .array(fc.constantFrom(1 as const, 2 as const, 3 as const), { maxLength: 3 })
    .map((body) => ({ kind: 3 as const, body })),
);
const values: fc.Arbitrary<All> = fc.tuple(rest1, bodies).map(([others, body]) => ({ ...others, ...body }) as All);

/** The structure after so many uses that it is compiled. */
function compiled() {
  const codec = make();
  const [value] = fc.sample(values, { numRuns: 1, seed: 1 });
  if (value === undefined) throw new Error('no value');
  for (let use = 0; use < 60; use++) decode(codec, encode(codec, value));
  return codec;
}

function outcome(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error instanceof WireError ? [error.code, error.path, error.offset, error.message] : String(error);
  }
}

describe('a compiled structure', () => {
  const fast = compiled();

  it('does itself what is right, and gives up on the rest', () => {
    const read = compileReader(fast);
    const write = compileWriter(fast);
    fc.assert(
      fc.property(values, (value) => {
        const encoded = encode(make(), value);
        const writer = new Writer();
        expect(write?.(writer, value)).toBe(true);
        expect(writer.finish()).toEqual(encoded);
        const reader = new Reader(encoded);
        expect(read?.(reader)).toStrictEqual(value);
        expect(reader.remaining).toBe(0);
        const short = new Reader(encoded.subarray(0, -1 - value.tail.length));
        expect(read?.(short)).toBe(GAVE_UP);
        expect([short.offset, short.remaining]).toEqual([0, short.bytes.length]);
        expect(write?.(writer, { ...value, even: 1 })).toBe(false);
        expect(writer.offset).toBe(encoded.length);
      }),
      { numRuns: 200 },
    );
  });

  it('gives up where the buffer is too small, and leaves the rest to the interpreted one', () => {
    const Number32 = struct('NUMBER', { n: u32 });
    const writer = new Writer(5);
    writer.u16(1, 'before');
    expect(compileWriter(Number32)?.(writer, { n: 2 })).toBe(false);
    expect(writer.offset).toBe(2);
    for (let use = 0; use < 60; use++) Number32.write(writer, { n: use });
    expect(writer.finish().slice(-4)).toEqual(Uint8Array.of(0, 0, 0, 59));
    expect(writer.offset).toBe(242);
  });

  it('encodes and decodes as the interpreted one', () => {
    fc.assert(
      fc.property(values, (value) => {
        const encoded = encode(make(), value);
        expect(encode(fast, value)).toEqual(encoded);
        expect(decode(fast, encoded)).toStrictEqual(decode(make(), encoded));
        expect(decodeShared(fast, encoded)).toStrictEqual(decode(make(), encoded));
      }),
      { numRuns: 300 },
    );
  });

  it('refuses the same bytes with the same words', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 2 });
    fc.assert(
      fc.property(values, changes, fc.nat(), fc.boolean(), (value, list, length, isCut) => {
        const encoded = encode(make(), value);
        for (const [at, octet] of list) encoded[at % encoded.length] = octet;
        const given = isCut ? encoded.subarray(0, length % encoded.length) : encoded;
        expect(outcome(() => decode(fast, given))).toStrictEqual(outcome(() => decode(make(), given)));
      }),
      { numRuns: 1500 },
    );
  });

  it('refuses the same values with the same words', () => {
    const wrong = fc.constantFrom<unknown[]>(
      undefined,
      null,
      -1,
      0.5,
      Number.NaN,
      2 ** 32,
      -(2 ** 31),
      '1',
      1n,
      -1n,
      2n ** 64n,
      [],
      [1],
      {},
      true,
      Uint8Array.of(1),
      new Uint8Array(20),
      { length: 4 },
    );
    fc.assert(
      fc.property(values, fc.nat(), wrong, (value, which, replacement) => {
        const keys = Object.keys(value);
        const changed = { ...value, [keys[which % keys.length] ?? '']: replacement } as All;
        const [ours, theirs] = [outcome(() => encode(fast, changed)), outcome(() => encode(make(), changed))];
        expect(ours).toStrictEqual(theirs);
      }),
      { numRuns: 1500 },
    );
  });

  it('leaves reader and writer behind its value', () => {
    const [value] = fc.sample(values, { numRuns: 1, seed: 2 });
    const Pair = struct('PAIR', { first: u8, all: sized('ALL', u16, fast), last: u8 });
    if (value === undefined) throw new Error('no value');
    const pair = { first: 1, all: value, last: 2 };
    const encoded = encode(Pair, pair);
    for (let use = 0; use < 120; use++) expect(decode(Pair, encoded)).toStrictEqual(pair);
    const writer = new Writer(8);
    writer.u8(9, 'before');
    fast.write(writer, value);
    writer.u8(9, 'after');
    expect(writer.finish()).toEqual(Uint8Array.of(9, ...encode(make(), value), 9));
  });

  it('may be used again by what it calls', () => {
    const [value] = fc.sample(values, { numRuns: 1, seed: 3 });
    if (value === undefined) throw new Error('no value');
    const again = encode(fast, value);
    const recode = <T>(given: T): T => {
      expect(encode(Outer, { all: value, calls: 0, last: 7 }).length).toBeGreaterThan(again.length);
      expect(decode(fast, again)).toStrictEqual(value);
      return given;
    };
    let depth = 0;
    const once = (given: number) => {
      if (depth > 0) return given;
      depth++;
      recode(given);
      depth--;
      return given;
    };
    const Outer = struct('OUTER', { all: sized('ALL', u16, fast), calls: mapped('CALLS', u8, once, once), last: u8 });
    const outer = { all: value, calls: 3, last: 9 };
    for (let use = 0; use < 120; use++) expect(decode(Outer, encode(Outer, outer))).toStrictEqual(outer);
  });

  it('grows the buffer of a writer that is too small', () => {
    const Long = struct('LONG', { data: sizedBytes('DATA', u32, { max: 100_000 }) });
    const data = new Uint8Array(70_000).fill(5);
    for (let use = 0; use < 60; use++) expect(encode(Long, { data })).toHaveLength(70_004);
  });

  it('takes views of shared bytes and copies of others', () => {
    const Data = struct('DATA', { data: sizedBytes('DATA', u16, { max: 100 }) });
    for (let use = 0; use < 60; use++) {
      const given = encode(Data, { data: new Uint8Array(100).fill(5) });
      const copy = decode(Data, given);
      const view = decodeShared(Data, given);
      given.fill(6, 2);
      expect([copy.data[99], view.data[99]]).toEqual([5, 6]);
    }
  });
});

describe('where code from strings is forbidden', () => {
  it('structures stay interpreted and work', async () => {
    const { outputFiles } = await build({
      stdin: {
        contents: `
          import { decode, encode, struct, u8 } from './index.js';
          const S = struct('S', { a: u8 });
          let sum = 0;
          for (let i = 0; i < 200; i++) sum += decode(S, encode(S, { a: i })).a;
          console.log(sum);`,
        resolveDir: fileURLToPath(new URL('../src', import.meta.url)),
        loader: 'ts',
      },
      bundle: true,
      format: 'cjs',
      write: false,
    });
    const script = outputFiles[0]?.text ?? '';
    const run = (...flags: string[]) =>
      execFileSync(process.execPath, [...flags, '-e', script], { encoding: 'utf8' }).trim();
    expect(run('--disallow-code-generation-from-strings')).toBe('19900');
    expect(run()).toBe('19900');
  });
});
