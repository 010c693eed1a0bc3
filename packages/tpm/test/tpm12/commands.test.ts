/** Every command of TPM 1.2 in both directions, and frames. */
import { decode, encode } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TpmError } from '../../src/index.js';
import {
  type AnyCommand12,
  AuthCommand12,
  AuthResponse12,
  commandByOrdinal,
  commands12,
  decodeCommand12,
  decodeResponse12,
  encodeCommand12,
  encodeResponse12,
  NvReadValue,
  PcrRead,
  parseResult,
  resultError,
  TPM_ORD,
  TPM_RESULT,
} from '../../src/tpm12.js';
import { assertNoOtherForm, assertRoundTrip, assertTruncationRefused } from '../properties.js';
import { recordsOf12, valuesOf12 } from './values12.js';

const hasParameters = (fields: object) => Object.keys(fields).length > 0;
const lookup = (ordinal: number) => commandByOrdinal.get(ordinal);

describe.each(commands12)('$name', (command) => {
  it('decodes the parameters and response that it encodes, and refuses them at every other length', () => {
    for (const codec of [command.parameters, command.response]) {
      const values = recordsOf12(codec.fields);
      assertRoundTrip(codec, values, 15);
      assertNoOtherForm(codec, values, 15);
      if (hasParameters(codec.fields)) assertTruncationRefused(codec, values, 2);
    }
  });

  it('survives its frames in both directions', () => {
    fc.assert(fc.property(framesOf(command), checkFrames(command)), { numRuns: 8 });
  });

  it('refuses frames that end early or late, by typed errors alone', () => {
    fc.assert(fc.property(framesOf(command), checkTruncation(command)), { numRuns: 2 });
  });

  it('has the ordinal of its name', () => {
    expect(Object.values(TPM_ORD)).toContain(command.ordinal);
    expect(commands12.filter(({ ordinal }) => ordinal === command.ordinal)).toEqual([command]);
  });
});

describe('frames', () => {
  it('are as long as their header says', () => {
    const bytes = encodeCommand12({ ordinal: PcrRead.ordinal, handles: [], parameters: new Uint8Array(4), auths: [] });
    expect(Buffer.from(bytes).toString('hex')).toBe('00c10000000e0000001500000000');
    bytes[5] = 15;
    expect(() => decodeCommand12(bytes, lookup)).toThrow('expected 15 bytes as the header says, got 14');
  });

  it('name the return code that a TPM gives to what they refuse', () => {
    const refusal = (hex: string) => codeOf(() => decodeCommand12(Buffer.from(hex, 'hex'), lookup));
    expect(refusal('00c00000000e0000001500000000')).toBe(TPM_RESULT.BADTAG);
    expect(refusal('00c10000000e0000ffff00000000')).toBe(TPM_RESULT.BAD_ORDINAL);
    expect(refusal('00c10000000f0000001500000000')).toBe(TPM_RESULT.BAD_PARAM_SIZE);
    expect(refusal('00c20000000e0000001500000000')).toBe(TPM_RESULT.BAD_PARAM_SIZE);
  });

  it('refuse a response with more or fewer authorisations than the command had', () => {
    const response = encodeResponse12({ returnCode: 0, handles: [], parameters: new Uint8Array(20), auths: [] });
    expect(decodeResponse12(PcrRead, 0, response).parameters).toHaveLength(20);
    expect(() => decodeResponse12(NvReadValue, 1, response)).toThrow('expected the tag of 1 authorisations, got 0xc4');
  });

  it('refuse a response that is longer than any TPM gives', () => {
    expect(() => decodeResponse12(PcrRead, 0, new Uint8Array(4097))).toThrow('expected at most 4096 bytes');
  });
});

describe('return codes', () => {
  it('have number, name and meaning', () => {
    expect(parseResult(TPM_RESULT.AUTHFAIL)).toMatchObject({ code: 1, name: 'TPM_AUTHFAIL', severity: 'error' });
    expect(parseResult(TPM_RESULT.DEFEND_LOCK_RUNNING)).toMatchObject({ code: 0x803, severity: 'warning' });
    expect(parseResult(0)).toMatchObject({ name: 'TPM_SUCCESS', severity: 'success' });
  });

  it('outside the specification keep their number', () => {
    expect(parseResult(0x123).name).toBe('0x123');
    expect(parseResult(0x432).explanation).toContain('vendor');
  });

  it('come as the one error class of the package', () => {
    const error = resultError('TPM_Unseal', TPM_RESULT.WRONGPCRVAL);
    expect(error).toBeInstanceOf(TpmError);
    expect(error).toMatchObject({ code: 'response', response: { name: 'TPM_WRONGPCRVAL', number: 24 } });
    expect(error.message).toMatch(/^TPM_Unseal: TPM_WRONGPCRVAL \(0x018\): /);
  });
});

interface Frames {
  readonly handles: readonly number[];
  readonly request: Readonly<Record<string, unknown>>;
  readonly auths: readonly AuthCommand12[];
  readonly responseHandles: readonly number[];
  readonly response: Readonly<Record<string, unknown>>;
  readonly answers: readonly AuthResponse12[];
}

const handle = fc.nat({ max: 0xffffffff });

function framesOf(command: AnyCommand12): fc.Arbitrary<Frames> {
  const minLength = command.auths.filter(({ optional }) => !optional).length;
  return fc.nat({ max: command.auths.length - minLength }).chain((more) => {
    const exactly = { minLength: minLength + more, maxLength: minLength + more };
    return fc.record({
      handles: fc.array(handle, { minLength: command.handles.length, maxLength: command.handles.length }),
      request: recordsOf12(command.parameters.fields),
      auths: fc.array(valuesOf12(AuthCommand12), exactly) as fc.Arbitrary<readonly AuthCommand12[]>,
      responseHandles: fc.tuple(...command.responseHandles.map(() => handle)),
      response: recordsOf12(command.response.fields),
      answers: fc.array(valuesOf12(AuthResponse12), exactly) as fc.Arbitrary<readonly AuthResponse12[]>,
    });
  });
}

function encodeFrames(
  command: AnyCommand12,
  frames: Frames,
): { readonly request: Uint8Array; readonly response: Uint8Array } {
  const { ordinal } = command;
  const parameters = encode(command.parameters, frames.request);
  const request = encodeCommand12({ ordinal, handles: frames.handles, parameters, auths: frames.auths });
  const results = { handles: frames.responseHandles, parameters: encode(command.response, frames.response) };
  return { request, response: encodeResponse12({ returnCode: 0, ...results, auths: frames.answers }) };
}

function checkFrames(command: AnyCommand12) {
  return (frames: Frames): void => {
    const bytes = encodeFrames(command, frames);
    const request = decodeCommand12(bytes.request, lookup);
    expect(request.handles).toEqual(frames.handles);
    expect(decode(command.parameters, request.parameters)).toStrictEqual(frames.request);
    expect(request.auths).toEqual(frames.auths);
    const response = decodeResponse12(command, frames.answers.length, bytes.response);
    expect(response.handles).toEqual(frames.responseHandles);
    expect(decode(command.response, response.parameters)).toStrictEqual(frames.response);
    expect(response.auths).toEqual(frames.answers);
  };
}

function checkTruncation(command: AnyCommand12) {
  return (frames: Frames): void => {
    const { request, response } = encodeFrames(command, frames);
    for (const bytes of [...shortened(request), new Uint8Array([...request, 0])]) {
      expect(codeOf(() => decodeCommand12(bytes, lookup))).toBeGreaterThan(0);
    }
    for (const bytes of [...shortened(response), new Uint8Array([...response, 0])]) {
      expect(() => decodeResponse12(command, frames.answers.length, bytes)).toThrow(TpmError);
    }
  };
}

function shortened(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, length) => bytes.subarray(0, length));
}

function codeOf(attempt: () => unknown): number {
  try {
    attempt();
  } catch (error) {
    if (error instanceof TpmError && error.code === 'decode') return error.response?.code ?? -1;
    throw error;
  }
  return 0;
}
