/** Evidence of a platform: measured, quoted and collected; then verified, and validated under a policy. */
export { deviceProofData, evidenceNonce, palNonce } from './binding.js';
export { CHECK_NAMES, type Check, type CheckName, type Verdict, verdict } from './check.js';
export { AttestationError, type AttestationErrorCode } from './error.js';
export {
  type DeviceProof,
  EVIDENCE_LIMITS,
  type Evidence,
  type EvidenceReport,
  encodeEvidence,
  type Failure,
  type GuestOsEvidence,
  type PalEvidence,
  parseEvidence,
  type QuoteEvidence,
} from './evidence.js';
export { type Measurement, parseMeasurements, STATEMENT_TAG } from './measurements.js';
export {
  encodeStatement,
  GUESTOS_PCR,
  type GuestOsStatement,
  PAL_PCR,
  type PalStatement,
  parseStatement,
  pcrOf,
  type Statement,
} from './statement.js';
