/** LEB128 integers of the WebAssembly binary format (WebAssembly Core Specification, section 5.2.2). */
import { type Codec, type Reader, WireError, type Writer } from '@casemate/wire';

/** Unsigned, at most 32 bits in at most five bytes; longer or larger encodings are refused. */
export const varu32: Codec<number> = {
  name: 'u32 (LEB128)',
  read(r) {
    const at = r.offset;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = r.u8('u32 (LEB128)');
      if (shift === 28 && byte > 0x0f) throw tooLarge('u32 (LEB128)', at);
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw tooLarge('u32 (LEB128)', at);
  },
  write(w, value) {
    let left = value;
    for (; left > 0x7f; left = Math.floor(left / 128)) w.u8((left & 0x7f) | 0x80, 'u32 (LEB128)');
    w.u8(left, 'u32 (LEB128)');
  },
};

/** Appends a signed 32-bit integer in its shortest form. */
export function writeVars32(writer: Writer, value: number): void {
  let left = value | 0;
  for (;;) {
    const low = left & 0x7f;
    left >>= 7;
    const done = (left === 0 && (low & 0x40) === 0) || (left === -1 && (low & 0x40) !== 0);
    writer.u8(done ? low : low | 0x80, 's32 (LEB128)');
    if (done) return;
  }
}

/** Reads a signed 32-bit integer in at most five bytes. */
export function readVars32(reader: Reader): number {
  const at = reader.offset;
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = reader.u8('s32 (LEB128)');
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) !== 0) continue;
    // The fifth byte has four bits of the number; the other three repeat its sign.
    const isFit = shift < 28 || (byte & 0x78) === 0 || (byte & 0x78) === 0x78;
    if (!isFit) throw tooLarge('s32 (LEB128)', at);
    return shift < 28 ? (value << (25 - shift)) >> (25 - shift) : value;
  }
  throw tooLarge('s32 (LEB128)', at);
}

/** Reads a signed 33-bit integer in at most five bytes: a block's type. */
export function readVars33(reader: Reader): number {
  const at = reader.offset;
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = reader.u8('s33 (LEB128)');
    value += (byte & 0x7f) * 2 ** shift;
    if ((byte & 0x80) !== 0) continue;
    // The fifth byte has five bits of the number; the other two repeat its sign.
    const isFit = shift < 28 || (byte & 0x70) === 0 || (byte & 0x70) === 0x70;
    if (!isFit) throw tooLarge('s33 (LEB128)', at);
    return (byte & 0x40) === 0 ? value : value - 2 ** (shift + 7);
  }
  throw tooLarge('s33 (LEB128)', at);
}

/** Skips a signed integer of at most `bits` bits (32 or 64); its value does not matter to the linker. */
export function skipSigned(reader: Reader, bits: number): void {
  const at = reader.offset;
  for (let i = 0; i < Math.ceil(bits / 7); i++) {
    if ((reader.u8('signed LEB128') & 0x80) === 0) return;
  }
  throw tooLarge('signed LEB128', at);
}

function tooLarge(subject: string, at: number): WireError {
  return new WireError('too-long', `decode ${subject}`, 'expected a shorter or smaller integer', at);
}
