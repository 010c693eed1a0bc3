/** Signing PAL images: a block behind the image, outside of its measurement, that says whose it is. */
import { bytes, encode, sizedBytes, struct, text, u8, u16, u32 } from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { PalLinkerError } from './error.js';
import { openPalFile, PalName, PalVersion } from './image.js';
import { AlgorithmName, asSignatureError, buildSignatureBlock, type PalSignatureBlock } from './signature-block.js';

/** Something that signs; what `@casemate/pki` calls a `Signer`, and what `tpmSigner` of `@casemate/tpm` returns. */
export interface PalSigner {
  /** The key type and scheme, for example `ecdsa-p256-sha256`. */
  readonly algorithm: string;
  /** The public key as SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** Signs `data`; hashing is the signer's part. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** What a signer says of an image, and what binds it to that. */
export interface PalSignature {
  /** The key type and scheme, for example `ecdsa-p256-sha256`. */
  readonly algorithm: string;
  /** The signer's public key as SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** Who signed: SHA-256 of `publicKey`, 32 bytes. */
  readonly signer: Uint8Array;
  /** Grows with each release that mends a weakness; state sealed by a newer one is not given to an older one. */
  readonly securityVersion: number;
  /** The measurement that was signed, 32 bytes; always that of the image in front of the block. */
  readonly measurement: Uint8Array;
  /** The signature over {@link palSignedMessage}. */
  readonly signature: Uint8Array;
}

/** Everything that {@link palSignedMessage} covers. */
export interface PalSignedFields {
  /** The image's measurement, 32 bytes. */
  readonly measurement: Uint8Array;
  /** The PAL's name. */
  readonly name: string;
  /** The PAL's version. */
  readonly version: string;
  /** The security version, a u32. */
  readonly securityVersion: number;
  /** The signer's algorithm. */
  readonly algorithm: string;
  /** The signer's public key as SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
}

/** What a verifier is given; it says whether `signature` is `publicKey`'s over `message`, by exactly `algorithm`. */
export interface PalSignatureCheck {
  /** The algorithm that the block names; a verifier refuses those that it does not know or that do not fit the key. */
  readonly algorithm: string;
  /** SubjectPublicKeyInfo DER, as whoever made the block wrote it. */
  readonly publicKey: Uint8Array;
  /** What was signed. */
  readonly message: Uint8Array;
  /** The signature. */
  readonly signature: Uint8Array;
}

/** Checks a signature, with whatever cryptography there is: `nodeVerifier` of `@casemate/pal-linker/node`, or `@casemate/pki`. */
export type PalSignatureVerifier = (check: PalSignatureCheck) => boolean | Promise<boolean>;

/** In front of everything that is signed, so that nothing else that the key signs can be taken for it. */
const DOMAIN = 'casemate PAL signature 1';

const PalSignedMessage = struct('PAL_SIGNED_MESSAGE', {
  domain: text('PAL_SIGNATURE_DOMAIN', u8, { max: 64 }),
  securityVersion: u32,
  measurement: bytes('PAL_MEASUREMENT', 32),
  name: PalName,
  version: PalVersion,
  algorithm: AlgorithmName,
  publicKey: sizedBytes('PAL_SIGNER', u16, { min: 1, max: 16384 }),
});

/**
 * The bytes that a signer signs: the text `casemate PAL signature 1`, security version (u32), measurement, name, version, algorithm and
 * public key; big-endian, texts behind a u8 and the key behind a u16 of their length in bytes. Throws {@link PalLinkerError} with code
 * `signature`.
 */
export function palSignedMessage(fields: PalSignedFields): Uint8Array {
  return asSignatureError('sign PAL', () => encode(PalSignedMessage, { ...fields, domain: DOMAIN }));
}

/**
 * Signs an image: the same image with a signature block behind it; a block that was there is replaced. The measurement stays.
 * `securityVersion` is a u32, 0 unless given. Throws {@link PalLinkerError} with code `image` or `signature`, and what the
 * signer throws.
 */
export async function signPal(
  file: Uint8Array,
  signer: PalSigner,
  options: { readonly securityVersion?: number } = {},
): Promise<Uint8Array> {
  const { image, value } = openPalFile(file);
  const { securityVersion = 0 } = options;
  const { algorithm, publicKey } = signer;
  const fields = { measurement: sha256(image), securityVersion, algorithm, publicKey };
  const signature = await signer.sign(palSignedMessage({ ...fields, name: value.name, version: value.version }));
  return concatenated(image, buildSignatureBlock({ ...fields, signature: Uint8Array.from(signature) }));
}

/**
 * The signature block of an image, `undefined` where it has none. Says nothing of whether the signature is authentic: that is
 * {@link verifyPalSignature}. Throws {@link PalLinkerError} with code `image`, or `signature` where the block is malformed or
 * belongs to another image.
 */
export function parsePalSignature(file: Uint8Array): PalSignature | undefined {
  const { block } = openPalFile(file);
  return block && describe(block);
}

/** The image without its signature block: what is measured. Throws {@link PalLinkerError} with code `image` or `signature`. */
export function unsignedPal(file: Uint8Array): Uint8Array {
  return openPalFile(file).image.slice();
}

/**
 * Verifies the signature of an image, and gives it. Whether its signer is one to trust is the caller's question: compare
 * `signer`, or validate a certificate for `publicKey`. Throws {@link PalLinkerError} with code `image`, or `signature` where there is
 * none, or it is malformed, for another image, or not authentic.
 */
export async function verifyPalSignature(file: Uint8Array, verify: PalSignatureVerifier): Promise<PalSignature> {
  const { value, block } = openPalFile(file);
  if (!block) throw new PalLinkerError('signature', 'verify PAL signature: expected a signed image, got one without');
  const message = palSignedMessage({ ...block, name: value.name, version: value.version });
  const { algorithm, publicKey, signature } = block;
  if ((await verify({ algorithm, publicKey, message, signature })) === true) return describe(block);
  const problem = `verify PAL signature: expected a signature by ${algorithm} over ${value.name} ${value.version}, got another`;
  throw new PalLinkerError('signature', problem);
}

function describe({ magic: _, format: __, ...block }: PalSignatureBlock): PalSignature {
  return { ...block, signer: sha256(block.publicKey) };
}

function concatenated(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
