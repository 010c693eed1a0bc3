/** One block of a tar archive's header: POSIX.1-2017 pax, "ustar Interchange Format", and what GNU tar adds to it. */
import { bytes, type Codec, decode, encode, type Infer, struct, u8, WireError } from '@casemate/wire';

/** Bytes of a block; everything in an archive fills whole ones. */
export const BLOCK = 512;

/** The types of entries that are known here. */
export const TAR_TYPE = {
  file: 0x30,
  hardLink: 0x31,
  symlink: 0x32,
  characterDevice: 0x33,
  blockDevice: 0x34,
  directory: 0x35,
  fifo: 0x36,
  contiguous: 0x37,
  paxGlobal: 0x67,
  pax: 0x78,
  gnuLongLink: 0x4b,
  gnuLongName: 0x4c,
} as const;

/** The largest number that fits an octal field of 12 bytes: one byte less than 8 GiB. */
export const MAX_OCTAL_SIZE = 0o77777777777;
/** The largest number that fits an octal field of 8 bytes. */
export const MAX_OCTAL_ID = 0o7777777;

/** Text that ends at its first zero byte. Names in archives are bytes; those that are no UTF-8 are refused. */
function field(name: string, length: number): Codec<string> {
  const raw = bytes(name, length);
  return {
    name,
    read(r) {
      const at = r.offset;
      const value = raw.read(r);
      const end = value.indexOf(0);
      return utf8(name, end < 0 ? value : value.subarray(0, end), at);
    },
    write(w, value) {
      const given = new TextEncoder().encode(value);
      if (given.length > length) throw w.refuse(name, `expected at most ${length} bytes, got ${given.length}`);
      const filled = new Uint8Array(length);
      filled.set(given);
      w.put(filled, name);
    },
  };
}

/** Decodes UTF-8 or throws {@link WireError}. */
export function utf8(name: string, value: Uint8Array, offset: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    throw new WireError('bad-value', `decode ${name}`, 'expected UTF-8, got other bytes', offset);
  }
}

/** A number in octal digits; GNU's base-256 form is read too, but never written. */
function octal(name: string, length: number): Codec<number> {
  const raw = bytes(name, length);
  return {
    name,
    read(r) {
      const at = r.offset;
      const value = raw.read(r);
      return ((value[0] ?? 0) & 0x80) !== 0 ? base256(name, value, at) : octalDigits(name, value, at);
    },
    write(w, value) {
      const digits = value.toString(8).padStart(length - 1, '0');
      if (!Number.isInteger(value) || value < 0 || digits.length > length - 1) {
        throw w.refuse(name, `expected a number of at most ${length - 1} octal digits, got ${value}`);
      }
      w.put(new TextEncoder().encode(`${digits}\0`), name);
    },
  };
}

function octalDigits(name: string, value: Uint8Array, at: number): number {
  const [text = ''] = String.fromCharCode(...value)
    .trimStart()
    .split(/[ \0]/, 1);
  if (/^[0-7]*$/.test(text)) return text === '' ? 0 : Number.parseInt(text, 8);
  throw new WireError('bad-value', `decode ${name}`, 'expected octal digits', at);
}

function base256(name: string, value: Uint8Array, at: number): number {
  const number = value.subarray(1).reduce((sum, byte) => sum * 256n + BigInt(byte), BigInt((value[0] ?? 0) & 0x7f));
  if (number <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(number);
  throw new WireError('bad-value', `decode ${name}`, `expected at most 2^53-1, got ${number}`, at);
}

/** The fields of a header block. */
export const TarHeader = struct('ustar header', {
  name: field('name', 100),
  mode: octal('mode', 8),
  uid: octal('uid', 8),
  gid: octal('gid', 8),
  size: octal('size', 12),
  mtime: octal('mtime', 12),
  checksum: bytes('chksum', 8),
  type: u8,
  linkName: field('linkname', 100),
  magic: bytes('magic', 8),
  userName: field('uname', 32),
  groupName: field('gname', 32),
  deviceMajor: octal('devmajor', 8),
  deviceMinor: octal('devminor', 8),
  rest: bytes('prefix', 167),
});
/** The fields of a header block. */
export type TarHeader = Infer<typeof TarHeader>;

/** What {@link encodeHeader} takes; all other fields have one value. */
export type TarFields = Pick<TarHeader, 'name' | 'mode' | 'uid' | 'gid' | 'size' | 'mtime' | 'type' | 'linkName'>;

/** A header block with its checksum. Throws {@link WireError} for what does not fit. */
export function encodeHeader(fields: TarFields): Uint8Array {
  const block = encode(TarHeader, { ...fields, ...FIXED });
  block.set(new TextEncoder().encode(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `), CHECKSUM_AT);
  return block;
}

/** Reads a header block and checks its checksum. Throws {@link WireError}. */
export function decodeHeader(block: Uint8Array): TarHeader {
  const header = decode(TarHeader, block);
  const expected = octalDigits('chksum', header.checksum, CHECKSUM_AT);
  const spaced = block.slice();
  spaced.fill(0x20, CHECKSUM_AT, CHECKSUM_AT + 8);
  if (checksumOf(spaced) === expected) return header;
  throw new WireError(
    'bad-value',
    'decode ustar header',
    `expected checksum ${expected}, got ${checksumOf(spaced)}`,
    0,
  );
}

/** The prefix of the name, which only POSIX archives have; in GNU archives other fields lie there. */
export function prefixOf(header: TarHeader): string {
  const isPosix = header.magic[5] === 0 && String.fromCharCode(...header.magic.subarray(0, 5)) === 'ustar';
  if (!isPosix) return '';
  const prefix = header.rest.subarray(0, 155);
  const end = prefix.indexOf(0);
  return utf8('prefix', end < 0 ? prefix : prefix.subarray(0, end), 345);
}

function checksumOf(block: Uint8Array): number {
  return block.reduce((sum, byte) => sum + byte, 0);
}

const CHECKSUM_AT = 148;
const FIXED = {
  checksum: new Uint8Array(8).fill(0x20),
  magic: new TextEncoder().encode('ustar\x0000'),
  userName: '',
  groupName: '',
  deviceMajor: 0,
  deviceMinor: 0,
  rest: new Uint8Array(167),
} as const;
