/** Evidence of a platform: measured, quoted and collected; then verified, and validated under a policy. */
export { deviceProofData, evidenceNonce, palNonce } from './binding.js';
export { CHECK_NAMES, type Check, type CheckName, type Verdict, verdict } from './check.js';
export type { CertifiedKey, Claims, GuestOsClaims, PalClaims, QuoteClaims } from './claims.js';
export { type CollectOptions, collectEvidence, type PalSource, type QuotingPal } from './collect.js';
export { AttestationError, type AttestationErrorCode } from './error.js';
export {
  EVIDENCE_LIMITS,
  type Evidence,
  type EvidenceReport,
  encodeEvidence,
  type Failure,
  type GuestOsEvidence,
  type OutputSource,
  type PalEvidence,
  parseEvidence,
  type QuoteEvidence,
} from './evidence.js';
export {
  adoptMeasurement,
  type Extended,
  type LogStore,
  MeasurementLog,
  measure,
  type OpenLogOptions,
  openMeasurementLog,
} from './measurement-log.js';
export { type BankDigests, type Measurement, parseMeasurements } from './measurements.js';
export {
  type PalCertificate,
  type PalCertificateClaims,
  type PalCertificateResult,
  verifyPalCertificate,
} from './pal-certificate.js';
export { encodePolicy, type GuestOsRule, type PalRule, type Policy, parsePolicy } from './policy.js';
export type { LogRecovery } from './recovery.js';
export {
  encodeStatement,
  GUESTOS_PCR,
  type GuestOsStatement,
  PAL_PCR,
  type PalStatement,
  parseStatement,
  pcrOf,
  type Statement,
  type TrustvisorStatement,
} from './statement.js';
export { STATEMENT_TAG } from './statement-event.js';
export { validateEvidence } from './validate.js';
export {
  type Anchors,
  type GuestOsConfiguration,
  type Verification,
  type VerifyOptions,
  verifyEvidence,
} from './verify.js';
