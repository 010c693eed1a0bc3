/** Attestation: Part 3, clause 18. */
import {
  Certify,
  CertifyCreation,
  GetCommandAuditDigest,
  GetSessionAuditDigest,
  GetTime,
  Quote,
  TPM_RC,
  TPM_RH,
  TPM_ST,
} from '@casemate/tpm';
import { attest, clockInfo, signerOf } from '../attest.js';
import { isEqual } from '../bytes.js';
import { timeOf } from '../clock.js';
import { auditedCommandsDigest, resetAuditDigest } from '../command-audit.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { assertSelections, pcrDigest } from '../pcr.js';
import { refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { creationTicket } from '../ticket.js';
import { FIRMWARE_VERSION } from '../version.js';

/** TPM2_Certify (18.2). */
export const certify = /* @__PURE__ */ handler(
  Certify,
  (tpm, { objectHandle, signHandle, qualifyingData, inScheme }) => {
    const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 2, schemeAt: 2 });
    const { name, qualifiedName } = objectAt(tpm, objectHandle);
    const { info, signature } = attest(tpm, signer, qualifyingData, {
      type: TPM_ST.ATTEST_CERTIFY,
      attested: { name, qualifiedName },
    });
    return { certifyInfo: info, signature };
  },
);

/** TPM2_CertifyCreation (18.3). */
export const certifyCreation = /* @__PURE__ */ handler(CertifyCreation, (tpm, request) => {
  const { signHandle, objectHandle, qualifyingData, creationHash, inScheme, creationTicket: ticket } = request;
  const { name } = objectAt(tpm, objectHandle);
  const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 1, schemeAt: 3 });
  const expected = creationTicket(tpm, ticket.hierarchy, name, creationHash);
  if (!isEqual(expected.digest, ticket.digest)) refuseParameter(TPM_RC.TICKET, 4);
  const { info, signature } = attest(tpm, signer, qualifyingData, {
    type: TPM_ST.ATTEST_CREATION,
    attested: { objectName: name, creationHash },
  });
  return { certifyInfo: info, signature };
});

/** TPM2_Quote (18.4). */
export const quote = /* @__PURE__ */ handler(Quote, (tpm, { signHandle, qualifyingData, inScheme, PCRselect }) => {
  assertSelections(PCRselect, 3);
  const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 1, schemeAt: 2 });
  // Without a scheme there is no hash algorithm for the digest of the PCRs.
  const { hash } = signer?.scheme ?? refuseParameter(TPM_RC.SCHEME, 2);
  const { pcrs, digest } = pcrDigest(tpm, hash, PCRselect);
  const { info, signature } = attest(tpm, signer, qualifyingData, {
    type: TPM_ST.ATTEST_QUOTE,
    attested: { pcrSelect: pcrs, pcrDigest: digest },
  });
  return { quoted: info, signature };
});

/** TPM2_GetSessionAuditDigest (18.5). */
export const getSessionAuditDigest = /* @__PURE__ */ handler(GetSessionAuditDigest, (tpm, request) => {
  const { signHandle, sessionHandle, qualifyingData, inScheme } = request;
  const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 2, schemeAt: 2 });
  const session = tpm.volatile.sessions.get(sessionHandle) ?? refuseHandle(TPM_RC.HANDLE, 3);
  if (session.auditDigest === undefined) return refuseHandle(TPM_RC.TYPE, 3);
  const attested = {
    exclusiveSession: tpm.volatile.exclusiveAudit === sessionHandle,
    sessionDigest: session.auditDigest,
  };
  const { info, signature } = attest(tpm, signer, qualifyingData, { type: TPM_ST.ATTEST_SESSION_AUDIT, attested });
  return { auditInfo: info, signature };
});

/** TPM2_GetCommandAuditDigest (18.6): a signed digest ends the log, an unsigned one lets it go on. */
export const getCommandAuditDigest = /* @__PURE__ */ handler(GetCommandAuditDigest, (tpm, request) => {
  const { privacyHandle, signHandle, qualifyingData, inScheme } = request;
  if (privacyHandle !== TPM_RH.ENDORSEMENT) refuse(TPM_RC.VALUE);
  const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 2, schemeAt: 2 });
  const { alg: digestAlg, counter: auditCounter } = tpm.permanent.audit;
  const { auditDigest } = tpm.volatile;
  const attested = { auditCounter, digestAlg, auditDigest, commandDigest: auditedCommandsDigest(tpm) };
  const { info, signature } = attest(tpm, signer, qualifyingData, { type: TPM_ST.ATTEST_COMMAND_AUDIT, attested });
  if (signer !== undefined) resetAuditDigest(tpm);
  return { auditInfo: info, signature };
});

/** TPM2_GetTime (18.7): the privacy administrator agreed, so the time is told as it is. */
export const getTime = /* @__PURE__ */ handler(
  GetTime,
  (tpm, { privacyAdminHandle, signHandle, qualifyingData, inScheme }) => {
    if (privacyAdminHandle !== TPM_RH.ENDORSEMENT) refuse(TPM_RC.VALUE);
    const signer = signerOf(tpm, signHandle, inScheme, { handleAt: 2, schemeAt: 2 });
    const attested = { time: { time: timeOf(tpm), clockInfo: clockInfo(tpm) }, firmwareVersion: FIRMWARE_VERSION };
    const { info, signature } = attest(tpm, signer, qualifyingData, { type: TPM_ST.ATTEST_TIME, attested });
    return { timeInfo: info, signature };
  },
);
