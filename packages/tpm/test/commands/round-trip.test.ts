/** Request and response of every command in both directions. */
import { decode, encode, WireError } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AnyCommand,
  type CommandFrame,
  commandByCode,
  commands,
  decodeAnswer,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeResponse,
  type ResponseFrame,
  TpmError,
  TpmsAuthCommand,
  TpmsAuthResponse,
} from '../../src/index.js';
import { assertArbitraryBytes, assertNoOtherForm, assertRoundTrip, assertTruncationRefused } from '../properties.js';
import { recordsOf, valuesOf } from '../values.js';

const hasParameters = (fields: object) => Object.keys(fields).length > 0;

describe.each(commands)('$name', (command) => {
  const requests = recordsOf(command.parameters.fields);
  const responses = recordsOf(command.response.fields);

  it('decodes the parameters that it encodes, and refuses them at every other length', () => {
    assertRoundTrip(command.parameters, requests, 15);
    assertNoOtherForm(command.parameters, requests, 15);
    assertArbitraryBytes(command.parameters);
    if (hasParameters(command.parameters.fields)) assertTruncationRefused(command.parameters, requests, 2);
  });

  it('decodes the response that it encodes, and refuses it at every other length', () => {
    assertRoundTrip(command.response, responses, 15);
    assertNoOtherForm(command.response, responses, 15);
    assertArbitraryBytes(command.response);
    if (hasParameters(command.response.fields)) assertTruncationRefused(command.response, responses, 2);
  });

  it('survives its frames in both directions', () => {
    fc.assert(fc.property(framesOf(command), checkFrames(command)), { numRuns: 8 });
  });

  it('refuses its frames cut at every byte, whatever their headers say', () => {
    fc.assert(fc.property(framesOf(command), checkCuts(command)), { numRuns: 2 });
  });
});

it('the commands above are all 122', () => {
  expect(new Set(commands.map(({ name }) => name)).size).toBe(122);
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

const limits = { maxSize: 0x10000 };
const lookup = (code: number) => commandByCode.get(code);

function sentIn(command: AnyCommand, { handles, auths, request }: Frames): CommandFrame {
  return {
    code: command.code,
    handles: handles as number[], // made by handle codecs
    auths: auths as TpmsAuthCommand[], // made by the codec
    parameters: encode(command.parameters, request),
  };
}

function answeredIn(command: AnyCommand, { responseHandles, answers, response }: Frames): ResponseFrame {
  return {
    responseCode: 0,
    handles: responseHandles as number[], // made by handle codecs
    parameters: encode(command.response, response),
    auths: answers as TpmsAuthResponse[], // made by the codec
  };
}

function checkFrames(command: AnyCommand): (frames: Frames) => void {
  return (frames) => {
    const sent = sentIn(command, frames);
    const received = decodeCommand(encodeCommand(sent, limits), lookup, limits);
    expect(received).toStrictEqual(sent);
    expect(decode(command.parameters, received.parameters)).toStrictEqual(frames.request);
    const answered = answeredIn(command, frames);
    const bytes = encodeResponse(answered, limits);
    expect(decodeResponse(command, bytes, limits)).toStrictEqual(answered);
    const { parameters } = decodeAnswer(command, bytes, limits);
    expect(parameters).toStrictEqual(frames.response);
  };
}

function checkCuts(command: AnyCommand): (frames: Frames) => void {
  return (frames) => {
    const request = encodeCommand(sentIn(command, frames), limits);
    for (const cut of cutsOf(request)) {
      expectRefusal(cut, (bytes) => decode(command.parameters, decodeCommand(bytes, lookup, limits).parameters));
    }
    const response = encodeResponse(answeredIn(command, frames), limits);
    const { auths } = decodeResponse(command, response, limits);
    for (const cut of cutsOf(response)) {
      expectRefusal(cut, (bytes) => {
        // Cut between two authorisations a response is whole; it is the client that counts them.
        const whole = decodeAnswer(command, bytes, limits);
        if (whole.auths.length < auths.length) throw new TpmError('integrity', 'the response has too few of them');
      });
    }
  };
}

/** `frame` up to each of its bytes, as it is and with a header that says the shorter length. */
function* cutsOf(frame: Uint8Array): Generator<Uint8Array> {
  for (let length = 0; length < frame.length; length++) {
    yield frame.slice(0, length);
    if (length < 6) continue;
    const cut = frame.slice(0, length);
    new DataView(cut.buffer).setUint32(2, length);
    yield cut;
  }
}

function expectRefusal(bytes: Uint8Array, decodeAll: (bytes: Uint8Array) => unknown): void {
  try {
    decodeAll(bytes);
  } catch (error) {
    if (error instanceof TpmError || error instanceof WireError) return;
    throw error;
  }
  throw new Error(`${bytes.length} bytes of a frame were taken for a whole one`);
}
