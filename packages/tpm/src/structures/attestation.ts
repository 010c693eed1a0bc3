/** Attestations: what a TPM signs about itself. TPM 2.0 Part 2, clause 10.12. */
import { type Infer, oneOf, sizedBytes, struct, u16, u64, union } from '@casemate/wire';
import { TPM_ST } from '../constants/sessions.js';
import { TpmsClockInfo, TpmsTimeInfo } from './clock.js';
import { TpmAlgId, TpmGenerated } from './constants.js';
import { Tpm2bData, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bName } from './digests.js';
import { TpmiYesNo } from './handles.js';
import { LIMITS } from './limits.js';
import { TpmlPcrSelection } from './lists.js';

/** What TPM2_GetTime attests. TPM 2.0 Part 2, table 123. */
export const TpmsTimeAttestInfo = struct('TPMS_TIME_ATTEST_INFO', { time: TpmsTimeInfo, firmwareVersion: u64 });
/** The value type of {@link TpmsTimeAttestInfo}. */
export type TpmsTimeAttestInfo = Infer<typeof TpmsTimeAttestInfo>;

/** What TPM2_Certify attests. TPM 2.0 Part 2, table 124. */
export const TpmsCertifyInfo = struct('TPMS_CERTIFY_INFO', { name: Tpm2bName, qualifiedName: Tpm2bName });
/** The value type of {@link TpmsCertifyInfo}. */
export type TpmsCertifyInfo = Infer<typeof TpmsCertifyInfo>;

/** What TPM2_Quote attests: the digest of the selected PCRs, concatenated. TPM 2.0 Part 2, table 125. */
export const TpmsQuoteInfo = struct('TPMS_QUOTE_INFO', { pcrSelect: TpmlPcrSelection, pcrDigest: Tpm2bDigest });
/** The value type of {@link TpmsQuoteInfo}. */
export type TpmsQuoteInfo = Infer<typeof TpmsQuoteInfo>;

/** What TPM2_GetCommandAuditDigest attests. TPM 2.0 Part 2, table 126. */
export const TpmsCommandAuditInfo = struct('TPMS_COMMAND_AUDIT_INFO', {
  auditCounter: u64,
  digestAlg: TpmAlgId,
  auditDigest: Tpm2bDigest,
  commandDigest: Tpm2bDigest,
});
/** The value type of {@link TpmsCommandAuditInfo}. */
export type TpmsCommandAuditInfo = Infer<typeof TpmsCommandAuditInfo>;

/** What TPM2_GetSessionAuditDigest attests. TPM 2.0 Part 2, table 127. */
export const TpmsSessionAuditInfo = struct('TPMS_SESSION_AUDIT_INFO', {
  exclusiveSession: TpmiYesNo,
  sessionDigest: Tpm2bDigest,
});
/** The value type of {@link TpmsSessionAuditInfo}. */
export type TpmsSessionAuditInfo = Infer<typeof TpmsSessionAuditInfo>;

/** What TPM2_CertifyCreation attests. TPM 2.0 Part 2, table 128. */
export const TpmsCreationInfo = struct('TPMS_CREATION_INFO', { objectName: Tpm2bName, creationHash: Tpm2bDigest });
/** The value type of {@link TpmsCreationInfo}. */
export type TpmsCreationInfo = Infer<typeof TpmsCreationInfo>;

/** What TPM2_NV_Certify attests of contents. TPM 2.0 Part 2, table 129. */
export const TpmsNvCertifyInfo = struct('TPMS_NV_CERTIFY_INFO', {
  indexName: Tpm2bName,
  offset: u16,
  nvContents: Tpm2bMaxNvBuffer,
});
/** The value type of {@link TpmsNvCertifyInfo}. */
export type TpmsNvCertifyInfo = Infer<typeof TpmsNvCertifyInfo>;

/** What TPM2_NV_Certify attests when asked for a digest. TPM 2.0 Part 2, table 130. */
export const TpmsNvDigestCertifyInfo = struct('TPMS_NV_DIGEST_CERTIFY_INFO', {
  indexName: Tpm2bName,
  nvDigest: Tpm2bDigest,
});
/** The value type of {@link TpmsNvDigestCertifyInfo}. */
export type TpmsNvDigestCertifyInfo = Infer<typeof TpmsNvDigestCertifyInfo>;

/** The kind of an attestation. TPM 2.0 Part 2, table 131. */
export const TpmiStAttest = oneOf('TPMI_ST_ATTEST', u16, [
  TPM_ST.ATTEST_CERTIFY,
  TPM_ST.ATTEST_QUOTE,
  TPM_ST.ATTEST_SESSION_AUDIT,
  TPM_ST.ATTEST_COMMAND_AUDIT,
  TPM_ST.ATTEST_TIME,
  TPM_ST.ATTEST_CREATION,
  TPM_ST.ATTEST_NV,
  TPM_ST.ATTEST_NV_DIGEST,
]);
/** The value type of {@link TpmiStAttest}. */
export type TpmiStAttest = Infer<typeof TpmiStAttest>;

/** What each kind of attestation says. TPM 2.0 Part 2, table 132. */
export const TpmuAttest = {
  [TPM_ST.ATTEST_CERTIFY]: TpmsCertifyInfo,
  [TPM_ST.ATTEST_CREATION]: TpmsCreationInfo,
  [TPM_ST.ATTEST_QUOTE]: TpmsQuoteInfo,
  [TPM_ST.ATTEST_COMMAND_AUDIT]: TpmsCommandAuditInfo,
  [TPM_ST.ATTEST_SESSION_AUDIT]: TpmsSessionAuditInfo,
  [TPM_ST.ATTEST_TIME]: TpmsTimeAttestInfo,
  [TPM_ST.ATTEST_NV]: TpmsNvCertifyInfo,
  [TPM_ST.ATTEST_NV_DIGEST]: TpmsNvDigestCertifyInfo,
} as const;

/**
 * An attestation, a union on `type`; `extraData` is the caller's qualifying data, usually a nonce. TPM 2.0 Part 2,
 * table 133.
 */
export const TpmsAttest = struct('TPMS_ATTEST', {
  magic: TpmGenerated,
  type: TpmiStAttest,
  qualifiedSigner: Tpm2bName,
  extraData: Tpm2bData,
  clockInfo: TpmsClockInfo,
  firmwareVersion: u64,
  attested: union('type', TpmuAttest),
});
/** The value type of {@link TpmsAttest}. */
export type TpmsAttest = Infer<typeof TpmsAttest>;

/** An encoded {@link TpmsAttest}, left as bytes because it is what was signed. TPM 2.0 Part 2, table 134. */
export const Tpm2bAttest = sizedBytes('TPM2B_ATTEST', u16, { max: LIMITS.MAX_ATTEST_BYTES });
/** The value type of {@link Tpm2bAttest}. */
export type Tpm2bAttest = Infer<typeof Tpm2bAttest>;
