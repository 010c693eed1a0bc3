/** What the TrustVisor key says of a PAL's identity key. */
import type { TpmCrypto } from '@casemate/tpm';
import {
  array,
  bytes,
  constant,
  decode,
  encode,
  oneOf,
  sizedBytes,
  struct,
  text,
  u8,
  u16,
  u32,
  WireError,
} from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { AttestationError } from './error.js';
import { verifyQuote } from './verify-quote.js';

/** Says that the identity key is that of the micro-TPM of a PAL; signed by the TrustVisor key. */
export interface PalCertificate {
  /** What is said, encoded. */
  readonly statement: Uint8Array;
  /** TPMS_ATTEST: a quote by the TrustVisor key with SHA-256 of the statement as nonce. */
  readonly quoted: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
}

/** What a certificate says. */
export interface PalCertificateClaims {
  /** The name in the PAL's image. */
  readonly name: string;
  /** The version in the PAL's image. */
  readonly version: string;
  /** SHA-256 of the PAL's image. */
  readonly measurement: Uint8Array;
  /** TPMT_PUBLIC of the key that signs the PAL's quotes. */
  readonly identity: Uint8Array;
  /** Whether other PALs have the same key: its quotes then say by their uPCR 0 which PAL it was. */
  readonly sharedIdentity: boolean;
  /** Who signed the image (SHA-256 of SubjectPublicKeyInfo) and its security version, where it is signed. */
  readonly signed: { readonly signer: Uint8Array; readonly securityVersion: number } | undefined;
}

/** A certificate that verified, or the first thing that was wrong with it. */
export type PalCertificateResult =
  | { readonly ok: true; readonly claims: PalCertificateClaims }
  | { readonly ok: false; readonly problem: string };

const MAGIC = 0x43535031;

const Statement = struct('PAL_CERTIFICATE', {
  magic: constant('PAL_CERTIFICATE_MAGIC', u32, MAGIC),
  name: text('PAL_NAME', u8, { max: 64 }),
  version: text('PAL_VERSION', u8, { max: 64 }),
  measurement: bytes('MEASUREMENT', 32),
  identity: sizedBytes('IDENTITY', u16, { max: 1024 }),
  sharedIdentity: oneOf('SHARED_IDENTITY', u8, [0, 1]),
  signed: array('SIGNATURES', u8, struct('SIGNED', { signer: bytes('SIGNER', 32), securityVersion: u32 }), { max: 1 }),
});

/** What uPCR 0 of the micro-TPM of the TrustVisor key is extended by, 32 bytes: no PAL has this measurement. */
export const TRUSTVISOR_MEASUREMENT: Uint8Array = sha256(utf8ToBytes('casemate trustvisor identity 1'));

/** The encoded statement of a certificate. Throws {@link AttestationError} `bad-input`. */
export function encodePalCertificateClaims(claims: PalCertificateClaims): Uint8Array {
  try {
    return encode(Statement, {
      ...claims,
      magic: MAGIC,
      sharedIdentity: claims.sharedIdentity ? 1 : 0,
      signed: claims.signed ? [claims.signed] : [],
    });
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new AttestationError('bad-input', `encode PAL certificate: ${cause.message}`, { cause });
  }
}

/** The qualifyingData of the quote by which the TrustVisor key signs a statement. */
export function palCertificateNonce(statement: Uint8Array): Uint8Array {
  return sha256(statement);
}

/**
 * Verifies a certificate by the TrustVisor key `identity` (TPMT_PUBLIC). That key must be known from elsewhere: from an event that the
 * platform's quote covers, as `verifyEvidence` finds it. Never throws for what the prover sent.
 */
export function verifyPalCertificate(
  identity: Uint8Array,
  { statement, quoted, signature }: PalCertificate,
  crypto?: TpmCrypto,
): PalCertificateResult {
  const pcrs = { sha256: { 0: sha256(concatBytes(new Uint8Array(32), TRUSTVISOR_MEASUREMENT)) } };
  const expected = { key: identity, qualifyingData: palCertificateNonce(statement), crypto };
  const quote = verifyQuote({ quoted, signature, pcrs }, expected);
  return quote.ok ? readStatement(statement) : quote;
}

function readStatement(statement: Uint8Array): PalCertificateResult {
  try {
    const { magic: _, signed, sharedIdentity, ...claims } = decode(Statement, statement);
    return { ok: true, claims: { ...claims, sharedIdentity: sharedIdentity === 1, signed: signed[0] } };
  } catch (error) {
    if (error instanceof WireError) return { ok: false, problem: error.message };
    throw error;
  }
}
