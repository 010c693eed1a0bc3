/** The PAL image: one deterministic file that holds everything a PAL's measurement covers. */
import {
  array,
  bytes,
  checked,
  constant,
  decode,
  encode,
  flags,
  type Infer,
  oneOf,
  rest,
  sizedBytes,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
  WireError,
} from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { PalLinkerError } from './error.js';
import {
  isSignatureBlock,
  MAX_SIGNATURE_BLOCK,
  type PalSignatureBlock,
  parseSignatureBlock,
} from './signature-block.js';

/** Bytes in a page of WebAssembly memory. */
export const WASM_PAGE = 65536;

/** The largest section content, in bytes. */
export const MAX_SECTION_BYTES = 16 * 1024 * 1024;

/** The largest image without one. */
const MAX_UNSIGNED_BYTES = MAX_SECTION_BYTES + 65536;

/** The largest image, in bytes, with its signature block: what {@link parsePalImage} looks at. */
export const MAX_IMAGE_BYTES = MAX_UNSIGNED_BYTES + MAX_SIGNATURE_BLOCK;

/** What runs the image: 1 a WebAssembly module; 2 and 3 are kept for ELF on x86-64 and aarch64. */
export const PAL_KIND = { WASM: 1, ELF_X86_64: 2, ELF_AARCH64: 3 } as const;

/** Bits of `flags`. */
export const PAL_FLAGS = {
  /** The PAL's state is protected against replay; it runs deterministically and from fresh memory each time. */
  replayProtected: 1,
  /** The code contains floating-point instructions, whose NaN payloads may differ between processors. */
  floatingPoint: 2,
  /** The entry takes the parameters that the image describes, as a function of C does, instead of two buffers. */
  marshalled: 4,
} as const;

/** Section types; 1 to 4 are TrustVisor's numbers (trustvisor.h), 5 to 7 are taken there. */
export const PAL_SECTION = { CODE: 1, DATA: 2, PARAM: 3, STACK: 4, RODATA: 8, BSS: 9 } as const;

/** Parameter types of the entry; TrustVisor's numbers. */
export const PAL_PARAMETER = { INTEGER: 1, POINTER: 2 } as const;

/** Which way a parameter's bytes go: into the PAL, out of it, or both. */
export const PAL_ACCESS = { IN: 1, OUT: 2, INOUT: 3 } as const;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;
/** As C and C++ name functions. */
const ENTRY_NAME = /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/;

function named(name: string, max: number, pattern = NAME) {
  const first = pattern === NAME ? 'a letter or digit' : 'a letter, a digit or _';
  return checked(name, text(name, u8, { max }), (value) =>
    pattern.test(value)
      ? undefined
      : `expected letters, digits and ._+- only, and ${first} first, got ${JSON.stringify(value)}`,
  );
}

/** One parameter of the entry: its type, its direction, and its size in bytes (for a pointer: the capacity behind it). */
export const PalParameter = struct('PAL_PARAMETER', {
  type: oneOf('PAL_PARAMETER_TYPE', u8, [1, 2]),
  access: oneOf('PAL_ACCESS', u8, [1, 2, 3]),
  size: u32,
});
/** The value of the codec of the same name. */
export type PalParameter = Infer<typeof PalParameter>;

/** One section: where it lies in the PAL's memory, how large it is there, and what it is filled with (else zeros). */
export const PalSection = struct('PAL_SECTION', {
  type: oneOf('PAL_SECTION_TYPE', u8, [1, 2, 3, 4, 8, 9]),
  address: u64,
  memorySize: u32,
  digest: bytes('SECTION_DIGEST', 32),
  content: sizedBytes('SECTION_CONTENT', u32, { max: MAX_SECTION_BYTES }),
});
/** The value of the codec of the same name. */
export type PalSection = Infer<typeof PalSection>;

/** A PAL's name: letters, digits and `._+-`. */
export const PalName = named('PAL_NAME', 64);

/** A PAL's version: the same characters. */
export const PalVersion = named('PAL_VERSION', 64);

/** The whole image; big-endian, no padding, no optional field: one value has one encoding. */
export const PalImage = struct('PAL_IMAGE', {
  magic: constant('PAL_MAGIC', u32, 0x43504131),
  format: constant('PAL_FORMAT', u16, 1),
  kind: oneOf('PAL_KIND', u8, [1, 2, 3]),
  flags: flags('PAL_FLAGS', u32, 7),
  name: PalName,
  version: PalVersion,
  entry: named('PAL_ENTRY', 64, ENTRY_NAME),
  entryAddress: u64,
  parameters: array('PAL_PARAMETERS', u8, PalParameter, { max: 10 }),
  memory: struct('PAL_MEMORY', { initialBytes: u32, maximumBytes: u32 }),
  sections: array('PAL_SECTIONS', u8, PalSection, { max: 16 }),
});
/** The value of the codec of the same name. */
export type PalImage = Infer<typeof PalImage>;

/** A file that holds an image, and behind it at most a signature block. */
const PalFile = struct('PAL_FILE', { value: PalImage, trailer: rest('PAL_TRAILER', MAX_SIGNATURE_BLOCK) });

/** An image, taken apart. */
export interface OpenedPalFile {
  /** What the image says. */
  readonly value: PalImage;
  /** The image itself, which is measured. */
  readonly image: Uint8Array;
  /** The signature block, where there is one; its measurement is that of the image. */
  readonly block: PalSignatureBlock | undefined;
}

/**
 * Parses an image, with or without a signature block, and checks each section against its digest. Throws
 * {@link PalLinkerError} with code `image`, or `signature` where the block is malformed or belongs to another image.
 */
export function parsePalImage(image: Uint8Array): PalImage {
  return openPalFile(image).value;
}

/** Takes a file apart. Throws {@link PalLinkerError} with code `image` or `signature`. */
export function openPalFile(file: Uint8Array): OpenedPalFile {
  if (file.length > MAX_IMAGE_BYTES) {
    throw new PalLinkerError('image', `parse PAL image: expected at most ${MAX_IMAGE_BYTES} bytes, got ${file.length}`);
  }
  const { value, trailer } = decodeFile(file);
  value.sections.forEach(assertDigest);
  const image = file.subarray(0, file.length - trailer.length);
  return { value, image, block: blockBehind(image, trailer) };
}

function blockBehind(image: Uint8Array, trailer: Uint8Array): PalSignatureBlock | undefined {
  if (trailer.length === 0) return undefined;
  if (!isSignatureBlock(trailer)) {
    const problem = `parse PAL image: expected its end or a signature block, got ${trailer.length} other bytes`;
    throw new PalLinkerError('image', problem, { offset: image.length });
  }
  const block = parseSignatureBlock(trailer);
  if (sha256(image).every((byte, i) => byte === block.measurement[i])) return block;
  throw new PalLinkerError('signature', 'parse PAL signature: expected that of this image, got that of another');
}

/** Encodes an image, computing the digest of each section. Throws {@link PalLinkerError} with code `image` or `limit`. */
export function buildPalImage(
  image: Omit<PalImage, 'magic' | 'format' | 'sections'> & { readonly sections: readonly Omit<PalSection, 'digest'>[] },
): Uint8Array {
  const sections = image.sections.map((section) => ({ ...section, digest: sha256(section.content) }));
  const encoded = encodeImage({ ...image, magic: 0x43504131, format: 1, sections });
  // One that cannot be opened again is none.
  if (encoded.length <= MAX_UNSIGNED_BYTES) return encoded;
  throw new PalLinkerError(
    'limit',
    `build PAL image: expected at most ${MAX_UNSIGNED_BYTES} bytes, got ${encoded.length}`,
  );
}

function encodeImage(image: PalImage): Uint8Array {
  try {
    return encode(PalImage, image);
  } catch (error) {
    throw asImageError('build PAL image', error);
  }
}

/**
 * The measurement of a PAL: SHA-256 over its whole image, so that name, version, entry, parameters, memory limits, flags
 * and every byte of every section count; a signature block behind it does not. Throws {@link PalLinkerError} with code
 * `image` where it is no image, `signature` where the block is malformed or belongs to another.
 */
export function measurePal(image: Uint8Array): Uint8Array {
  return sha256(openPalFile(image).image);
}

function decodeFile(file: Uint8Array): { readonly value: PalImage; readonly trailer: Uint8Array } {
  try {
    return decode(PalFile, file);
  } catch (error) {
    throw asImageError('parse PAL image', error);
  }
}

function asImageError(verb: string, error: unknown): unknown {
  if (!(error instanceof WireError)) return error;
  return new PalLinkerError('image', `${verb}: ${error.message}`, { offset: error.offset }, { cause: error });
}

function assertDigest(section: PalSection, index: number): void {
  const actual = sha256(section.content);
  if (actual.every((byte, i) => byte === section.digest[i])) return;
  throw new PalLinkerError('image', `parse PAL image: section ${index} does not match its SHA-256 digest`);
}
