/** Certificate authorities, requests, path validation, signed documents and TPM enrolment. */
export type { HashName, RsaBits, SignatureAlgorithm } from './algorithm.js';
export type { AlternativeNames, AlternativeNameType, NameConstraintsInput, NameSubtrees } from './alternative-name.js';
export { type Certificate, type CertificateInput, parseCertificate, parseCertificatePem } from './certificate.js';
export { type Crl, parseCrl } from './crl.js';
export { type CrlRequest, createCrl, type RevokedCertificate } from './crl-build.js';
export { CRL_REASONS, type CrlEntries, type CrlEntry, type CrlReason } from './crl-entries.js';
export type { CrlScope } from './crl-scope.js';
export { buildCsr, type Csr, type CsrOptions, type IssueOptions, issueFromCsr, parseCsr, verifyCsr } from './csr.js';
export {
  type DocumentOptions,
  type DocumentProblem,
  type DocumentProblemCode,
  type DocumentResult,
  type DocumentSigner,
  signDocument,
  verifyDocument,
} from './document.js';
export { decryptKey, encryptKey } from './encrypted-key.js';
export { type EkTrust, ekDigest } from './endorsement-key.js';
export {
  type ChallengeStore,
  challengeEnrolment,
  completeEnrolment,
  type Enrolment,
  type EnrolmentCandidate,
  type EnrolmentPolicy,
  type Issuance,
  memoryChallenges,
  type VerifiedEnrolment,
  verifyEnrolment,
} from './enrolment-authority.js';
export {
  type AnswerOptions,
  answerChallenge,
  buildEnrolmentRequest,
  type DeviceKeys,
  type EnrolmentOptions,
} from './enrolment-device.js';
export { PkiError, type PkiErrorCode } from './error.js';
export {
  type AuthorityKeyIdentifier,
  type BasicConstraints,
  type Extension,
  type ExtensionValues,
  KEY_USAGES,
  type KeyUsage,
  type NameConstraints,
  type PolicyConstraints,
  type PolicyMapping,
} from './extension.js';
export type { GeneralName } from './general-name.js';
export {
  type Authority,
  assembleHierarchy,
  createHierarchy,
  deviceMakerTemplate,
  type GeneratedEntry,
  type GenerationStore,
  type Hierarchy,
  type HierarchyOptions,
  type HierarchyTemplate,
  type TemplateEntry,
  templateProblems,
} from './hierarchy.js';
export { type CertificateRequest, createCertificate, type Issuer, keyIdentifier } from './issue.js';
export { generateKey, importKey, type Signer, type SoftwareKey } from './key.js';
export {
  type DistinguishedName,
  type NameAttribute,
  type NameAttributeType,
  type NameInput,
  nameText,
} from './name.js';
export { type OcspOptions, ocspStatus } from './ocsp.js';
export {
  buildOcspRequest,
  type CertId,
  type OcspRequest,
  type OcspRequestOptions,
  parseOcspRequest,
} from './ocsp-request.js';
export {
  answerOcsp,
  type CertificateStatus,
  OCSP_ERRORS,
  type OcspError,
  type OcspResponder,
  type OcspResponse,
  ocspError,
  parseOcspResponse,
  type SingleResponse,
} from './ocsp-response.js';
export { EXTENDED_KEY_USAGE, type ExtendedKeyUsage } from './oid.js';
export { type PathOptions, type PathResult, validatePath } from './path.js';
export type { PolicyOptions } from './path-policies.js';
export type { PathProblem, PathProblemCode } from './path-problem.js';
export type { EncryptionOptions, Passphrase } from './pbes2.js';
export type { PeerName } from './peer-name.js';
export { decodePem, encodePem, type PemBlock, parsePem } from './pem.js';
export {
  type AlternativeNameRule,
  type CertificateProfile,
  type KeyKind,
  PROFILES,
  type Presence,
  profileProblems,
} from './profile.js';
export type { Purpose } from './purpose.js';
export { type RawSignature, signRawDocument, verifyRawDocument } from './raw-document.js';
export type { RevocationStatus } from './revocation.js';
