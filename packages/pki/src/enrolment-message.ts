/**
 * The messages of TPM enrolment and the authority's memory of it: deterministic binary, so that they can cross a network
 * (after TCG EK Credential Profile and Part 1 section 24 for the protocol, section 9.5.3.3 for credential activation).
 */

import {
  type Codec,
  constant,
  decode,
  encode,
  bytes as fixed,
  type Infer,
  sizedBytes,
  struct,
  u16,
  u32,
  u64,
  WireError,
} from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { PkiError } from './error.js';

const ID_LENGTH = 16;

/** Device to authority: the keys, the TPM's statement about one of them, and the request that it signed. */
export const EnrolmentRequest = struct('EnrolmentRequest', {
  magic: constant('magic', u32, 0x43_4d_45_31),
  ekPublic: sizedBytes('ekPublic', u16, { max: 1024, min: 1 }),
  ekCertificate: sizedBytes('ekCertificate', u16, { max: 16_384 }),
  akPublic: sizedBytes('akPublic', u16, { max: 1024, min: 1 }),
  devicePublic: sizedBytes('devicePublic', u16, { max: 1024, min: 1 }),
  certified: sizedBytes('certified', u16, { max: 1024, min: 1 }),
  certifySignature: sizedBytes('certifySignature', u16, { max: 1024, min: 1 }),
  csr: sizedBytes('csr', u16, { max: 16_384, min: 1 }),
});
/** The value type of {@link EnrolmentRequest}. */
export type EnrolmentRequest = Infer<typeof EnrolmentRequest>;

/** Authority to device: a secret that only the TPM with both EK and AK can read. */
export const EnrolmentChallenge = struct('EnrolmentChallenge', {
  magic: constant('magic', u32, 0x43_4d_45_32),
  id: fixed('id', ID_LENGTH),
  credentialBlob: sizedBytes('credentialBlob', u16, { max: 1024, min: 1 }),
  encryptedSecret: sizedBytes('encryptedSecret', u16, { max: 1024, min: 1 }),
});
/** The value type of {@link EnrolmentChallenge}. */
export type EnrolmentChallenge = Infer<typeof EnrolmentChallenge>;

/** Device to authority: proof that the secret was read, by the device that made the request. */
export const EnrolmentAnswer = struct('EnrolmentAnswer', {
  magic: constant('magic', u32, 0x43_4d_45_33),
  id: fixed('id', ID_LENGTH),
  proof: fixed('proof', 32),
});
/** The value type of {@link EnrolmentAnswer}. */
export type EnrolmentAnswer = Infer<typeof EnrolmentAnswer>;

/** Authority to device: what it gets. The chains are certificates one after the other, leaf's issuer first, without the root. */
export const EnrolmentResult = struct('EnrolmentResult', {
  magic: constant('magic', u32, 0x43_4d_45_35),
  akCertificate: sizedBytes('akCertificate', u16, { max: 16_384, min: 1 }),
  akChain: sizedBytes('akChain', u32, { max: 65_536 }),
  deviceCertificate: sizedBytes('deviceCertificate', u16, { max: 16_384, min: 1 }),
  deviceChain: sizedBytes('deviceChain', u32, { max: 65_536 }),
});
/** The value type of {@link EnrolmentResult}. */
export type EnrolmentResult = Infer<typeof EnrolmentResult>;

/** What the authority keeps between challenge and answer; nothing in it helps to answer, so that who reads the store is no device. */
export const EnrolmentState = struct('EnrolmentState', {
  magic: constant('magic', u32, 0x43_4d_45_34),
  /** SHA-256 of the proof that is expected. */
  proofDigest: fixed('proofDigest', 32),
  /** Milliseconds since 1970. */
  expires: u64,
  request: sizedBytes('request', u32, { max: 65_536, min: 1 }),
});
/** The value type of {@link EnrolmentState}. */
export type EnrolmentState = Infer<typeof EnrolmentState>;

/** Decodes a message; whoever sent it controls every byte. Throws {@link PkiError} `malformed`. */
export function decodeMessage<T>(codec: Codec<T>, message: Uint8Array): T {
  try {
    return decode(codec, message);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new PkiError('malformed', cause.message, cause);
  }
}

/** Encodes a message. Throws {@link PkiError} `bad-input` where a field is too long. */
export function encodeMessage<T>(codec: Codec<T>, value: T): Uint8Array {
  try {
    return encode(codec, value);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new PkiError('bad-input', cause.message, cause);
  }
}

/** The digest of a certification request that TPM2_Certify signs along, so that the statement belongs to this request alone. */
export function csrDigest(csr: Uint8Array): Uint8Array {
  return sha256(csr);
}
