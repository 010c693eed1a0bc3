/** Command audit: Part 3, clause 21. */
import { SetCommandCodeAuditStatus, TPM_ALG, TPM_CC, TPM_RC } from '@casemate/tpm';
import { resetAuditDigest } from '../command-audit.js';
import { handler } from '../handler.js';
import { isHash } from '../implementation.js';
import { refuseParameter } from '../refusal.js';
import { markDirty } from '../tpm.js';

/** TPM2_SetCommandCodeAuditStatus (21.2): a new hash algorithm or other commands, not both at once. */
export const setCommandCodeAuditStatus = /* @__PURE__ */ handler(SetCommandCodeAuditStatus, (tpm, request) => {
  const { auditAlg, setList, clearList } = request;
  const { audit } = tpm.permanent;
  if (auditAlg !== TPM_ALG.NULL && !isHash(auditAlg)) refuseParameter(TPM_RC.HASH, 1);
  if (auditAlg !== TPM_ALG.NULL && auditAlg !== audit.alg) {
    if (setList.length > 0 || clearList.length > 0) refuseParameter(TPM_RC.VALUE, 1);
    tpm.permanent.audit = { ...audit, alg: auditAlg };
    resetAuditDigest(tpm);
    markDirty(tpm);
    return {};
  }
  const commands = new Set(audit.commands);
  for (const code of setList) if (tpm.commands.has(code) && code !== TPM_CC.Shutdown) commands.add(code);
  for (const code of clearList) if (code !== TPM_CC.SetCommandCodeAuditStatus) commands.delete(code);
  tpm.permanent.audit = { ...audit, commands };
  markDirty(tpm);
  return {};
});
