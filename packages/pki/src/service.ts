/** `@casemate/pki/service`: an authority as a service: issuing, renewal, revocation, EST, ACME, OCSP, CRLs and TPM enrolment over HTTPS. */

export { type AcmeIdentifier, type AcmeOptions, acmeRoute, type RenewalWindow } from './service/acme.js';
export type { NetworkView } from './service/acme-challenge.js';
export { type AcmeTransport, type DeviceOrder, orderDeviceCertificate } from './service/acme-device-client.js';
export {
  type AttestationTrust,
  type AttestedKey,
  encodeAttestationObject,
  parseAttestationObject,
  type TpmStatement,
  verifyTpmStatement,
} from './service/attestation-object.js';
export {
  type AuthorityEntry,
  type AuthorityOptions,
  type CertificateAuthority,
  type CrlSchedule,
  type Issued,
  type IssueInput,
  type OcspAnswer,
  openAuthority,
  type RenewInput,
  type RevokeInput,
} from './service/authority.js';
export {
  type AuthorityStore,
  type CertificateQuery,
  type CertificateRecord,
  type Change,
  type CrlRecord,
  type RevocationRecord,
  type StoredDocument,
  serialText,
} from './service/authority-store.js';
export { type EstIdentity, type EstOptions, type EstService, estRoute } from './service/est.js';
export type { HttpConnection, HttpRequest, HttpResponse, HttpRoute } from './service/http.js';
export type { RateLimit } from './service/rate-limit.js';
export { ocspRoute, publicationRoute, tpmRoute } from './service/routes.js';
export { type RunningServer, type ServerOptions, startServer } from './service/server.js';
export {
  type DeviceEnrolment,
  enrolDevice,
  fetchPost,
  type HttpPost,
  parseEnrolmentResult,
} from './service/tpm-client.js';
export {
  type EkRecord,
  openTpmEnrolment,
  type TpmEnrolment,
  type TpmEnrolmentOptions,
} from './service/tpm-enrolment.js';
