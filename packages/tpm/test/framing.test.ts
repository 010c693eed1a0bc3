/** Frames that are malformed, and the code that a TPM answers to them. */
import { WireError } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  commandByCode,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeResponse,
  PcrExtend,
  TPM_CC,
  TPM_RC,
  TPM_RS,
  TpmError,
  type TpmsAuthCommand,
} from '../src/index.js';

const lookup = (code: number) => commandByCode.get(code);
const fromHex = (hex: string) =>
  Uint8Array.from(hex.replaceAll(' ', '').match(/../g) ?? [], (octet) => Number.parseInt(octet, 16));
const empty = new Uint8Array();
const password: TpmsAuthCommand = { sessionHandle: TPM_RS.PW, nonce: empty, sessionAttributes: 1, hmac: empty };

function refusal(bytes: Uint8Array): TpmError {
  try {
    decodeCommand(bytes, lookup);
  } catch (error) {
    if (error instanceof TpmError) return error;
    throw error;
  }
  throw new Error('the command was accepted');
}

describe('a command', () => {
  const extend = encodeCommand({
    code: TPM_CC.PCR_Extend,
    handles: [16],
    auths: [password],
    parameters: fromHex('00000000'),
  });

  it('is header, handles, sized authorisations and parameters', () => {
    expect(extend).toEqual(fromHex('8002 0000001f 00000182 00000010 00000009 40000009 0000 01 0000 00000000'));
  });

  it('without authorisations has no area for them', () => {
    const bytes = encodeCommand({ code: TPM_CC.GetRandom, handles: [], auths: [], parameters: fromHex('0010') });
    expect(bytes).toEqual(fromHex('8001 0000000c 0000017b 0010'));
    expect(decodeCommand(bytes, lookup)).toStrictEqual({
      code: TPM_CC.GetRandom,
      handles: [],
      auths: [],
      parameters: fromHex('0010'),
    });
  });

  it.each([
    ['is shorter than a header', '8001 0000000a 0000', TPM_RC.COMMAND_SIZE],
    ['is longer than its header says', '8001 0000000a 0000017b 00', TPM_RC.COMMAND_SIZE],
    ['is shorter than its header says', '8001 0000000c 0000017b', TPM_RC.COMMAND_SIZE],
    ['has the tag of a TPM 1.2', '00c1 0000000c 00000099 0001', TPM_RC.BAD_TAG],
    ['has an unknown code', '8001 0000000a 000001ff', TPM_RC.COMMAND_CODE],
    ['lacks its only handle', '8001 0000000a 00000173', 0x19a],
    ['lacks half of its second handle', '8001 00000010 00000122 4000000c 0150', 0x29a],
    ['lacks the size of its authorisations', '8002 0000000e 00000182 00000010', TPM_RC.INSUFFICIENT],
    ['claims fewer authorisations than any has', '8002 00000012 00000182 00000010 00000000', TPM_RC.AUTHSIZE],
    [
      'claims more authorisations than there are',
      '8002 0000001b 00000182 00000010 0000000a 40000009 0000 01 0000',
      TPM_RC.AUTHSIZE,
    ],
    ['has an authorisation cut short', '8002 0000001c 00000182 00000010 00000009 40000009 0000 01 0001 61', 0x99a],
    [
      'authorises with a handle that is no session',
      '8002 0000001b 00000182 00000010 00000009 80000000 0000 01 0000',
      0x984,
    ],
    ['sets a reserved bit of its session', '8002 0000001b 00000182 00000010 00000009 40000009 0000 19 0000', 0x9a1],
  ])('that %s is refused as a TPM refuses it', (_, hex, responseCode) => {
    const error = refusal(fromHex(hex));
    expect(error.code).toBe('decode');
    expect(error.response?.code).toBe(responseCode);
  });

  it('blames the second session for what is wrong with it', () => {
    const bytes = fromHex('8002 00000024 00000182 00000010 00000012 40000009 0000 01 0000 40000009 0000 08 0000');
    expect(refusal(bytes).response?.origin).toEqual({ kind: 'session', index: 2 });
  });

  it('takes three sessions and refuses a fourth', () => {
    const auths = [password, password, password];
    const frame = { code: TPM_CC.PCR_Extend, handles: [16], parameters: empty };
    expect(decodeCommand(encodeCommand({ ...frame, auths }), lookup).auths).toHaveLength(3);
    expect(() => encodeCommand({ ...frame, auths: [...auths, password] })).toThrow(WireError);
    const four = fromHex(`8002 00000036 00000182 00000010 00000024 ${'40000009 0000 01 0000 '.repeat(4)}`);
    expect(refusal(four).response?.code).toBe(TPM_RC.AUTHSIZE);
  });

  it('is no longer than 4096 bytes unless told otherwise', () => {
    const long = { code: TPM_CC.GetRandom, handles: [], auths: [], parameters: new Uint8Array(4087) };
    expect(() => encodeCommand(long)).toThrow('expected at most 4096 bytes, got 4097');
    const bytes = encodeCommand(long, { maxSize: 8192 });
    expect(refusal(bytes).response?.code).toBe(TPM_RC.COMMAND_SIZE);
    expect(decodeCommand(bytes, lookup, { maxSize: 8192 }).parameters).toHaveLength(4087);
  });

  it('never shares memory with what was received', () => {
    const received = extend.slice();
    const { parameters } = decodeCommand(received, lookup);
    received.fill(0xff);
    expect(parameters).toEqual(fromHex('00000000'));
  });

  it('decodes to itself or is refused with a TpmError, whatever bytes arrive', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.tuple(fc.nat({ max: extend.length - 1 }), fc.nat({ max: 255 })).map(([at, octet]) => {
        const changed = extend.slice();
        changed[at] = octet;
        return changed;
      }),
    );
    fc.assert(
      fc.property(anything, (bytes) => {
        try {
          expect(encodeCommand(decodeCommand(bytes, lookup))).toEqual(bytes);
        } catch (error) {
          if (!(error instanceof TpmError)) throw error;
          expect(error.response).toBeDefined();
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a response', () => {
  it('with a code other than success is its header alone', () => {
    const frame = { responseCode: 0x922, handles: [1], parameters: fromHex('00'), auths: [] };
    expect(encodeResponse(frame)).toEqual(fromHex('8001 0000000a 00000922'));
    expect(decodeResponse(PcrExtend, encodeResponse(frame))).toEqual({
      responseCode: 0x922,
      handles: [],
      parameters: empty,
      auths: [],
    });
  });

  it('to an unknown tag looks like that of a TPM 1.2', () => {
    const frame = { responseCode: TPM_RC.BAD_TAG, handles: [], parameters: empty, auths: [] };
    expect(encodeResponse(frame)).toEqual(fromHex('00c4 0000000a 0000001e'));
    expect(decodeResponse(PcrExtend, encodeResponse(frame)).responseCode).toBe(TPM_RC.BAD_TAG);
  });

  it.each([
    ['is empty', ''],
    ['ends inside its header', '8001 0000000a 0000'],
    ['is longer than its header says', '8001 0000000a 00000000 00'],
    ['is shorter than its header says', '8001 0000000b 00000000'],
    ['has another tag', '8003 0000000a 00000000'],
    ['has a success with the tag of a TPM 1.2', '00c4 0000000a 00000000'],
    ['has a refusal with the tag of one with sessions', '8002 0000000a 00000100'],
    ['has a refusal with an unknown tag', '0000 0000000a 00000100'],
    ['has the tag of one with sessions, and none', '8002 0000000e 00000000 00000000'],
    ['refuses and goes on', '8001 0000000b 00000100 00'],
    ['claims more parameters than there are', '8002 00000013 00000000 00000001 0000 00 0000'],
    ['has an authorisation cut short', '8002 00000012 00000000 00000000 0000 00 00'],
    ['has a byte after its authorisations', '8002 00000014 00000000 00000000 0000 00 0000 00'],
  ])('that %s is refused', (_, hex) => {
    expect(() => decodeResponse(PcrExtend, fromHex(hex))).toThrow(
      expect.objectContaining({
        name: 'TpmError',
        code: 'decode',
        message: expect.stringContaining('TPM2_PCR_Extend'),
        path: expect.any(String),
        offset: expect.any(Number),
      }),
    );
  });

  it('is no longer than 4096 bytes unless told otherwise', () => {
    const long = new Uint8Array(4097);
    expect(() => decodeResponse(PcrExtend, long)).toThrow('expected at most 4096 bytes, got 4097');
  });
});
