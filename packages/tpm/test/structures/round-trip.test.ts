/** Every codec of Part 2 in both directions. */
import { type Codec, decode, encode, WireError } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import * as tpm from '../../src/index.js';
import { assertArbitraryBytes, assertNoOtherForm, assertRoundTrip, assertTruncationRefused } from '../properties.js';
import { valuesOf } from '../values.js';

function isCodec(value: unknown): value is Codec<unknown> {
  return typeof value === 'object' && value !== null && 'read' in value && 'write' in value;
}

const codecs = Object.entries(tpm).flatMap(([name, value]) =>
  isCodec(value) && /^(Tpm|Int|PcrSelect)/.test(name) ? [{ name, codec: value }] : [],
);
/** The encrypted identity runs up to the end, so a shorter blob is another blob. */
const endless = ['TpmsIdObject'];
const bytesless = ['TpmsEmpty'];

describe('structures', () => {
  it('are all there', () => {
    expect(codecs.length).toBeGreaterThan(200);
  });

  it.each(codecs)('$name decodes what it encodes', ({ codec }) => {
    assertRoundTrip(codec, valuesOf(codec));
  });

  it.each(codecs.filter(({ name }) => ![...endless, ...bytesless].includes(name)))(
    '$name refuses bytes that end early or late',
    ({ codec }) => {
      assertTruncationRefused(codec, valuesOf(codec));
    },
  );

  it.each(codecs)('$name gives no value a second form', ({ codec }) => {
    assertNoOtherForm(codec, valuesOf(codec));
    assertArbitraryBytes(codec);
  });
});

describe('bounds', () => {
  const P256: tpm.TpmtPublic = {
    type: tpm.TPM_ALG.ECC,
    nameAlg: tpm.TPM_ALG.SHA256,
    objectAttributes: tpm.TPMA_OBJECT.sign | tpm.TPMA_OBJECT.userWithAuth,
    authPolicy: new Uint8Array(),
    parameters: {
      symmetric: { algorithm: tpm.TPM_ALG.NULL },
      scheme: { scheme: tpm.TPM_ALG.ECDSA, details: { hashAlg: tpm.TPM_ALG.SHA256 } },
      curveID: tpm.TPM_ECC_CURVE.NIST_P256,
      kdf: { scheme: tpm.TPM_ALG.NULL },
    },
    unique: { x: new Uint8Array(32), y: new Uint8Array(32) },
  };

  it('names the field at fault', () => {
    const bytes = encode(tpm.Tpm2bPublic, P256);
    bytes[10] = 0xff; // the high octet of the size of authPolicy
    const attempt = () => decode(tpm.Tpm2bPublic, bytes);
    expect(attempt).toThrow('decode TPM2B_DIGEST: expected at most 64 bytes, got 65280 (at authPolicy, offset 0xa)');
  });

  it('refuses a digest of another size than its algorithm has', () => {
    const value = { hashAlg: tpm.TPM_ALG.SHA384, digest: new Uint8Array(32) } as const;
    expect(() => encode(tpm.TpmtHa, value)).toThrow(WireError);
  });

  it('takes nothing but true and false for yes and no, so that what was forgotten or misspelled is no "no"', () => {
    for (const value of [undefined, null, 0, 1, 'no', {}]) {
      expect(() => encode(tpm.TpmiYesNo, value as never), String(value)).toThrow(WireError);
    }
    const { parameters } = tpm.HierarchyControl;
    for (let time = 0; time < 60; time++) {
      expect(() => encode(parameters, { enable: tpm.TPM_RH.OWNER } as never)).toThrow(/expected a boolean.*at state/);
    }
    expect(encode(parameters, { enable: tpm.TPM_RH.OWNER, state: false })[4]).toBe(0);
  });

  it('leaves the capabilities of a vendor as bytes up to the end of the response', () => {
    const bytes = Uint8Array.of(0, 0, 0, 1, 0, 0x69, 0x4e, 0x54, 0x43);
    const answer = tpm.encodeResponse({ responseCode: 0, handles: [], auths: [], parameters: bytes });
    const { parameters } = tpm.decodeAnswer(tpm.GetCapability, answer);
    const capabilityData = { capability: tpm.TPM_CAP.VENDOR_PROPERTY, data: bytes.slice(5) } as const;
    expect(parameters).toEqual({ moreData: false, capabilityData });
    expect(encode(tpm.TpmsCapabilityData, capabilityData)).toEqual(bytes.slice(1));
  });

  it('refuses a missing list of branches by its name', () => {
    expect(() => encode(tpm.PolicyOr.parameters, {} as never)).toThrow(/expected an array.*at pHashList/);
  });

  it('refuses TPM_ALG_NULL where the specification has no plus', () => {
    expect(() => decode(tpm.TpmtSignature, new Uint8Array([0, 0x10]))).toThrow(WireError);
    expect(decode(tpm.TpmtSignatureOrNull, new Uint8Array([0, 0x10]))).toEqual({ sigAlg: tpm.TPM_ALG.NULL });
    expect(() => encode(tpm.TpmtPublic, { ...P256, nameAlg: tpm.TPM_ALG.NULL as never })).toThrow(WireError);
    expect(encode(tpm.TpmtPublicOrNull, { ...P256, nameAlg: tpm.TPM_ALG.NULL })[3]).toBe(0x10);
  });

  it('refuses a scheme of another kind of key', () => {
    const bytes = encode(tpm.TpmtEccSchemeOrNull, P256.parameters.scheme as tpm.TpmtEccSchemeOrNull);
    expect(() => decode(tpm.TpmtRsaSchemeOrNull, bytes)).toThrow(WireError);
  });

  it('refuses an empty bit map of PCRs and one of more than 32', () => {
    const bytes = (map: number) => new Uint8Array([0, 0x0b, map, ...new Uint8Array(map)]);
    expect(() => decode(tpm.TpmsPcrSelection, bytes(0))).toThrow(WireError);
    expect(decode(tpm.TpmsPcrSelection, bytes(4)).pcrSelect).toHaveLength(4);
    expect(() => decode(tpm.TpmsPcrSelection, bytes(5))).toThrow(WireError);
  });

  it('refuses a count that the bytes cannot hold before it reads them', () => {
    const counted = new Uint8Array([0xff, 0xff, 0xff, 0xff]);
    for (const codec of [tpm.TpmlDigest, tpm.TpmlHandle, tpm.TpmlPcrSelection, tpm.TpmlAlgProperty]) {
      expect(() => decode(codec as Codec<unknown>, counted)).toThrow(/expected at most \d+ elements/);
    }
  });

  it('takes up to 80 bytes of a coordinate, as BN_P638 needs', () => {
    expect(encode(tpm.Tpm2bEccParameter, new Uint8Array(80))).toHaveLength(82);
    expect(() => encode(tpm.Tpm2bEccParameter, new Uint8Array(81))).toThrow(WireError);
  });

  it('takes signed numbers from one end of their range to the other', () => {
    expect(encode(tpm.Int32, -1)).toEqual(new Uint8Array([0xff, 0xff, 0xff, 0xff]));
    expect(encode(tpm.TpmClockAdjust, tpm.TPM_CLOCK_ADJUST.COARSE_SLOWER)).toEqual(new Uint8Array([0xfd]));
    expect(() => encode(tpm.Int8, 128)).toThrow(WireError);
    expect(() => encode(tpm.Int32, 1.5)).toThrow(WireError);
    expect(() => encode(tpm.Int64, 2n ** 63n)).toThrow(WireError);
  });
});
