/** Every structure of TPM 1.2 in both directions. */
import { encode, WireError } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import { pcrSelection12, selectedPcrs12, TpmNvAttributes, TpmPcrInfoShort } from '../../src/tpm12.js';
import { assertNoOtherForm, assertRoundTrip, assertTruncationRefused } from '../properties.js';
import { codecs, valuesOf12 } from './values12.js';

/** What runs up to the end of its region: a shorter one is another one. */
const endless = ['TpmPermanentFlags', 'TpmNvIndexList', 'TpmBoundData', 'TpmSymCaAttestation'];

describe('structures of TPM 1.2', () => {
  it('are all there', () => {
    expect(codecs.length).toBeGreaterThan(45);
  });

  it.each(codecs)('$name decodes what it encodes', ({ codec }) => {
    assertRoundTrip(codec, valuesOf12(codec));
  });

  it.each(codecs.filter(({ name }) => !endless.includes(name)))(
    '$name refuses bytes that end early or late',
    ({ codec }) => {
      assertTruncationRefused(codec, valuesOf12(codec));
    },
  );

  it.each(codecs)('$name gives no value a second form', ({ codec }) => {
    assertNoOtherForm(codec, valuesOf12(codec));
  });

  it('refuses reserved permissions of an NV index', () => {
    const attempt = () => encode(TpmNvAttributes, { tag: 0x17, attributes: 0x10 });
    expect(attempt).toThrow(WireError);
  });

  it('refuses a binding to no locality at all', () => {
    const info = { pcrSelection: pcrSelection12([]), localityAtRelease: 0, digestAtRelease: new Uint8Array(20) };
    expect(() => encode(TpmPcrInfoShort, info)).toThrow(WireError);
  });
});

describe('PCR selections', () => {
  it('give back the indexes that they are made of', () => {
    expect(selectedPcrs12(pcrSelection12([0, 7, 8, 17, 23]))).toEqual([0, 7, 8, 17, 23]);
    expect(pcrSelection12([11, 12])).toEqual(Uint8Array.of(0, 0x18, 0));
  });

  it('refuse an index that no TPM has', () => {
    expect(() => pcrSelection12([24])).toThrow('expected an index from 0 to 23, got 24');
  });
});
