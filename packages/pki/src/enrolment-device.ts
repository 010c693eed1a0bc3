/** TPM enrolment, the device's side: what the device sends, and how it answers the authority's challenge. */
import {
  type Authorization,
  activateCredential,
  certify,
  type Tpm,
  type TpmObject,
  TpmtPublic,
  tpmSigner,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { buildCsr, type CsrOptions } from './csr.js';
import {
  csrDigest,
  decodeMessage,
  EnrolmentAnswer,
  EnrolmentChallenge,
  EnrolmentRequest,
  encodeMessage,
} from './enrolment-message.js';
import { enrolmentProof } from './enrolment-proof.js';

/** The keys of a device, all loaded in its TPM. */
export interface DeviceKeys {
  /** The endorsement key. */
  readonly ek: TpmObject;
  /** The attestation key: a restricted signing key. */
  readonly ak: TpmObject;
}

/** What a device asks for. */
export interface EnrolmentOptions extends DeviceKeys, Pick<CsrOptions, 'subject' | 'subjectAltName'> {
  /** The key that the device certificate is for: a signing key of the same TPM, which is not restricted. */
  readonly deviceKey: TpmObject;
  /** The manufacturer's certificate of the EK, DER, where the TPM has one (`readEkCertificate` of @casemate/tpm). */
  readonly ekCertificate?: Uint8Array | undefined;
}

/**
 * Builds the request: a CSR signed by the device key in the TPM, and the TPM's statement, signed by the AK, that this key lives
 * beside it. Throws {@link PkiError} and what the TPM refuses with.
 */
export async function buildEnrolmentRequest(tpm: Tpm, options: EnrolmentOptions): Promise<Uint8Array> {
  const { ek, ak, deviceKey, subject, subjectAltName } = options;
  const names = subjectAltName === undefined ? {} : { subjectAltName };
  const csr = await buildCsr(tpmSigner(tpm, deviceKey), { subject, ...names });
  const { certified, signature } = await certify(tpm, { object: deviceKey, signer: ak, nonce: csrDigest(csr) });
  return encodeMessage(EnrolmentRequest, {
    magic: 0x43_4d_45_31,
    ekPublic: encode(TpmtPublic, ek.public),
    ekCertificate: options.ekCertificate ?? new Uint8Array(),
    akPublic: encode(TpmtPublic, ak.public),
    devicePublic: encode(TpmtPublic, deviceKey.public),
    certified,
    certifySignature: signature,
    csr,
  });
}

/** What a device answers with. */
export interface AnswerOptions extends DeviceKeys {
  /** The bytes that {@link buildEnrolmentRequest} gave. */
  readonly request: Uint8Array;
  /** The authority's challenge. */
  readonly challenge: Uint8Array;
  /** How the endorsement hierarchy authorises the EK; the empty password without it. */
  readonly endorsementAuth?: Authorization;
}

/**
 * Has the TPM read the challenge's secret and proves it. The TPM refuses where the challenge is for another AK or another EK:
 * then its `TpmError` comes through. Throws {@link PkiError} `malformed` for a challenge that is none.
 */
export async function answerChallenge(tpm: Tpm, options: AnswerOptions): Promise<Uint8Array> {
  const { id, credentialBlob, encryptedSecret } = decodeMessage(EnrolmentChallenge, options.challenge);
  const { ek, ak, endorsementAuth } = options;
  const auth = endorsementAuth === undefined ? {} : { endorsementAuth };
  const secret = await activateCredential(tpm, { ek, ak, credential: { credentialBlob, encryptedSecret }, ...auth });
  const proof = enrolmentProof(secret, id, options.request);
  secret.fill(0);
  return encodeMessage(EnrolmentAnswer, { magic: 0x43_4d_45_33, id, proof });
}
