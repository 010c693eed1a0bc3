/** Decoding the parameters of a command, with the response codes that a TPM gives: Part 3, 5.7, and Part 2, 6.6. */
import { type AnyCommand, TPM_CC, TPM_RC } from '@casemate/tpm';
import { type Codec, Reader, WireError } from '@casemate/wire';
import { responseCodeOf } from './decoding.js';
import { HASHES, IMPLEMENTATION } from './implementation.js';
import { assertSelectionSizes } from './pcr.js';
import { atParameter, Refusal, refuse, refuseParameter } from './refusal.js';

type Values = Record<string, unknown>;

/** Decodes all parameters of one command; refuses what is malformed and blames its parameter. The caller controls every byte. */
export type ParameterDecoder = (reader: Reader) => Values;

/** The decoder of a command; it takes all that is left. */
export function parameterDecoder(command: AnyCommand): ParameterDecoder {
  const fields = Object.entries(command.parameters.fields);
  const limited = fields.flatMap(([name, codec], i) => {
    const limit = 'name' in codec ? LIST_LIMITS[codec.name] : undefined;
    return limit === undefined ? [] : [{ name, limit, index: i + 1 }];
  });
  const padded = command.code === TPM_CC.ContextLoad ? IMPLEMENTATION.MAX_OBJECT_CONTEXT : undefined;
  return (reader) => {
    const start = reader.offset;
    // Windows Server 2019 fills the parameter of TPM2_ContextLoad up to that size. What it fills it with is looked at no further: the
    // blob tells its own length, and its HMAC covers all of it.
    const isPadded = reader.remaining === padded;
    const blame = (): Values => decodeEach(command, reader.bytes.slice(start));
    let values: Values;
    try {
      values = command.parameters.read(reader) as Values; // made by the codec for this call alone
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return blame();
    }
    if (reader.remaining > 0 && !isPadded) return blame();
    for (const { name, limit, index } of limited) {
      const list = values[name];
      if (Array.isArray(list) && list.length > limit) return blame();
      assertSelectionSizes(list, index);
    }
    return values;
  };
}

// One after another, to find out which parameter is to blame and for what.
function decodeEach(command: AnyCommand, bytes: Uint8Array): Values {
  const values: Values = {};
  const reader = new Reader(bytes);
  Object.entries(command.parameters.fields).forEach(([name, codec], i) => {
    // No command has a union among its parameters: those stand inside of structures.
    values[name] = decodeOne(codec as Codec<unknown>, reader, i + 1);
  });
  return reader.remaining === 0 ? values : refuse(TPM_RC.SIZE);
}

function decodeOne(codec: Codec<unknown>, reader: Reader, index: number): unknown {
  assertCount(codec, reader, index);
  const start = reader.offset;
  try {
    const value = codec.read(reader);
    assertSelectionSizes(value, index);
    return value;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new Refusal(atParameter(sizedCode(codec, reader.bytes.subarray(start), error), index));
  }
}

const LIST_LIMITS: Readonly<Record<string, number>> = {
  TPML_PCR_SELECTION: HASHES.length,
  TPML_DIGEST_VALUES: HASHES.length,
  TPML_CC: 254,
  TPML_ALG: 64,
};

// The buffers that this TPM has for sized data, where they are smaller than what the types allow.
const BUFFER_LIMITS: Readonly<Record<string, number>> = {
  TPM2B_PUBLIC_KEY_RSA: 384,
  TPM2B_ENCRYPTED_SECRET: 384,
  TPM2B_PRIVATE: IMPLEMENTATION.MAX_PRIVATE,
  TPM2B_MAX_BUFFER: IMPLEMENTATION.MAX_BUFFER,
  TPM2B_MAX_NV_BUFFER: IMPLEMENTATION.MAX_BUFFER,
};

// A list that is too long for this TPM, or a choice of fewer than two digests, is refused before its elements are looked at.
function assertCount(codec: Codec<unknown>, reader: Reader, index: number): void {
  const { bytes, offset, remaining } = reader;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [count, size] = [LIST_LIMITS[codec.name], BUFFER_LIMITS[codec.name]];
  const isChoice = codec.name === 'TPML_DIGEST';
  if (isChoice && remaining >= 4 && view.getUint32(offset) < 2) refuseParameter(TPM_RC.SIZE, index);
  if (count !== undefined && remaining >= 4 && view.getUint32(offset) > count) refuseParameter(TPM_RC.SIZE, index);
  if (size !== undefined && remaining >= 2 && view.getUint16(offset) > size) refuseParameter(TPM_RC.SIZE, index);
}

const SIZED_STRUCTURES: ReadonlySet<string> = new Set([
  'TPM2B_SENSITIVE_CREATE',
  'TPM2B_SENSITIVE',
  'TPM2B_PUBLIC',
  'TPM2B_PUBLIC+',
  'TPM2B_NV_PUBLIC',
  'TPM2B_ECC_POINT',
  'TPM2B_CREATION_DATA',
]);

// Of a sized structure a TPM reads the structure first, as far as the command goes, and compares the size afterwards. So where the size
// is wrong, what counts is whether the structure itself is well-formed.
function sizedCode(codec: Codec<unknown>, bytes: Uint8Array, error: WireError): number {
  const isAboutSize = error.code === 'truncated' || error.code === 'too-long' || error.code === 'trailing';
  if (!isAboutSize || !SIZED_STRUCTURES.has(codec.name) || bytes.length < 2) return responseCodeOf(error);
  if (bytes[0] === 0 && bytes[1] === 0) return TPM_RC.SIZE;
  if (bytes.length === 2) return TPM_RC.INSUFFICIENT;
  const whole = bytes.slice();
  new DataView(whole.buffer).setUint16(0, bytes.length - 2);
  try {
    codec.read(new Reader(whole));
    return TPM_RC.SIZE;
  } catch (inner) {
    if (inner instanceof WireError) return responseCodeOf(inner);
    throw inner;
  }
}
