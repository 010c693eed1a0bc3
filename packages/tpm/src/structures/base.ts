/** Base types. TPM 2.0 Part 2, clause 5. The unsigned ones are those of `@casemate/wire`. */
import { type Codec, type Infer, type Reader, u8, u16, u32, u64, uint16, type Writer } from '@casemate/wire';

/** Signed 8-bit integer. TPM 2.0 Part 2, table 3. */
export const Int8: Codec<number> = signed('INT8', u8, 8);
/** The value type of {@link Int8}. */
export type Int8 = Infer<typeof Int8>;

/** Signed 16-bit integer. TPM 2.0 Part 2, table 3. */
export const Int16: Codec<number> = signed('INT16', u16, 16);
/** The value type of {@link Int16}. */
export type Int16 = Infer<typeof Int16>;

/** Signed 32-bit integer. TPM 2.0 Part 2, table 3. */
export const Int32: Codec<number> = signed('INT32', u32, 32);
/** The value type of {@link Int32}. */
export type Int32 = Infer<typeof Int32>;

/** Signed 64-bit integer as a bigint. TPM 2.0 Part 2, table 3. */
export const Int64: Codec<bigint> = {
  name: 'INT64',
  read: (r: Reader) => BigInt.asIntN(64, u64.read(r)),
  write(w: Writer, value: bigint) {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) {
      throw w.refuse('INT64', `expected a bigint from -2^63 to 2^63-1, got ${String(value)}`);
    }
    u64.write(w, BigInt.asUintN(64, value));
  },
};
/** The value type of {@link Int64}. */
export type Int64 = Infer<typeof Int64>;

/** Number of bits in a key. TPM 2.0 Part 2, table 5. */
export const TpmKeyBits: Codec<number> = uint16('TPM_KEY_BITS');
/** The value type of {@link TpmKeyBits}. */
export type TpmKeyBits = Infer<typeof TpmKeyBits>;

/* @__NO_SIDE_EFFECTS__ */
function signed(name: string, unsigned: Codec<number>, bits: number): Codec<number> {
  const limit = 2 ** (bits - 1);
  return {
    name,
    read(r) {
      const value = unsigned.read(r);
      return value < limit ? value : value - 2 * limit;
    },
    write(w, value) {
      if (!Number.isInteger(value) || value < -limit || value >= limit) {
        throw w.refuse(name, `expected an integer from ${-limit} to ${limit - 1}, got ${String(value)}`);
      }
      unsigned.write(w, value < 0 ? value + 2 * limit : value);
    },
  };
}
