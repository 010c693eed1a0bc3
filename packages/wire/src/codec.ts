/** What a codec is, and the two functions that run one over a whole buffer. */
import { Reader } from './reader.js';
import { Writer } from './writer.js';

/** One description of a wire format that serves both directions, so that they cannot drift apart. */
export interface Codec<T> {
  /** The name of the format as its specification spells it; error messages carry it. */
  readonly name: string;
  /** Takes one value from `reader`. Throws {@link WireError}. */
  read(reader: Reader): T;
  /** Appends one value to `writer`. Throws {@link WireError}. */
  write(writer: Writer, value: T): void;
}

/** The value type of a codec: `type Header = Infer<typeof Header>`. */
export type Infer<C> = C extends Codec<infer T> ? T : never;

/** Decodes all of `bytes`; throws {@link WireError} where they are short, malformed, or longer than the value. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = codec.read(reader);
  reader.finish(codec.name);
  return value;
}

/**
 * {@link decode}, except that byte strings in the value may be views of `bytes` and not copies: faster, for callers who own `bytes` and
 * change them no more.
 */
export function decodeShared<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes, SHARED);
  const value = codec.read(reader);
  reader.finish(codec.name);
  return value;
}

const SHARED = { shared: true } as const;

/** Encodes `value`; throws {@link WireError} with code `bad-input` where it does not fit the format. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = idle ?? new Writer();
  idle = undefined; // a codec may itself call encode
  try {
    codec.write(writer, value);
    return writer.finish();
  } finally {
    writer.clear();
    idle = writer;
  }
}

/** Allocating a buffer costs more than filling it, so one writer is kept between calls. */
let idle: Writer | undefined;
