/** Request and response of every command in both directions. */
import { decode, encode } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AnyCommand,
  commandByCode,
  commands,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeResponse,
  TpmError,
  TpmsAuthCommand,
  TpmsAuthResponse,
} from '../../src/index.js';
import { assertNoOtherForm, assertRoundTrip, assertTruncationRefused } from '../properties.js';
import { recordsOf, valuesOf } from '../values.js';

const hasParameters = (fields: object) => Object.keys(fields).length > 0;

describe.each(commands)('$name', (command) => {
  const requests = recordsOf(command.parameters.fields);
  const responses = recordsOf(command.response.fields);

  it('decodes the parameters that it encodes, and refuses them at every other length', () => {
    assertRoundTrip(command.parameters, requests, 15);
    assertNoOtherForm(command.parameters, requests, 15);
    if (hasParameters(command.parameters.fields)) assertTruncationRefused(command.parameters, requests, 2);
  });

  it('decodes the response that it encodes, and refuses it at every other length', () => {
    assertRoundTrip(command.response, responses, 15);
    assertNoOtherForm(command.response, responses, 15);
    if (hasParameters(command.response.fields)) assertTruncationRefused(command.response, responses, 2);
  });

  it('survives its frames in both directions', () => {
    fc.assert(fc.property(framesOf(command), checkFrames(command)), { numRuns: 8 });
  });
});

interface Frames {
  readonly handles: readonly unknown[];
  readonly request: Readonly<Record<string, unknown>>;
  readonly auths: readonly unknown[];
  readonly responseHandles: readonly unknown[];
  readonly response: Readonly<Record<string, unknown>>;
  readonly answers: readonly unknown[];
}

function framesOf(command: AnyCommand): fc.Arbitrary<Frames> {
  return fc.record({
    handles: fc.tuple(...command.handles.map(({ codec }) => valuesOf(codec))),
    request: recordsOf(command.parameters.fields),
    auths: fc.array(valuesOf(TpmsAuthCommand), { maxLength: 3 }),
    responseHandles: fc.tuple(...command.responseHandles.map(({ codec }) => valuesOf(codec))),
    response: recordsOf(command.response.fields),
    answers: fc.array(valuesOf(TpmsAuthResponse), { maxLength: 3 }),
  });
}

function checkFrames(command: AnyCommand): (frames: Frames) => void {
  const limits = { maxSize: 0x10000 };
  return ({ handles, request, auths, responseHandles, response, answers }) => {
    const sent = {
      code: command.code,
      handles: handles as number[], // made by handle codecs
      auths: auths as TpmsAuthCommand[], // made by the codec
      parameters: encode(command.parameters, request),
    };
    const received = decodeCommand(encodeCommand(sent, limits), (code) => commandByCode.get(code), limits);
    expect(received).toStrictEqual(sent);
    expect(decode(command.parameters, received.parameters)).toStrictEqual(request);
    const answered = {
      responseCode: 0,
      handles: responseHandles as number[], // made by handle codecs
      parameters: encode(command.response, response),
      auths: answers as TpmsAuthResponse[], // made by the codec
    };
    const bytes = encodeResponse(answered, limits);
    expect(decodeResponse(command, bytes, limits)).toStrictEqual(answered);
    expect(() => decodeResponse(command, bytes.subarray(0, -1), limits)).toThrow(TpmError);
  };
}
