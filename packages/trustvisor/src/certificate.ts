/** What the TrustVisor key says of a PAL's identity key, and how the TrustVisor key itself comes into the platform's PCRs. */
import { defaultCrypto, type TpmCrypto, TpmError, TpmtPublic, verifyQuote } from '@casemate/tpm';
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
import { TrustvisorError } from './error.js';
import { sha256 } from './platform-tpm.js';
import { Signed } from './protocol.js';

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

const Identity = sizedBytes('IDENTITY', u16, { max: 1024 });

const Statement = struct('PAL_CERTIFICATE', {
  magic: constant('PAL_CERTIFICATE_MAGIC', u32, 0x43535031),
  name: text('PAL_NAME', u8, { max: 64 }),
  version: text('PAL_VERSION', u8, { max: 64 }),
  measurement: bytes('MEASUREMENT', 32),
  identity: Identity,
  sharedIdentity: oneOf('SHARED_IDENTITY', u8, [0, 1]),
  signed: array('SIGNATURES', u8, Signed, { max: 1 }),
});

/** What the micro-TPM of the TrustVisor key is extended by: no PAL has this measurement. */
export const TRUSTVISOR_MEASUREMENT = sha256(new TextEncoder().encode('casemate trustvisor identity 1'));

/** The encoded statement. */
export function encodePalStatement(claims: PalCertificateClaims): Uint8Array {
  return encode(Statement, {
    ...claims,
    magic: 0x43535031,
    sharedIdentity: claims.sharedIdentity ? 1 : 0,
    signed: claims.signed ? [claims.signed] : [],
  });
}

/** What the TrustVisor key signs for a statement. */
export function palStatementNonce(statement: Uint8Array): Uint8Array {
  return sha256(statement);
}

/**
 * Verifies a certificate by the TrustVisor key `identity` (TPMT_PUBLIC). That key must be known from elsewhere: from an event that the
 * platform's quote covers, see {@link parseIdentityEvent}. Never throws for what the prover sent.
 */
export function verifyPalCertificate(
  identity: Uint8Array,
  { statement, quoted, signature }: PalCertificate,
  crypto: TpmCrypto = defaultCrypto,
): { readonly ok: true; readonly claims: PalCertificateClaims } | { readonly ok: false; readonly problem: string } {
  try {
    const signer = decode(TpmtPublic, identity);
    const pcrs = { sha256: { 0: sha256(new Uint8Array(32), TRUSTVISOR_MEASUREMENT) } };
    const nonce = palStatementNonce(statement);
    const check = verifyQuote({ signer, attest: quoted, signature, nonce, pcrs }, crypto);
    if (!check.ok) return { ok: false, problem: check.message };
    const { magic: _, signed, sharedIdentity, ...claims } = decode(Statement, statement);
    return { ok: true, claims: { ...claims, sharedIdentity: sharedIdentity === 1, signed: signed[0] } };
  } catch (error) {
    if (error instanceof WireError || error instanceof TpmError) return { ok: false, problem: error.message };
    throw error;
  }
}

/** TCG tagged event: u32 id, u32 size, data; little-endian, as in other events of ours, "CSTV". */
const EVENT_TAG = 0x43535456;

/** The event by which the TrustVisor key is extended into a PCR of the platform: EV_EVENT_TAG (6), digests over all of these bytes. */
export function identityEvent(identity: Uint8Array): Uint8Array {
  const event = new Uint8Array(8 + identity.length);
  const view = new DataView(event.buffer);
  view.setUint32(0, EVENT_TAG, true);
  view.setUint32(4, identity.length, true);
  event.set(identity, 8);
  return event;
}

/** The TrustVisor key (TPMT_PUBLIC) of such an event. Throws {@link TrustvisorError} with code `input` where it is another event. */
export function parseIdentityEvent(event: Uint8Array): Uint8Array {
  const view = new DataView(event.buffer, event.byteOffset, event.byteLength);
  if (event.length >= 8 && view.getUint32(0, true) === EVENT_TAG && view.getUint32(4, true) === event.length - 8) {
    return event.slice(8);
  }
  throw new TrustvisorError('input', 'parse identity event: expected the tag of a TrustVisor key and its size');
}
