import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EFI_CERT_TYPE, encodeSignatureLists, FirmwareError, parseSignatureLists } from '../src/index.js';

const OWNER = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const dbx = [
  {
    signatureType: EFI_CERT_TYPE.SHA256,
    header: new Uint8Array(0),
    signatures: [1, 2, 3].map((fill) => ({ owner: OWNER, data: new Uint8Array(32).fill(fill) })),
  },
  {
    signatureType: EFI_CERT_TYPE.X509,
    header: new Uint8Array(2),
    signatures: [{ owner: OWNER, data: new Uint8Array(7) }],
  },
];

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof FirmwareError ? error.code : 'another error';
  }
  return 'no error';
}

describe('signature lists', () => {
  const bytes = encodeSignatureLists(dbx);

  it('are parsed to what was encoded', () => {
    expect(parseSignatureLists(bytes)).toEqual(dbx);
  });

  it('are refused when cut anywhere but between two lists', () => {
    const first = 28 + 3 * 48;
    for (let length = 1; length < bytes.length; length++) {
      expect(code(() => parseSignatureLists(bytes.subarray(0, length)))).toBe(
        length === first ? 'no error' : 'malformed',
      );
    }
  });

  it('are refused when their sizes contradict each other', () => {
    for (const [at, value] of [
      [16, 27],
      [20, 0xff],
      [24, 16],
      [24, 47],
    ] as const) {
      const wrong = bytes.slice();
      wrong[at] = value;
      expect(code(() => parseSignatureLists(wrong))).toBe('malformed');
    }
  });

  it('cannot be encoded without an entry, with entries of unequal length, or with a GUID that is none', () => {
    const [list] = dbx;
    if (!list) throw new Error('no list');
    expect(code(() => encodeSignatureLists([{ ...list, signatures: [] }]))).toBe('bad-input');
    const unequal = [...list.signatures, { owner: OWNER, data: new Uint8Array(31) }];
    expect(code(() => encodeSignatureLists([{ ...list, signatures: unequal }]))).toBe('bad-input');
    expect(code(() => encodeSignatureLists([{ ...list, signatureType: 'db' }]))).toBe('bad-input');
  });

  it('never make the parser fail in another way than a FirmwareError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        expect(['malformed', 'no error']).toContain(code(() => parseSignatureLists(noise)));
      }),
    );
  });
});
