import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttestationError, encodeStatement, parseStatement, pcrOf, type Statement } from '../src/index.js';
import { hex } from '../src/octets.js';

const guestos: Statement = {
  type: 'guestos',
  name: 'edge',
  version: 7,
  configDigest: new Uint8Array(32).fill(1),
  imageDigest: new Uint8Array(32).fill(2),
};
const pal: Statement = {
  type: 'pal',
  name: 'counter',
  version: '1.0.0',
  measurement: new Uint8Array(32).fill(3),
  identityKey: Uint8Array.of(0, 0x23),
};
const trustvisor: Statement = { type: 'trustvisor', identityKey: Uint8Array.of(0, 0x23, 4) };

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof AttestationError ? error.code : `another error: ${error}`;
  }
  return 'none';
}

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const statements: fc.Arbitrary<Statement> = fc.oneof(
  fc.record({
    type: fc.constant('guestos' as const),
    name: fc.string({ maxLength: 60, unit: 'grapheme' }).filter((name) => new TextEncoder().encode(name).length < 256),
    version: fc.maxSafeNat(),
    configDigest: digest,
    imageDigest: digest,
  }),
  fc.record({
    type: fc.constant('pal' as const),
    name: fc.string({ maxLength: 60 }),
    version: fc.string({ maxLength: 20 }),
    measurement: digest,
    identityKey: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({ type: fc.constant('trustvisor' as const), identityKey: fc.uint8Array({ maxLength: 300 }) }),
);

describe('a statement', () => {
  it('has one fixed encoding, which verifiers elsewhere may rely on', () => {
    const name = '0004 65646765';
    const expected = `01 0001 ${name} 0000000000000007 ${'01'.repeat(32)} ${'02'.repeat(32)}`;
    expect(hex(encodeStatement(guestos))).toBe(expected.replaceAll(' ', ''));
    const text = `0007 ${hex(new TextEncoder().encode('counter'))} 0005 ${hex(new TextEncoder().encode('1.0.0'))}`;
    expect(hex(encodeStatement(pal))).toBe(`01 0002 ${text} ${'03'.repeat(32)} 0002 0023`.replaceAll(' ', ''));
    expect(hex(encodeStatement(trustvisor))).toBe('01 0003 0003 002304'.replaceAll(' ', ''));
  });

  it('goes to the PCR of its kind', () => {
    expect([pcrOf(guestos), pcrOf(pal), pcrOf(trustvisor)]).toEqual([11, 12, 12]);
  });

  it.each([
    ['another format', 0, 2],
    ['an unknown kind', 2, 9],
    ['a version above 2^53-1', 9, 0x20],
  ])('with %s is refused', (_, at, value) => {
    const bytes = encodeStatement(guestos);
    bytes[at] = value;
    expect(code(() => parseStatement(bytes))).toBe('malformed');
  });

  it('with a byte too many is refused', () => {
    expect(code(() => parseStatement(Uint8Array.from([...encodeStatement(pal), 0])))).toBe('malformed');
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])('is not encoded with version %d', (version) => {
    expect(code(() => encodeStatement({ ...guestos, version }))).toBe('bad-input');
  });

  it('is not encoded with a digest of another length', () => {
    expect(code(() => encodeStatement({ ...guestos, imageDigest: new Uint8Array(20) }))).toBe('bad-input');
  });

  it('survives encoding and parsing, and its encoding cut anywhere is refused', () => {
    fc.assert(
      fc.property(statements, (statement) => {
        const bytes = encodeStatement(statement);
        expect(parseStatement(bytes)).toEqual(statement);
        for (let length = 0; length < bytes.length; length++) {
          expect(code(() => parseStatement(bytes.subarray(0, length)))).toBe('malformed');
        }
      }),
      { numRuns: 40 },
    );
  });
});
