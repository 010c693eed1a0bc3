/** `@casemate/pki/service`: an authority as a service: issuing, renewal, revocation, EST, ACME, OCSP, CRLs and TPM enrolment over HTTPS. */
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
