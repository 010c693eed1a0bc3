/** Binary codecs with bounded reads and path errors. */
export { type Codec, decode, decodeShared, encode, type Infer } from './codec.js';
export {
  array,
  checked,
  type Fields,
  lazy,
  mapped,
  optionalSized,
  repeated,
  type StructCodec,
  type StructValue,
  sized,
  struct,
  type UnionField,
  union,
} from './composite.js';
export { WireError, type WireErrorCode } from './error.js';
export {
  bytes,
  constant,
  empty,
  flags,
  oneOf,
  rest,
  sizedBytes,
  text,
  u8,
  u16,
  u16le,
  u32,
  u32le,
  u64,
  u64le,
  uint8,
  uint16,
  uint32,
  within,
} from './primitives.js';
export { Reader } from './reader.js';
export { Writer } from './writer.js';
