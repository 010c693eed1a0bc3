/** The signature block behind a PAL image: who signed it, and for which security version (after SGX's SIGSTRUCT, SDM vol. 3D, 38.13). */
import {
  bytes,
  checked,
  constant,
  decode,
  encode,
  type Infer,
  sizedBytes,
  struct,
  text,
  u8,
  u16,
  u32,
  WireError,
} from '@casemate/wire';
import { PalLinkerError } from './error.js';

/** The first four bytes of a block, `CPS1`; nothing else may stand behind an image. */
const MAGIC = 0x43505331;

const ALGORITHM = /^[a-z0-9][a-z0-9.-]*$/;

/** The name of a signature algorithm, as a signer of `@casemate/pki` has it. */
export const AlgorithmName = checked('PAL_ALGORITHM', text('PAL_ALGORITHM', u8, { max: 64 }), (value) =>
  ALGORITHM.test(value)
    ? undefined
    : `expected lower-case letters, digits, full stops and hyphens, got ${JSON.stringify(value)}`,
);

/** The block; big-endian, no padding. SLH-DSA's signatures, the largest there are, fit in. */
export const PalSignatureBlock = struct('PAL_SIGNATURE', {
  magic: constant('PAL_SIGNATURE_MAGIC', u32, MAGIC),
  format: constant('PAL_SIGNATURE_FORMAT', u16, 1),
  measurement: bytes('PAL_MEASUREMENT', 32),
  securityVersion: u32,
  algorithm: AlgorithmName,
  publicKey: sizedBytes('PAL_SIGNER', u16, { min: 1, max: 16384 }),
  signature: sizedBytes('PAL_SIGNATURE_VALUE', u16, { min: 1, max: 65535 }),
});
/** The value of the codec of the same name. */
export type PalSignatureBlock = Infer<typeof PalSignatureBlock>;

/** The largest block, in bytes. */
export const MAX_SIGNATURE_BLOCK = 4 + 2 + 32 + 4 + 65 + 2 + 16384 + 2 + 65535;

/** Whether bytes behind an image claim to be a signature block. */
export function isSignatureBlock(trailer: Uint8Array): boolean {
  return [0x43, 0x50, 0x53, 0x31].every((byte, i) => i >= trailer.length || trailer[i] === byte);
}

/** Parses a block. Throws {@link PalLinkerError} with code `signature`. */
export function parseSignatureBlock(trailer: Uint8Array): PalSignatureBlock {
  return asSignatureError('parse PAL signature', () => decode(PalSignatureBlock, trailer));
}

/** Encodes a block. Throws {@link PalLinkerError} with code `signature`. */
export function buildSignatureBlock(block: Omit<PalSignatureBlock, 'magic' | 'format'>): Uint8Array {
  return asSignatureError('sign PAL', () => encode(PalSignatureBlock, { ...block, magic: MAGIC, format: 1 }));
}

/** Turns what the codecs say into this package's error. */
export function asSignatureError<T>(verb: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new PalLinkerError('signature', `${verb}: ${error.message}`, { offset: error.offset }, { cause: error });
  }
}
