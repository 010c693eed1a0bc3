/** The micro-TPM of a PAL: its commands as bytes beside the codecs of `@casemate/tpm`, and what its uPCRs and quotes say. */
import * as T from '@casemate/tpm';
import { openMicroUtpm } from '@casemate/utpm/micro';
import { decode, encode } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../src/digest.js';
import { identityKeyCommand } from '../src/identity-key.js';
import { MicroCommands, parseQuote } from '../src/micro-commands.js';
import { MicroTpm, microSeeds } from '../src/micro-tpm.js';

const NONE = new Uint8Array(0);
const KEY = 0x80000001;
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const mask = fc.integer({ min: 1, max: 255 });
const index = fc.integer({ min: 0, max: 7 });
const indexesOf = (bits: number) => [0, 1, 2, 3, 4, 5, 6, 7].filter((each) => (bits & (1 << each)) !== 0);
const password = {
  sessionHandle: T.TPM_RS.PW,
  nonce: NONE,
  sessionAttributes: T.TPMA_SESSION.continueSession,
  hmac: NONE,
};

describe('the bytes of a command', () => {
  it('of TPM2_PCR_Extend are those that the codecs make', () => {
    const commands = new MicroCommands(KEY);
    fc.assert(
      fc.property(index, bytes(32), (pcr, digest) => {
        const digests = [{ hashAlg: T.TPM_ALG.SHA256, digest }] as const;
        const parameters = encode(T.PcrExtend.parameters, { digests });
        const frame = { code: T.TPM_CC.PCR_Extend, handles: [pcr], auths: [password], parameters };
        expect(commands.extend(pcr, digest)).toEqual(T.encodeCommand(frame));
      }),
    );
    expect(() => commands.extend(0, new Uint8Array(31))).toThrowError(expect.objectContaining({ code: 'input' }));
  });

  it('of TPM2_Quote are those that the codecs make, one after another with nonces of all lengths', () => {
    const commands = new MicroCommands(KEY);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), mask, (nonce, bits) => {
        const parameters = encode(T.Quote.parameters, {
          qualifyingData: nonce,
          inScheme: { scheme: T.TPM_ALG.NULL },
          PCRselect: T.pcrSelection({ sha256: indexesOf(bits) }),
        });
        const frame = { code: T.TPM_CC.Quote, handles: [KEY], auths: [password], parameters };
        expect(commands.quote(nonce, bits)).toEqual(T.encodeCommand(frame));
      }),
    );
    expect(() => commands.quote(new Uint8Array(65), 1)).toThrowError(expect.objectContaining({ code: 'input' }));
  });
});

describe('the response to TPM2_Quote', () => {
  it('falls into the parts that the codecs find in it, and is refused where it is cut off or says no', async () => {
    await using micro = await openMicroUtpm({ startup: true });
    const { handle } = await T.createPrimary(new T.Tpm(micro), { template: T.akTemplate('ecc-p256') });
    const commands = new MicroCommands(handle);
    for (const length of [0, 20, 64]) {
      const response = await micro.execute(commands.quote(new Uint8Array(length).fill(3), 0x81));
      const { quoted, signature } = parseQuote(response);
      const { parameters } = T.decodeResponse({ name: 'TPM2_Quote', responseHandles: [] }, response);
      const expected = decode(T.Quote.response, parameters);
      expect(quoted).toEqual(expected.quoted);
      expect(signature).toEqual(encode(T.TpmtSignatureOrNull, expected.signature));
      for (let at = 0; at < 14 + parameters.length; at++) {
        expect(() => parseQuote(response.slice(0, at)), `cut at ${at}`).toThrowError(
          expect.objectContaining({ code: 'tpm' }),
        );
      }
    }
    const refusal = await micro.execute(new MicroCommands(handle + 1).quote(NONE, 1));
    expect(() => parseQuote(refusal)).toThrowError(expect.objectContaining({ code: 'tpm' }));
  });
});

describe('a PAL’s micro-TPM', () => {
  const measurement = new Uint8Array(32).fill(2);
  const source = () => ({
    seeds: microSeeds(new Uint8Array(32).fill(1), measurement),
    identityKey: identityKeyCommand(),
    measurement,
  });

  it('quotes what its uPCRs hold, which is what they were extended by; the quotes verify offline', async () => {
    const micro = await MicroTpm.open(source());
    const signer = decode(T.TpmtPublic, micro.identity);
    const pcrs = new Map([[0, sha256(new Uint8Array(32), measurement)]]);
    const step = fc.tuple(index, bytes(32), mask, fc.uint8Array({ maxLength: 64 }));
    for (const [pcr, digest, bits, nonce] of fc.sample(step, 20)) {
      micro.pcrExtend(pcr, digest);
      pcrs.set(pcr, sha256(pcrs.get(pcr) ?? new Uint8Array(32), digest));
      const { quoted, signature } = micro.quote(nonce, bits);
      const values = Object.fromEntries(indexesOf(bits).map((each) => [each, pcrs.get(each) ?? new Uint8Array(32)]));
      const input = { signer, attest: quoted, signature, nonce, pcrs: { sha256: values } };
      expect(T.verifyQuote(input)).toMatchObject({ ok: true });
      expect(micro.pcrDigest(bits)).toEqual(sha256(...Object.values(values)));
      for (const each of indexesOf(0xff)) expect(micro.pcrRead(each)).toEqual(pcrs.get(each) ?? new Uint8Array(32));
    }
    await micro.close();
  });

  it('is as new after a reset, with the same identity', async () => {
    const micro = await MicroTpm.open(source());
    const [identity, before] = [micro.identity, micro.pcrDigest(0xff)];
    micro.pcrExtend(5, new Uint8Array(32).fill(1));
    expect(micro.pcrDigest(0xff)).not.toEqual(before);
    await micro.reset();
    expect(micro.pcrDigest(0xff)).toEqual(before);
    expect(micro.pcrRead(5)).toEqual(new Uint8Array(32));
    expect(micro.identity).toEqual(identity);
    const { quoted, signature } = micro.quote(NONE, 1);
    expect(T.verifyAttestSignature(decode(T.TpmtPublic, identity), quoted, signature)).toBe(true);
    await micro.close();
  });

  it('is as new after a quote that broke off in the middle, and wipes its seeds when it is closed', async () => {
    const given = source();
    const micro = await MicroTpm.open(given);
    const { identity } = micro;
    expect(() => micro.quote(new Uint8Array(65), 1)).toThrowError(expect.objectContaining({ code: 'input' }));
    await micro.reset();
    expect(micro.identity).toEqual(identity);
    await micro.close();
    for (const seed of Object.values(given.seeds)) expect(seed).toEqual(new Uint8Array(32));
    expect(() => micro.quote(NONE, 1)).toThrow(/closed/);
  });
});
