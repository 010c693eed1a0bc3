/** Decoding an answer by the types that are expected, all at once: the counterpart of the TEE-SDK's `TZIDecodeF`. */
import { TzError } from './error.js';
import { type Decoder, decodeFailure } from './marshal.js';

/** What a record is decoded as; `skip` takes a record of any type and gives nothing (the `*` of `TZIDecodeF`). */
export type DecodeType = 'uint32' | 'array' | 'text' | 'skip';

interface Decoded {
  readonly uint32: number;
  readonly array: Uint8Array | null;
  readonly text: string;
}

/** The values that the types in `T` give, without those that are skipped. */
export type DecodedValues<T extends readonly DecodeType[]> = T extends readonly [
  infer Head extends DecodeType,
  ...infer Rest extends readonly DecodeType[],
]
  ? readonly [...(Head extends keyof Decoded ? [Decoded[Head]] : []), ...DecodedValues<Rest>]
  : readonly [];

/** Decodes one record for each of `types`; throws `TZ_ERROR_DECODE_*` at the first that is not as expected. */
export function decodeAs<const T extends readonly DecodeType[]>(decoder: Decoder, types: T): DecodedValues<T> {
  const values: (number | Uint8Array | string | null)[] = [];
  for (const type of types) {
    const value = decodeOne(decoder, type);
    if (decoder.error) throw decodeFailure(decoder.error);
    if (type !== 'skip') values.push(value);
  }
  return values as readonly unknown[] as DecodedValues<T>; // made record by record from the same types
}

function decodeOne(decoder: Decoder, type: DecodeType): number | Uint8Array | string | null {
  switch (type) {
    case 'uint32':
      return decoder.uint32();
    case 'array':
      return decoder.arraySpace();
    case 'text':
      return textOf(decoder.arraySpace());
    case 'skip':
      return decoder.value();
  }
}

/** UTF-8 with or without a zero at its end; the NULL array is no text, unless it stands for an error of the decoder. */
function textOf(bytes: Uint8Array | null): string {
  if (bytes === null) return '';
  const end = bytes.at(-1) === 0 ? -1 : bytes.length;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, end));
  } catch (cause) {
    throw new TzError('TZ_ERROR_DECODE_TYPE', 'api', 'decode a text: expected UTF-8', { cause });
  }
}
