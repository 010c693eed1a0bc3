/** What a TrustVisor writes and a verifier reads, without the rest: the event of its key, and the certificates of its PALs. */
export { AttestationError, type AttestationErrorCode } from './error.js';
export {
  encodePalCertificateClaims,
  type PalCertificate,
  type PalCertificateClaims,
  type PalCertificateResult,
  palCertificateNonce,
  TRUSTVISOR_MEASUREMENT,
  verifyPalCertificate,
} from './pal-certificate.js';
export { encodeStatementEvent, parseStatementEvent } from './statement-event.js';
