import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bitsString,
  DerReader,
  integer,
  integerValue,
  namedBits,
  oid,
  oidValue,
  readDer,
  TAG,
  time,
  timeValue,
} from '../src/der.js';
import { parseIpAddress } from '../src/general-name.js';
import { PkiError } from '../src/index.js';
import { commonNameText, sameCommonName } from './names.js';

const arc = fc.bigInt({ min: 0n, max: (1n << 100n) - 1n });

describe('DER', () => {
  it('gives back every integer, identifier, moment and set of bits that it wrote', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(1n << 300n), max: 1n << 300n }),
        (value) => integerValue(readDer(integer(value), TAG.INTEGER, ''), '') === value,
      ),
    );
    fc.assert(
      fc.property(fc.nat(2), fc.nat(39), fc.array(arc, { maxLength: 8 }), (first, second, rest) => {
        const dotted = [first, second, ...rest].join('.');
        return oidValue(readDer(oid(dotted), TAG.OID, ''), '') === dotted;
      }),
    );
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1950-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }),
        (date) => {
          const seconds = Math.floor(date.getTime() / 1000) * 1000;
          return timeValue(new DerReader(time(date), '').any(''), '').getTime() === seconds;
        },
      ),
    );
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(31), { minLength: 1 }), (bits) => {
        expect([...namedBits(readDer(bitsString(bits), TAG.BIT_STRING, ''), '')]).toEqual(
          [...bits].sort((a, b) => a - b),
        );
      }),
    );
  });

  it.each([
    ['an indefinite length', [0x30, 0x80, 0, 0]],
    ['a length in more octets than it needs', [0x04, 0x81, 1, 0]],
    ['a length beyond the end', [0x04, 5, 0]],
    ['a tag number in long form', [0x1f, 0x81, 1, 0]],
    ['five length octets', [0x04, 0x85, 0, 0, 0, 0, 1, 0]],
  ])('refuses %s', (_, bytes) => {
    expect(() => new DerReader(Uint8Array.from(bytes), 'test').any('element')).toThrow(PkiError);
  });

  it.each([
    ['an integer with a superfluous octet', () => integerValue(Uint8Array.of(0, 1), '')],
    ['an empty integer', () => integerValue(new Uint8Array(), '')],
    ['an arc with leading zeros', () => oidValue(Uint8Array.of(0x2a, 0x80, 1), '')],
    ['an identifier that stops within an arc', () => oidValue(Uint8Array.of(0x2a, 0x81), '')],
    ['a bit string with trailing zero bits', () => namedBits(Uint8Array.of(0, 0x40), '')],
    [
      'the thirtieth of February',
      () => timeValue({ tag: TAG.UTC_TIME, content: ascii('260230000000Z'), bytes: ascii('') }, ''),
    ],
    [
      'a fraction of a second',
      () => timeValue({ tag: TAG.GENERALIZED_TIME, content: ascii('20500101000000.5Z'), bytes: ascii('') }, ''),
    ],
  ])('refuses %s', (_, read) => {
    expect(read).toThrow(PkiError);
  });
});

describe('IP addresses', () => {
  it.each([
    ['192.0.2.1', [192, 0, 2, 1]],
    ['::1', [...Array(15).fill(0), 1]],
    ['2001:db8::1:0', [0x20, 1, 0x0d, 0xb8, ...Array(8).fill(0), 0, 1, 0, 0]],
  ])('%s is read', (text, bytes) => {
    expect([...parseIpAddress(text)]).toEqual(bytes);
  });

  it.each(['1.2.3', '01.2.3.4', '256.1.1.1', '::1::', '1:2:3:4:5:6:7:8:9', ':1', ''])('"%s" is refused', (text) => {
    expect(() => parseIpAddress(text)).toThrow(PkiError);
  });
});

describe('distinguished names', () => {
  it('are the same whatever the string type, case and white space, and differ where a value only imitates another', () => {
    expect(sameCommonName(['0c', 'Edge  Device '], ['13', 'edge device'])).toBe(true);
    expect(sameCommonName(['0c', 'Évil \u{1f600}'], ['1c', 'évil \u{1f600}'])).toBe(true);
    expect(sameCommonName(['0c', '#0500'], ['05', ''])).toBe(false);
    expect(sameCommonName(['0c', 'a\u0000b'], ['0c', 'a'])).toBe(false);
    // For people (RFC 4514 section 2.4): nothing hides, turns the text round, or looks like an encoding.
    expect(commonNameText('0c', 'Édge 1')).toBe('CN=Édge 1');
    expect(commonNameText('0c', 'a\u0000\u202eb')).toBe('CN=a\\00\\e2\\80\\aeb');
    expect(commonNameText('0c', '#0500')).toBe('CN=\\#0500');
    expect(commonNameText('0c', ' a,b\\ ')).toBe('CN=\\ a\\,b\\\\\\ ');
    expect(commonNameText('05', '')).toBe('CN=#0500');
  });
});

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
